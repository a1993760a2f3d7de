import System
import TestSupport
import Testing

// A proxy in front names one client after the other, more than the table of sources has entries
// (SLUICE_SOURCES of them; `tools/gates sources` takes a million). Memory does not grow past what
// docs/backends.md says, and sources that have connections all the while keep their exact counts.

@Test("many sources")
func manySources() throws {
  let sources = environment("SLUICE_SOURCES").flatMap { Int($0) } ?? 20_000
  // Four entries for each connection, rounded up to a power of two, 16,384 at least: 68 bytes each.
  let (connections, entries) = sources > 100_000 ? (100_000, 524_288) : (1000, 16_384)
  let perSource = 3
  #expect(sources > entries)
  let server = try ListeningSocket()
  let isOver = Guarded(false)
  let serving = Job("server") { try serve(server) { isOver.withLock { $0 } } }
  var setup = Setup(Engine(events: "auto", splice: "auto"), servers: [server.endpoint])
  setup.listener = "type: server-first, protocol: smtp"
  setup.extra = """
    trusted-networks: [127.0.0.1]
    limits: { per-source: \(perSource), max-connections: \(connections) }
    """
  let yaml = setup.yaml(log: "off").replacing("\"off\"", with: "off")
  let sluice = try SluiceProcess(yaml: yaml, in: TemporaryDirectory(), at: setup.bind)
  let front = SourceFront(sluice: sluice, server: server.endpoint)

  let steady = ["192.0.2.1", "192.0.2.2", "2001:db8:0:0:0:0:0:1"]
  var held = try steady.map { source in
    try (0..<perSource).map { _ in try #require(try front.hold(source)) }
  }
  try front.pass(0..<1000)
  let before = sluice.facts.privateMemory
  let step = (sources - 1000) / 10
  for part in 0..<10 {
    try front.pass(1000 + part * step..<1000 + (part + 1) * step)
    for source in steady { #expect(try front.hold(source) == nil, "\(source) got a place") }
  }
  // Workers, their buffers and the allocator's pages move a little by themselves.
  let grown = sluice.facts.privateMemory - before
  if !SluiceBinary.isSanitized {
    #expect(grown <= entries * 68 + 8 << 20, "\(grown) bytes")
  }

  for index in steady.indices {
    held[index].removeLast().reset()
    try wait(for: "a place of \(steady[index])") {
      guard let client = try front.hold(steady[index]) else { return false }
      held[index].append(client)
      return true
    }
    #expect(try front.hold(steady[index]) == nil)
  }
  for client in held.flatMap({ $0 }) { client.reset() }
  for source in steady {
    var clients: [StreamSocket] = []
    try wait(for: "all places of \(source)") {
      if let client = try front.hold(source) { clients.append(client) }
      return clients.count == perSource
    }
    #expect(try front.hold(source) == nil)
    for client in clients { client.reset() }
  }
  try sluice.stop()
  isOver.withLock { $0 = true }
  try serving.value()
}

/// Says to each connection what it is told first; then closes it, unless that is `h`.
private func serve(_ server: ListeningSocket, _ isOver: () -> Bool) throws {
  var held: [StreamSocket] = []
  while !isOver() {
    guard let client = try server.accept(withinMs: 20) else { continue }
    let word = try client.readExactly(1)
    try client.write(word)
    if word == Array("h".utf8) { held.append(client) } else { client.close() }
  }
}

/// A trusted proxy in front, which says whom it connects for.
private struct SourceFront {
  let sluice: SluiceProcess
  let server: Endpoint

  private static let batch = 100

  /// A connection of this source that stays; nil when the source has as many as it may.
  func hold(_ source: String) throws -> StreamSocket? {
    let client = try sluice.connect()
    let to = source.contains(":") ? Endpoint.inet("2001:db8:0:0:0:0:0:25", 25) : sluice.endpoint
    try client.write(Header.v2(.inet(source, 1234), to: to) + Array("h".utf8))
    let first = try client.readExactly(1)
    if first == Array("h".utf8) { return client }
    let rest = String(decoding: try client.readToEnd().bytes, as: UTF8.self)
    client.close()
    guard first == Array("4".utf8), rest.hasPrefix("21 4.7.0") else {
      throw TestFailure("\(first) \(rest)")
    }
    return nil
  }

  /// One short connection of each of these sources, of 10.0.0.0/8.
  func pass(_ sources: Range<Int>) throws {
    let signature = Header.v2(.inet("10.0.0.0", 1234), to: sluice.endpoint)
    for first in stride(from: sources.lowerBound, to: sources.upperBound, by: SourceFront.batch) {
      let clients = try (first..<min(first + SourceFront.batch, sources.upperBound)).map { number in
        let client = try sluice.connect()
        var header = signature
        for index in 0..<3 {
          header[17 + index] = UInt8(truncatingIfNeeded: number >> (16 - 8 * index))
        }
        try client.write(header + Array("x".utf8))
        return client
      }
      for client in clients {
        let heard = try client.readToEnd().bytes
        #expect(heard == Array("x".utf8))
        client.close()
      }
    }
  }
}
