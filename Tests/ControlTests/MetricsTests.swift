import AdminAPI
import Config
import Glibc
import Routing
import System
import TestSupport
import Testing
import Wire

@testable import Control
@testable import DataPlane

/// The metrics' text, held against promtool, the catalogue and the documentation.
@Suite struct MetricsTests {
  private static let hostile = "a\"b\\c\nd"

  private static func reading() -> MetricsReading {
    let snapshot = Snapshot(
      listeners: [
        Listener(name: "smtp", binds: [.ipv4(0x7f00_0001, port: 1)], backend: 0),
        Listener(name: "imap", binds: [.ipv4(0x7f00_0001, port: 2)], backend: 0),
      ],
      backends: [
        Backend(
          name: "postfix",
          servers: [Server(name: hostile, address: .ipv4(0x7f00_0001, port: 3))])
      ])
    var book = SeriesBook()
    let plan = book.plan(for: snapshot)
    var worker = WorkerCounts()
    worker.prepare(for: plan)
    for (column, amount) in [
      (ListenerColumns.accepted, 5), (ListenerColumns.ended, 3), (ListenerColumns.bytesUp, 77),
      (ListenerColumns.headers + HeaderKind.v2Local.rawValue, 2),
      (ListenerColumns.ends + ConnectionEnd.idleDeadline.position, 1),
    ] as [(Int, UInt64)] { worker.listeners.add(0, column, amount) }
    worker.listeners.add(1, ListenerColumns.handshakes + HandshakeResult.resumed.rawValue, 3)
    for reason in [RejectReason.dialRefused, .parser(.proxyProbe)] {
      let position = RejectReason.position(ofNumber: reason.number)!
      worker.listeners.add(0, ListenerColumns.reasons + position, 4)
    }
    for us in [1_000, 2_000_000_000] as [UInt64] {
      ListenerColumns.duration.note(us, in: &worker.listeners, 0)
    }
    var reading = MetricsReading(
      Counts([worker, worker, nil], book), version: "0.1", events: "ring", maxConnections: 100)
    reading.backends = [
      BackendStatus(
        name: "postfix", balance: "round-robin", state: .serving,
        servers: [ServerStatus(name: hostile, address: "127.0.0.1:3", state: .down, weight: 2)])
    ]
    reading.certificates = [
      Transports.Certificate(
        listener: "imap", path: hostile, names: [], notBefore: 0, notAfter: 1_800_000_000)
    ]
    reading.reloads[.refused] = 9
    reading.loadedWallMs = 1_795_224_225_678
    return reading
  }

  private func lines(_ reading: MetricsReading = reading()) -> [String] {
    String(decoding: reading.text, as: UTF8.self).split(separator: "\n").map(String.init)
  }

  @Test func samplesSayWhatWasCounted() {
    let lines = lines()
    for line in [
      #"sluice_build_info{version="0.1",events="ring"} 1"#,
      #"sluice_connections 4"#,
      #"sluice_reloads_total{outcome="refused"} 9"#,
      #"sluice_configuration_loaded_timestamp_seconds 1795224225.678"#,
      #"sluice_listener_accepted_total{listener="smtp"} 10"#,
      #"sluice_listener_connections{listener="smtp"} 4"#,
      #"sluice_listener_connections{listener="imap"} 0"#,
      #"sluice_listener_bytes_total{listener="smtp",direction="up"} 154"#,
      #"sluice_listener_rejected_total{listener="smtp",reason="dial.refused"} 8"#,
      #"sluice_listener_probes_total{listener="smtp",kind="silent"} 8"#,
      #"sluice_listener_probes_total{listener="smtp",kind="local"} 4"#,
      #"sluice_listener_ends_total{listener="smtp",end="deadline.idle"} 2"#,
      #"sluice_listener_duration_seconds_bucket{listener="smtp",le="0.01"} 2"#,
      #"sluice_listener_duration_seconds_bucket{listener="smtp",le="1800"} 2"#,
      #"sluice_listener_duration_seconds_bucket{listener="smtp",le="3600"} 4"#,
      #"sluice_listener_duration_seconds_bucket{listener="smtp",le="+Inf"} 4"#,
      #"sluice_listener_duration_seconds_sum{listener="smtp"} 4000.002"#,
      #"sluice_listener_duration_seconds_count{listener="smtp"} 4"#,
      #"sluice_server_up{backend="postfix",server="a\"b\\c\nd"} 0"#,
      #"sluice_server_weight{backend="postfix",server="a\"b\\c\nd"} 2"#,
      #"sluice_listener_handshakes_total{listener="imap",result="resumed"} 6"#,
      #"sluice_listener_handshakes_total{listener="imap",result="failed"} 0"#,
      #"sluice_certificate_expiry_timestamp_seconds{listener="imap",certificate="a\"b\\c\nd"} "#
        + "1800000000",
      #"sluice_worker_up{worker="1"} 1"#, #"sluice_worker_up{worker="2"} 0"#,
    ] {
      #expect(lines.contains(line), "\(line)")
    }
    // A probe is nobody's error, and a reason that never happened is no line.
    #expect(!lines.contains { $0.contains("reason=\"proxy.probe\"") })
    #expect(!lines.contains { $0.contains("rejected_total{listener=\"imap\"") })
    // Who ends no TLS has nothing to say of it.
    #expect(!lines.contains { $0.hasPrefix("sluice_listener_handshakes_total{listener=\"smtp\"") })
    #expect(!lines.contains { $0.hasPrefix("sluice_worker_turns_total{worker=\"2\"}") })
  }

  /// "Only one HELP line may exist for any given metric name", and all families are there.
  @Test func everyFamilyIsThereOnceAndInOrder() {
    let types = lines().filter { $0.hasPrefix("# TYPE ") }.map { $0.split(separator: " ") }
    #expect(types.map { String($0[2]) } == MetricFamily.all.map(\.name))
    #expect(types.map { String($0[3]) } == MetricFamily.all.map(\.kind.rawValue))
    #expect(Set(MetricFamily.all.map(\.name)).count == MetricFamily.all.count)
  }

  @Test func theProcessKnowsItself() throws {
    let use = try #require(ProcessUse.now())
    #expect(use.residentBytes > 1 << 20 && use.virtualBytes >= use.residentBytes)
    #expect(use.threads >= 1 && use.startedWallMs <= Clock.wallMs + 1000)
    #expect(use.startedWallMs > Clock.wallMs - 86_400_000)
  }

  @Test func promtoolFindsNothingToComplainAbout() throws {
    let result = try ChildProcess.run(
      "promtool", ["check", "metrics"], input: String(decoding: Self.reading().text, as: UTF8.self))
    #expect(result.exit == .code(0) && result.output + result.error == "")
    // It would have, had there been anything.
    let wrong = try ChildProcess.run(
      "promtool", ["check", "metrics"], input: "# TYPE x counter\nx 1\n")
    #expect(wrong.exit != .code(0))
  }

  @Test func aMissingReadingIsNoSample() {
    var reading = Self.reading()
    reading.process = nil
    #expect(!lines(reading).contains { $0.hasPrefix("process_cpu_seconds_total ") })
  }

  @Test(arguments: [(0, "0"), (500, "0.0005"), (1_000_000, "1"), (2_500_000, "2.5")])
  func microsecondsAreSeconds(us: UInt64, text: String) {
    var bytes: [UInt8] = []
    bytes.append(seconds: us)
    #expect(String(decoding: bytes, as: UTF8.self) == text)
  }
}
