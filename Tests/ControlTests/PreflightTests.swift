import Config
import System
import Testing
import Wire

@testable import Control

@Suite struct PreflightTests {
  private func snapshot(_ binds: String..., events: EventsChoice = .auto, most: Int = 100)
    -> Snapshot
  {
    Snapshot(
      events: events, limits: Limits(maxConnections: most),
      listeners: [
        Listener(name: "smtp", binds: binds.compactMap { SocketAddress($0) }, backend: 0)
      ],
      backends: [Backend(name: "postfix", servers: [])])
  }

  private let plenty = Preflight.Facts(descriptors: 1_000_000, workers: 2)

  @Test func nothingToSayWhereAllIsWell() {
    let preflight = Preflight(snapshot("127.0.0.1:25"), plenty) { _ in nil }
    #expect(preflight.errors == [] && preflight.warnings == [])
    #expect(preflight.connections == 100)
  }

  @Test func whoSealsTLSIsSaid() {
    var facts = plenty
    #expect(Preflight(snapshot("127.0.0.1:25"), facts) { _ in nil }.notes == [])
    facts.kernelTLS = .used
    #expect(
      Preflight(snapshot("127.0.0.1:25"), facts) { _ in nil }.notes
        == ["TLS: what is relayed in bulk is sealed by the kernel"])
    facts.kernelTLS = .absent
    let absent = Preflight(snapshot("127.0.0.1:25"), facts) { _ in nil }
    #expect(absent.notes.count == 1 && absent.warnings == [])
    #expect(absent.notes.first?.contains("modprobe tls") == true)
    facts.kernelTLS = .notBuilt
    #expect(
      Preflight(snapshot("127.0.0.1:25"), facts) { _ in nil }.notes
        == ["TLS: all is sealed by OpenSSL, which was built without the kernel's TLS"])
  }

  @Test func anotherListenerIsNamed() {
    let preflight = Preflight(snapshot("127.0.0.1:25", "127.0.0.2:25"), plenty) {
      $0 == SocketAddress("127.0.0.2:25") ? .inUse : nil
    }
    #expect(preflight.errors == ["listener smtp: 127.0.0.2:25 is in use by another process"])
  }

  @Test func aLowPortSaysWhatToDo() throws {
    var facts = plenty
    facts.hasBindService = false
    let preflight = Preflight(snapshot("127.0.0.1:25"), facts) { _ in .accessDenied }
    let error = try #require(preflight.errors.first)
    #expect(error.contains("127.0.0.1:25") && error.contains("CAP_NET_BIND_SERVICE"))
    #expect(error.contains("below 1024"))
  }

  @Test func aDirectoryThatIsClosedIsNoMatterOfPorts() {
    var facts = plenty
    facts.hasBindService = false
    let preflight = Preflight(snapshot("unix:/root/x.sock"), facts) { _ in .accessDenied }
    #expect(
      preflight.errors == ["listener smtp: unix:/root/x.sock may not be bound by this user"])
  }

  @Test func aMachineWithoutIPv6ServesTheOtherFamily() {
    let both = Preflight(snapshot("0.0.0.0:25", "[::]:25"), plenty) { address in
      if case .ipv6 = address { return .familyAbsent }
      return nil
    }
    #expect(both.errors == [])
    let only = Preflight(snapshot("[::]:25"), plenty) { _ in .familyAbsent }
    #expect(only.errors.count == 1)
    let named = Preflight(snapshot("0.0.0.0:25", "[::1]:25"), plenty) { address in
      if case .ipv6 = address { return .familyAbsent }
      return nil
    }
    #expect(named.errors.count == 1)
  }

  /// Two per connection, 64 kept back, and what the server itself has open.
  @Test func descriptorsBoundTheConnections() throws {
    // 3 open + 6 + 2 workers * (3 + 1 socket) = 17 for the server itself.
    var facts = Preflight.Facts(descriptors: 17 + 64 + 200, workers: 2)
    let enough = Preflight(snapshot("127.0.0.1:25"), facts) { _ in nil }
    #expect(enough.warnings == [] && enough.descriptorsForConnections == 200)
    facts.descriptors -= 1
    let fewer = Preflight(snapshot("127.0.0.1:25"), facts) { _ in nil }
    #expect(fewer.connections == 99)
    #expect(try #require(fewer.warnings.first).contains("to 281"))
    #expect(fewer.errors == [])
    facts.descriptors = 82
    let none = Preflight(snapshot("127.0.0.1:25"), facts) { _ in nil }
    #expect(none.connections == 0 && none.warnings == [])
    #expect(try #require(none.errors.first).contains("descriptors"))
  }

  @Test func aDeniedRingIsAnErrorOnlyWhenAskedFor() throws {
    var facts = plenty
    facts.ringDenied = .notPermitted
    let asked = Preflight(snapshot("127.0.0.1:25", events: .ring), facts) { _ in nil }
    #expect(try #require(asked.errors.first).contains("seccomp"))
    #expect(try #require(asked.errors.first).contains("events: epoll"))
    let auto = Preflight(snapshot("127.0.0.1:25"), facts) { _ in nil }
    #expect(auto.errors == [])
    #expect(try #require(auto.warnings.first).hasSuffix("so events come from epoll"))
    let epoll = Preflight(snapshot("127.0.0.1:25", events: .epoll), facts) { _ in nil }
    #expect(epoll.errors == [] && epoll.warnings == [])
    facts.ringDisabledSetting = 2
    let sysctl = Preflight(snapshot("127.0.0.1:25", events: .ring), facts) { _ in nil }
    #expect(try #require(sysctl.errors.first).contains("kernel.io_uring_disabled is 2"))
  }

  @Test func aCongestionControlThatCannotBeUsedIsNamed() throws {
    var config = snapshot("127.0.0.1:25")
    config.listeners[0].congestion = "no-such-control"
    config.backends[0].congestion = "cubic"
    let facts = Preflight.facts(for: config)
    #expect(facts.congestionDenied == ["no-such-control": .noEntry])
    let errors = Preflight(config, facts) { _ in nil }.errors.filter { $0.contains("congestion") }
    #expect(errors.count == 1)
    #expect(try #require(errors.first).contains("\"no-such-control\" is not known to this kernel"))
  }
}
