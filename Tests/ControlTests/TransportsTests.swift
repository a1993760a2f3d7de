import Config
import DataPlane
import Routing
import System
import TestSupport
import Testing
import Wire

@testable import Control

/// Certificates as they lie in directories, and what becomes of them when they change.
@Suite struct TransportsTests {
  private let directory: TemporaryDirectory
  private var now: Int64 { Int64(Clock.wallMs / 1000) }

  init() throws { directory = try TemporaryDirectory() }

  private func snapshot(_ certificates: [String], _ more: (inout ListenerTLS) -> Void = { _ in })
    -> Snapshot
  {
    var tls = ListenerTLS(certificates: certificates)
    more(&tls)
    var listener = Listener(name: "imaps", binds: [.ipv4(0x7f00_0001, port: 1)], backend: 0)
    listener.tls = tls
    let server = Config.Server(name: "a:1", target: .host(HostName("a.example")!, port: 1))
    return Snapshot(listeners: [listener], backends: [Backend(name: "b", servers: [server])])
  }

  private func prepare(
    _ snapshot: Snapshot, _ former: Transports = Transports(), isStart: Bool = false
  ) -> Transports.Preparation {
    Transports.prepare(snapshot, former: former, isStart: isStart, nowSeconds: now)
  }

  private func setup(_ name: String, _ transports: Transports) throws -> any TransportSetup {
    let plan = try #require(transports.ending(of: "imaps"))
    return plan.setup(for: HelloName(try #require(HostName(name))))
  }

  /// A key in the file, beside it, and as certbot has it; what is no certificate is not looked at.
  @Test func directories() throws {
    let one = try TestCertificate("one", ["DNS:one.example", "DNS:*.one.example"], in: directory)
    let two = try TestCertificate("two", ["DNS:two.example"], key: .rsa, in: directory)
    try writeFile(two.both, "")
    for name in ["two.pem", "one.crt", "one.csr", "two.csr"] {
      _ = try? Files.remove(directory.file(name))
    }
    try writeFile(directory.file("notes.txt"), "no certificate")
    let files = CertificateFiles([directory.path])
    #expect(files.problems == [] && files.warnings == [])
    #expect(files.found.map(\.path) == [one.both, two.chain])
    #expect(files.found.map(\.names) == [["one.example", "*.one.example"], ["two.example"]])
    #expect(files.found.map(\.facts.keyAlgorithm) == ["EC256", "RSA2048"])
  }

  @Test func asCertbotHasThem() throws {
    let made = try TestCertificate("made", ["DNS:made.example"], in: directory)
    let live = try TemporaryDirectory()
    for name in ["cert.pem", "fullchain.pem", "chain.pem"] {
      try writeFile(live.file(name), contents(of: made.chain))
    }
    try writeFile(live.file("privkey.pem"), contents(of: made.key))
    for path in [live.path, live.file("fullchain.pem")] {
      let files = CertificateFiles([path])
      #expect(files.problems == [] && files.found.map(\.path) == [live.file("fullchain.pem")])
      #expect(
        files.warnings == [
          "\(live.file("privkey.pem")): every user of this machine may read this key; "
            + "`chmod o= \(live.file("privkey.pem"))`"
        ])
    }
  }

  @Test func faults() throws {
    let one = try TestCertificate("one", ["DNS:one.example"], in: directory)
    let two = try TestCertificate("two", ["DNS:two.example"], in: directory)
    let other = try TemporaryDirectory()
    try writeFile(other.file("mixed.crt"), contents(of: one.chain))
    try writeFile(other.file("mixed.key"), contents(of: two.key))
    try writeFile(other.file("alone.crt"), contents(of: one.chain))
    try writeFile(other.file("broken.pem"), "-----BEGIN PRIVATE KEY-----\n")
    try writeFile(other.file("empty.crt"), "")
    let files = CertificateFiles([
      other.file("mixed.crt"), other.file("alone.crt"), other.file("broken.pem"),
      other.file("gone.pem"), other.file("empty.crt"),
    ])
    #expect(files.found.isEmpty && files.problems.count == 5, "\(files.problems)")
    let problems = files.problems.map { String($0.dropFirst(other.path.utf8.count)) }
    #expect(problems[0].hasPrefix("/mixed.key: ") && problems[0].contains("mismatch"))
    #expect(
      problems[1]
        == "/alone.crt: there is no key, neither in it nor in \(other.file("alone.key"))")
    #expect(problems[2].hasPrefix("/broken.pem: "))
    #expect(problems[3].hasPrefix("/gone.pem: "))
    #expect(problems[4].hasPrefix("/empty.crt: there is no key"))
    let none = try TemporaryDirectory()
    #expect(
      CertificateFiles([none.path]).problems
        == ["\(none.path): no certificates in it (files that end in .pem or .crt)"])
  }

  /// By the name that is asked for: itself before a wildcard, the first for all others.
  @Test func chosenByName() throws {
    let wide = try TestCertificate("wide", ["DNS:*.a.example", "DNS:b.example"], in: directory)
    let exact = try TestCertificate("exact", ["DNS:mail.a.example"], in: directory)
    let ready = prepare(snapshot([wide.both, exact.both]))
    #expect(ready.problems == [] && ready.warnings == [])
    let made = ready.transports
    let (first, second) = (try setup("b.example", made), try setup("mail.a.example", made))
    #expect(first !== second)
    for (name, wanted) in [
      ("x.a.example", first), ("a.example", first), ("x.y.a.example", first), ("z.example", first),
      ("mail.a.example", second),
    ] {
      #expect(try setup(name, made) === wanted, "\(name)")
    }
    #expect(made.certificates.map(\.path) == [wide.both, exact.both])
  }

  /// Those of the same names are one setup when their keys differ in kind; of the same kind the one
  /// that is good for longer counts.
  @Test func sameNames() throws {
    let names = ["DNS:a.example"]
    let ec = try TestCertificate("ec", names, in: directory)
    let rsa = try TestCertificate("rsa", names, key: .rsa, in: directory)
    let longer = try TestCertificate("longer", names, days: 60, in: directory)
    let ready = prepare(snapshot([ec.both, rsa.both, longer.both]))
    #expect(ready.problems == [])
    #expect(
      ready.warnings == [
        "\(ec.both): not used; \(longer.both) has the same names and a key of the same kind, and "
          + "is good for longer"
      ])
    #expect(ready.transports.certificates.map(\.path) == [longer.both, rsa.both])
  }

  /// What did not change keeps its setup, and what is no good is refused while the old one serves.
  @Test func reloads() throws {
    let one = try TestCertificate("one", ["DNS:one.example"], in: directory)
    let two = try TestCertificate("two", ["DNS:two.example"], in: directory)
    let wanted = snapshot([one.both, two.both])
    let first = prepare(wanted).transports
    let again = prepare(wanted, first).transports
    #expect(again.changes(from: first).isEmpty)
    #expect(try setup("two.example", again) === setup("two.example", first))

    let renewed = try TestCertificate("new", ["DNS:two.example"], days: 60, in: directory)
    try writeFile(two.both, contents(of: renewed.both))
    let later = prepare(wanted, again)
    #expect(later.problems == [])
    let changes = later.transports.changes(from: again)
    #expect(changes.map(\.what) == ["certificates imaps"])
    #expect(changes.first?.detail.contains("\(two.both) until 20") == true)
    #expect(try setup("one.example", later.transports) === setup("one.example", first))
    #expect(try setup("two.example", later.transports) !== setup("two.example", first))

    try writeFile(two.both, contents(of: one.chain) + contents(of: renewed.key))
    let refused = prepare(wanted, later.transports)
    #expect(refused.problems.count == 1, "\(refused.problems)")
    #expect(refused.problems.first?.hasPrefix("listener imaps: \(two.both): ") == true)
  }

  /// A certificate whose time is over is refused when it is new, and not when it is served already.
  @Test func expired() throws {
    let old = try TestCertificate("old", ["DNS:old.example"], days: -1, in: directory)
    let wanted = snapshot([old.both])
    let refused = prepare(wanted)
    #expect(refused.problems.count == 1)
    #expect(refused.problems[0].hasPrefix("listener imaps: \(old.both): expired on 20"))
    let started = prepare(wanted, isStart: true)
    #expect(started.problems == [] && started.warnings.count == 1)
    #expect(prepare(wanted, started.transports).problems == [])
    let told = started.transports.expiring(atSeconds: now).first
    #expect(told?.contains("the certificate expired on 20") == true)
    #expect(prepare(snapshot([]), isStart: true).transports.expiring(atSeconds: now) == [])
  }

  @Test func expiring() throws {
    let soon = try TestCertificate("soon", ["DNS:soon.example"], days: 30, in: directory)
    let transports = prepare(snapshot([soon.both])).transports
    #expect(transports.expiring(atSeconds: now).isEmpty)
    let late = transports.expiring(atSeconds: now + 25 * 86_400 + 3_600)
    #expect(late.count == 1 && late[0].hasSuffix("in 4 days"), "\(late)")
  }

  /// Certificates are looked at once a day and after a reload; ticket keys live for eight hours.
  @Test func times() {
    var times = CertificateTimes()
    let hour: UInt64 = 3_600 * 1_000_000_000
    #expect(times.waitMs(nowNs: hour) == 0)
    #expect(times.due(nowNs: hour) == (true, false))
    #expect(times.due(nowNs: hour) == (false, false))
    #expect(times.waitMs(nowNs: hour) == 8 * 3_600_000)
    #expect(times.due(nowNs: 9 * hour) == (false, true))
    #expect(times.due(nowNs: 10 * hour) == (false, false))
    times.lookSoon()
    #expect(times.due(nowNs: 10 * hour) == (true, false))
    #expect(times.due(nowNs: 34 * hour) == (true, true))
  }

  /// OpenSSL's words, behind the key of the configuration that they are about.
  @Test func settings() throws {
    let one = try TestCertificate("one", ["DNS:one.example"], in: directory)
    let ciphers = prepare(snapshot([one.both]) { $0.ciphers = ["NOPE"] })
    #expect(ciphers.problems.count == 1)
    #expect(ciphers.problems[0].hasPrefix("listener imaps: tls.ciphers: "), "\(ciphers.problems)")
    let groups = prepare(snapshot([one.both]) { $0.groups = ["NOPE"] })
    #expect(groups.problems.first?.hasPrefix("listener imaps: tls.groups: ") == true)
    let authorities = prepare(
      snapshot([one.both]) { tls in
        tls.clientCA = directory.file("gone.pem")
        tls.clientCertificate = .require
      })
    #expect(authorities.problems.first?.hasPrefix("listener imaps: /") == true)
    let good = prepare(
      snapshot([one.both]) { tls in
        tls.ciphers = ["ECDHE-ECDSA-AES128-GCM-SHA256", "TLS_AES_128_GCM_SHA256"]
        tls.groups = ["X25519", "P-256"]
        tls.clientCA = one.chain
        tls.clientCertificate = .request
      })
    #expect(good.problems == [])
  }

  /// What a server's certificate has to name.
  @Test(arguments: [
    ("mail.example:993", nil, "mail.example"),
    ("srv:_imaps._tcp.mail.example", nil, "mail.example"),
    ("192.0.2.1:993", nil, "192.0.2.1"), ("[2001:db8::1]:993", nil, "2001:db8::1"),
    ("mail.example:993@192.0.2.1:993", "mail.example:993", "mail.example"),
  ] as [(String, String?, String)])
  func ownNames(name: String, origin: String?, wanted: String) throws {
    var target = ServerTarget.host(try #require(HostName("mail.example")), port: 993)
    if let address = SocketAddress(String(name.split(separator: "@").last ?? "")) {
      target = .address(address)
    }
    var server = Config.Server(name: name, target: target)
    server.origin = origin
    #expect(server.ownName == wanted)
  }
}
