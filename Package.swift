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

// Tests drive sockets and processes by hand; strict memory safety would only add noise there.
let testSettings: [SwiftSetting] = [
  .treatAllWarnings(as: .error), .enableUpcomingFeature("ExistentialAny"),
  .enableExperimentalFeature("Lifetimes"),
]

let package = Package(
  name: "sluice",
  products: [.executable(name: "sluice", targets: ["sluice"])],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", exact: "1.8.2")
  ],
  targets: [
    // Floor 0
    .target(
      name: "CSluice", path: "CSources/CSluice", cSettings: cSettings,
      linkerSettings: [.linkedLibrary("uring")]),
    .target(name: "CSystem", path: "CSources/CSystem", cSettings: cSettings),
    .target(
      name: "CYAML", path: "CSources/CYAML", cSettings: cSettings,
      linkerSettings: [.linkedLibrary("yaml")]),
    .target(name: "Wire", swiftSettings: swiftSettings),
    .target(name: "System", dependencies: ["CSystem", "Wire"], swiftSettings: swiftSettings),
    // Floor 1
    .target(name: "Routing", dependencies: ["Wire"], swiftSettings: swiftSettings),
    // Floor 2
    .target(
      name: "Config", dependencies: ["CYAML", "Routing", "Wire"],
      swiftSettings: swiftSettings + [.enableExperimentalFeature("SafeInteropWrappers")]),
    .target(
      name: "DataPlane", dependencies: ["CSluice", "Wire", "System", "Routing"],
      swiftSettings: swiftSettings),
    // Floor 3
    .target(
      name: "Control", dependencies: ["DataPlane", "Config", "Routing", "System", "Wire"],
      swiftSettings: swiftSettings),
    // Floor 4
    .executableTarget(
      name: "sluice",
      dependencies: [
        "Control", "Config", "System", "Wire",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      swiftSettings: swiftSettings, linkerSettings: linkSanitizer),
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
      name: "ConfigTests", dependencies: ["Config", "Routing", "Wire"],
      swiftSettings: testSettings, linkerSettings: linkSanitizer),
    .testTarget(
      name: "DataPlaneTests",
      dependencies: [
        "CSluice", "DataPlane", "Routing", "System", "Wire", "TestSupport", "sluice-simulation",
      ],
      swiftSettings: testSettings, linkerSettings: linkSanitizer),
    .testTarget(
      name: "ControlTests",
      dependencies: ["Control", "Config", "DataPlane", "Routing", "System", "Wire"],
      swiftSettings: testSettings, linkerSettings: linkSanitizer),
    .testTarget(
      name: "ScenarioTests", dependencies: ["sluice", "TestSupport", "System", "Wire"],
      swiftSettings: testSettings, linkerSettings: linkSanitizer),
    .testTarget(
      name: "PeerTests", dependencies: ["sluice", "TestSupport", "System", "Wire"],
      exclude: ["peers"], swiftSettings: testSettings, linkerSettings: linkSanitizer),
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
