import Config
import Control
import DataPlane
import Routing
import System
import TestSupport
import Testing
import Wire

/// A configuration with names, as it is served.
@Suite struct UpstreamsTests {
  private static let box = ServerTarget.host(HostName("box.test")!, port: 25)

  private func snapshot(
    _ servers: [Config.Server], source: SocketAddress? = nil, _ resolver: ResolverSettings = .init()
  ) -> Snapshot {
    Snapshot(
      resolver: resolver,
      listeners: [Listener(name: "l", binds: [.ipv4(0, port: 25)], backend: 0)],
      backends: [Backend(name: "b", servers: servers, source: source)])
  }

  private func text(_ snapshot: Snapshot) -> [String] {
    snapshot.backends[0].servers.map { server in
      "\(server.name) \(server.address.map(\.description) ?? "-") \(server.weight)"
    }
  }

  private let named = Config.Server(name: "box.test:25", target: UpstreamsTests.box, weight: 3)
  private let plain = Config.Server(name: "192.0.2.9:25", address: .ipv4(0xc000_0209, port: 25))

  @Test func aServerForEachAddress() {
    let snapshot = snapshot([named, plain])
    #expect(snapshot.namedTargets == [UpstreamsTests.box])
    let found = [
      ResolvedServer(address: SocketAddress("[::1]:25")!),
      ResolvedServer(address: .ipv4(0xc000_0201, port: 25), weight: 7),
    ]
    #expect(
      text(snapshot.serving([UpstreamsTests.box: found])) == [
        "box.test:25@[::1]:25 [::1]:25 3", "box.test:25@192.0.2.1:25 192.0.2.1:25 7",
        "192.0.2.9:25 192.0.2.9:25 1",
      ])
    #expect(text(snapshot.serving([:])) == ["192.0.2.9:25 192.0.2.9:25 1"])
    #expect(text(self.snapshot([named]).serving([:])) == ["box.test:25 - 3"])
  }

  /// A socket bound to an address of one family reaches no other.
  @Test func onlyTheFamilyOfTheSource() {
    let found = [
      ResolvedServer(address: SocketAddress("[::1]:25")!),
      ResolvedServer(address: .ipv4(0xc000_0201, port: 25)),
    ]
    let snapshot = snapshot([named], source: .ipv4(0x7f00_0001, port: 0))
    #expect(
      text(snapshot.serving([UpstreamsTests.box: found]))
        == ["box.test:25@192.0.2.1:25 192.0.2.1:25 3"])
  }

  @Test func fromOneConfigurationToTheNext() throws {
    let server = try NameServer()
    defer { server.stop() }
    server.set("box.test", .a(127, 0, 0, 2, ttl: 0))
    let resolver = ResolverSettings(servers: [SocketAddress(server.address)!], minTTLMs: 100)
    let first = snapshot([named], resolver)
    let upstreams = try Upstreams(first)
    defer { upstreams.stop() }
    try upstreams.follow(first)
    #expect(
      text(upstreams.served.applied(to: first)) == ["box.test:25@127.0.0.2:25 127.0.0.2:25 3"])
    // Whoever is told is busy at first.
    let told = Guarded<[[String]]>([])
    try upstreams.start(events: nil) { served in
      told.withLock { told in
        told.append(text(served.applied(to: first)))
        return told.count == 3
      }
    }
    server.set("box.test", .a(127, 0, 0, 3, ttl: 0))
    let other = ["box.test:25@127.0.0.3:25 127.0.0.3:25 3"]
    try wait(for: "the other address") { told.withLock { $0 } == [other, other, other] }
    let second = snapshot([plain], resolver)
    try upstreams.follow(second)
    #expect(text(upstreams.served.applied(to: second)) == ["192.0.2.9:25 192.0.2.9:25 1"])
  }

  /// Another resolver is asked from now on, and says nothing: what is known stays.
  @Test func fromOneResolverToAnother() throws {
    let server = try NameServer()
    defer { server.stop() }
    server.set("box.test", .a(127, 0, 0, 2))
    let silent = try NameServer()
    defer { silent.stop() }
    silent.set("box.test", .silence)
    func resolver(_ server: NameServer) -> ResolverSettings {
      ResolverSettings(servers: [SocketAddress(server.address)!], minTTLMs: 100)
    }
    let first = snapshot([named], resolver(server))
    let upstreams = try Upstreams(first)
    defer { upstreams.stop() }
    try upstreams.follow(first)
    let second = snapshot([named], resolver(silent))
    try upstreams.follow(second)
    #expect(silent.count(1, "box.test") > 0)
    #expect(
      text(upstreams.served.applied(to: second)) == ["box.test:25@127.0.0.2:25 127.0.0.2:25 3"])
  }

  /// Another configuration is tried and given up, while the name server is gone: what was known of
  /// the first one's names and servers is known still.
  @Test func thereAndBack() throws {
    let server = try NameServer()
    defer { server.stop() }
    server.set("box.test", .a(127, 0, 0, 2))
    let resolver = ResolverSettings(servers: [SocketAddress(server.address)!], minTTLMs: 100)
    let gone = try ListeningSocket()
    var first = snapshot(
      [named, Config.Server(name: "gone", address: SocketAddress("\(gone.endpoint)")!)], resolver)
    gone.close()
    first.backends[0].check = CheckSettings(
      kind: .connect, intervalMs: 600_000, rise: 1, fall: 1)
    let upstreams = try Upstreams(first)
    defer { upstreams.stop() }
    try upstreams.follow(first)
    try upstreams.start(events: nil) { _ in true }
    let name = ServerName(backend: "b", server: "gone")
    try wait(for: "it to be down") { upstreams.served.troubles[name] != nil }
    server.set("box.test", .silence)
    for settings in [resolver, ResolverSettings(servers: resolver.servers, minTTLMs: 200)] {
      try upstreams.follow(snapshot([plain], settings))
      #expect(upstreams.served.troubles.isEmpty)
      try upstreams.follow(first)
      upstreams.settle()
      #expect(upstreams.served.troubles[name] != nil)
      #expect(
        text(upstreams.served.applied(to: first))[0] == "box.test:25@127.0.0.2:25 127.0.0.2:25 3")
    }
    // Once it is settled, nothing is kept.
    try upstreams.follow(snapshot([plain], resolver))
    upstreams.settle()
    try upstreams.follow(first)
    #expect(upstreams.served.troubles.isEmpty)
  }

  /// One check for both backends that have a server.
  @Test func checkedServers() throws {
    let (one, two) = (try ListeningSocket(), try ListeningSocket())
    let servers = [one, two].map {
      Config.Server(name: "\($0.endpoint)", address: SocketAddress("\($0.endpoint)")!)
    }
    var checked = snapshot(servers)
    let check = CheckSettings(kind: .connect, intervalMs: 100, rise: 1, fall: 1)
    checked.backends[0].check = check
    checked.backends.append(Backend(name: "c", servers: [servers[1]], check: check))
    let upstreams = try Upstreams(checked)
    defer { upstreams.stop() }
    try upstreams.follow(checked)
    try upstreams.start(events: nil) { _ in true }
    func areUp() -> [Bool] {
      servers.map { upstreams.served.troubles[.init(backend: "b", server: $0.name)] == nil }
    }
    #expect(areUp() == [true, true])
    one.close()
    try wait(for: "one to go down") { areUp() == [false, true] }
    two.close()
    try wait(for: "both to be down") { areUp() == [false, false] }
    let back = try ListeningSocket(two.endpoint)
    try wait(for: "the good one to come back") { areUp() == [false, true] }
    let troubles = upstreams.served.troubles
    #expect(
      troubles == [.init(backend: "b", server: servers[0].name): .down("connection refused")])
    back.close()
  }
}
