import Synchronization
import TestSupport
import Testing

// Servers of weights 1, 2 and 4 behind two workers, while eight threads connect and leave: each
// gets its part of the connections within 2 % of all, and nobody is turned away.

@Test("weights of real connections", arguments: Engine.eventSources)
func weightsOfRealConnections(engine: Engine) throws {
  let servers = try (0..<3).map { _ in try ListeningSocket() }
  let weights = [1, 2, 4]
  let directory = try TemporaryDirectory()
  let bind = Endpoint.loopback(ReservedPort.take())
  let list = zip(servers, weights).map { "{ address: \"\($0.endpoint)\", weight: \($1) }" }
  let yaml = """
    workers: 2
    events: \(engine.events)
    log: { connections: "\(directory.file("log"))" }
    listeners: { front: { bind: "\(bind)", type: server-first, backend: back } }
    backends:
      back: { servers: [\(list.joined(separator: ", "))] }
    """
  let sluice = try SluiceProcess(yaml: yaml, in: directory, at: bind)
  let isOver = Over()
  let serving = servers.map { server in
    Job("server") {
      var count = 0
      while !isOver.value {
        guard let upstream = try server.accept(withinMs: 5) else { continue }
        try upstream.write("hello")
        upstream.close()
        count += 1
      }
      return count
    }
  }
  let each = 175
  let clients = (0..<8).map { number in
    Job("client \(number)") {
      for _ in 0..<each {
        let client = try sluice.connect()
        #expect(try client.readToEnd().bytes == Array("hello".utf8))
        client.close()
      }
    }
  }
  for client in clients { try client.value() }
  isOver.set()
  let counts = try serving.map { try $0.value() }
  let total = Double(8 * each)
  #expect(counts.reduce(0, +) == 8 * each)
  for (count, weight) in zip(counts, weights) {
    #expect(abs(Double(count) - total * Double(weight) / 7) <= 0.02 * total, "\(counts)")
  }
  try sluice.stop()
}

private final class Over: Sendable {
  private let flag = Atomic(false)
  var value: Bool { flag.load(ordering: .relaxed) }
  func set() { flag.store(true, ordering: .relaxed) }
}
