// swift-tools-version: 6.2
import PackageDescription

import class Foundation.ProcessInfo

// SLUICE_C_SANITIZE=undefined adds a sanitizer to the C targets; Swift's own come with
// `swift build --sanitize=…` (which refuses "undefined" on Linux). tools/gates uses both.
let sanitizer = ProcessInfo.processInfo.environment["SLUICE_C_SANITIZE"]
let cSanitizer: [CSetting] =
  sanitizer.map {
    [.unsafeFlags(["-fsanitize=\($0)", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"])]
  } ?? []
let linkSanitizer: [LinkerSetting] =
  sanitizer.map { [.unsafeFlags(["-Xclang-linker", "-fsanitize=\($0)"])] } ?? []

// What ships: without what nothing calls, equal functions once, the relocations packed, no symbols
// for others to link with, which static linking of the standard library would export, and no
// unwind tables. Measured: 20.9 MB without, 18.1 MB with; and 3.1 MB of 20.2 for the tables.
let linkShipped: [LinkerSetting] = [
  .unsafeFlags(
    ["-use-ld=lld"]
      + ["--gc-sections", "--icf=all", "-z", "pack-relative-relocs", "--no-export-dynamic"]
      .flatMap { ["-Xlinker", $0] }
      + ["--no-eh-frame-hdr", "-T", "\(Context.packageDirectory)/tools/no-unwind-tables.ld"]
      .flatMap { ["-Xlinker", $0] },
    .when(configuration: .release))
]

let cSettings: [CSetting] =
  [
    .treatAllWarnings(as: .error), .enableWarning("all"), .enableWarning("extra"),
    .enableWarning("conversion"), .enableWarning("shadow"), .enableWarning("strict-prototypes"),
    .enableWarning("switch-enum"), .define("_GNU_SOURCE"),
    .define("SLUICE_CHECKS", .when(configuration: .debug)),
  ] + cSanitizer

let swiftSettings: [SwiftSetting] = [
  .treatAllWarnings(as: .error), .strictMemorySafety(),
  .enableUpcomingFeature("ExistentialAny"), .enableUpcomingFeature("MemberImportVisibility"),
  .enableUpcomingFeature("InternalImportsByDefault"), .enableExperimentalFeature("Lifetimes"),
]

// Beside the relay, size comes first: 0.4 MB less of 20.
let smallSettings =
  swiftSettings + [.unsafeFlags(["-Osize"], .when(configuration: .release))]

// Tests drive sockets and processes by hand; strict memory safety would only add noise there.
let testSettings: [SwiftSetting] = [
  .treatAllWarnings(as: .error), .enableUpcomingFeature("ExistentialAny"),
  .enableExperimentalFeature("Lifetimes"),
]

let package = Package(
  name: "sluice",
  products: [.executable(name: "sluice", targets: ["sluice"])],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", exact: "1.8.2"),
    .package(url: "https://github.com/apple/swift-nio", exact: "2.101.2"),
  ],
  targets: [
    // Floor 0
    .target(
      name: "CSluice", path: "CSources/CSluice", cSettings: cSettings,
      linkerSettings: [.linkedLibrary("uring"), .linkedLibrary("ssl"), .linkedLibrary("crypto")]),
    .target(
      name: "CLibc", path: "CSources/CLibc", cSettings: cSettings,
      linkerSettings: [.linkedLibrary("crypt")]),
    .target(
      name: "CYAML", path: "CSources/CYAML", cSettings: cSettings,
      linkerSettings: [.linkedLibrary("yaml")]),
    .target(
      name: "CAres", path: "CSources/CAres", cSettings: cSettings,
      linkerSettings: [.linkedLibrary("cares")]),
    .target(name: "Wire", swiftSettings: swiftSettings),
    .target(name: "System", dependencies: ["CAres", "CLibc", "Wire"], swiftSettings: swiftSettings),
    // Floor 1
    .target(name: "Routing", dependencies: ["Wire"], swiftSettings: swiftSettings),
    // Floor 2
    .target(
      name: "Config", dependencies: ["CYAML", "Routing", "Wire"],
      swiftSettings: swiftSettings + [.enableExperimentalFeature("SafeInteropWrappers")]),
    .target(
      name: "DataPlane", dependencies: ["CSluice", "Wire", "System", "Routing"],
      swiftSettings: swiftSettings),
    .target(name: "AdminAPI", swiftSettings: smallSettings),
    // Floor 3
    .target(
      name: "Control",
      dependencies: [
        "AdminAPI", "DataPlane", "Config", "Routing", "System", "Wire",
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"),
        .product(name: "NIOHTTP1", package: "swift-nio"),
      ],
      // In the program as text, by tools/embed-page: resources would need Foundation.
      exclude: ["Page/assets"],
      swiftSettings: swiftSettings),
    // Floor 4
    .executableTarget(
      name: "sluice",
      dependencies: [
        "AdminAPI", "Control", "Config", "System", "Wire",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      swiftSettings: smallSettings, linkerSettings: linkSanitizer + linkShipped),
    // Tests
    .target(name: "TestLaunch", path: "Tests/TestSupport/Launch", cSettings: cSettings),
    .target(
      name: "TestSupport", dependencies: ["TestLaunch", "System", "Wire"],
      path: "Tests/TestSupport", exclude: ["Launch"],
      swiftSettings: testSettings),
    .testTarget(
      name: "WireTests", dependencies: ["Wire"], swiftSettings: testSettings,
      linkerSettings: linkSanitizer),
    .testTarget(
      name: "RoutingTests", dependencies: ["Routing", "Wire"], swiftSettings: testSettings,
      linkerSettings: linkSanitizer),
    .testTarget(
      name: "ConfigTests", dependencies: ["Config", "Routing", "Wire", "TestSupport"],
      exclude: ["validate_schema.py"], swiftSettings: testSettings, linkerSettings: linkSanitizer),
    .testTarget(
      name: "DataPlaneTests",
      dependencies: [
        "CSluice", "DataPlane", "Routing", "System", "Wire", "TestSupport", "sluice-simulation",
      ],
      swiftSettings: testSettings, linkerSettings: linkSanitizer),
    .testTarget(
      name: "ControlTests",
      dependencies: [
        "AdminAPI", "Control", "Config", "DataPlane", "Routing", "System", "Wire", "TestSupport",
      ],
      exclude: ["browser"], swiftSettings: testSettings, linkerSettings: linkSanitizer),
    .testTarget(
      name: "ScenarioTests", dependencies: ["sluice", "TestSupport", "System", "Wire"],
      swiftSettings: testSettings, linkerSettings: linkSanitizer),
    .testTarget(
      name: "PeerTests", dependencies: ["sluice", "TestSupport", "Routing", "System", "Wire"],
      exclude: ["peers"], swiftSettings: testSettings, linkerSettings: linkSanitizer),
    .testTarget(
      name: "PackagingTests", dependencies: ["sluice", "TestSupport"],
      swiftSettings: testSettings, linkerSettings: linkSanitizer),
    // The data path for tools/budgets: what it does is counted in an optimised build.
    .executableTarget(
      name: "sluice-budgets", dependencies: ["DataPlane", "Routing", "System", "Wire"],
      path: "Tests/Budgets", exclude: ["budgets", "counters.py", "traffic.py"],
      swiftSettings: testSettings, linkerSettings: linkSanitizer),
    // The C state machine over a fake kernel: a program of its own, since it is compiled with
    // another sys.h (see Tests/Simulation/README.md).
    .executableTarget(
      name: "sluice-simulation", path: "Tests/Simulation", cSettings: cSettings + [
        .define("SLUICE_SIMULATION"), .headerSearchPath("../../CSources/CSluice"),
        .headerSearchPath("../../CSources/CSluice/include"),
      ], linkerSettings: linkSanitizer),
  ],
  swiftLanguageModes: [.v6],
  cLanguageStandard: .c11
)
