import TestSupport
import Testing

// 5,000 mail clients sit in IMAP IDLE. Each has said something once; now nothing happens. Each
// costs two descriptors and at most 0.40 KiB of the daemon's own memory: no buffer, no pipe.

@Test("5,000 idle connections", .serialized, arguments: Engine.eventSources)
func idle5000(engine: Engine) throws {
  let count = 5000
  let warmUp = 100
  try makeRoom(forDescriptors: 2 * (count + warmUp))
  let server = try ListeningSocket()
  var setup = Setup(engine, servers: [server.endpoint])
  setup.listener = "type: server-first"
  setup.extra = "limits: { max-connections: 6000 }"
  try withSluice(setup) { sluice in
    let baseline = sluice.facts.descriptorCount
    // What is paid once (code touched, stacks, tables) is paid before measuring.
    var ends = try openAndTalk(warmUp, sluice, server)
    let descriptors = sluice.facts.descriptorCount
    let memory = sluice.facts.privateMemory
    #expect(descriptors == baseline + 2 * warmUp)

    ends += try openAndTalk(count, sluice, server)
    #expect(sluice.facts.descriptorCount == descriptors + 2 * count)
    let perConnection = (sluice.facts.privateMemory - memory) / count
    print("idle_5000, \(engine): \(perConnection) bytes of user-space memory per connection")
    if !SluiceBinary.isSanitized {
      #expect(perConnection <= 409)
    }

    // They are alive all the same.
    for (client, upstream) in [ends[0], ends[count / 2], ends[count]] {
      try upstream.write("* 1 EXISTS\r\n")
      #expect(try client.readExactly(12) == Array("* 1 EXISTS\r\n".utf8))
    }
    // The server leaves when the client has left, so that there is no doubt who went first.
    for (client, upstream) in ends {
      client.close()
      #expect(try upstream.readToEnd().ending == .fin)
      upstream.close()
    }
    try wait(for: "the descriptors to be closed") {
      sluice.facts.descriptorCount <= baseline
    }
    #expect(try sluice.records(warmUp + count).allSatisfy { $0.end == "client.fin" })
  }
}

private func openAndTalk(
  _ count: Int, _ sluice: SluiceProcess, _ server: ListeningSocket
) throws -> [(StreamSocket, StreamSocket)] {
  let line = [UInt8](repeating: 0x2A, count: 64)
  return try (0..<count).map { _ in
    let client = try sluice.connect()
    let upstream = try server.accept()
    try client.write(line)
    _ = try upstream.readExactly(line.count)
    try upstream.write(line)
    _ = try client.readExactly(line.count)
    return (client, upstream)
  }
}
