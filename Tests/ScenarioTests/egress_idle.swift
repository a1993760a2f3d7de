import TestSupport
import Testing

// 4,000 tunnels through a forward proxy stand idle, as those of push services do for days. Each
// costs two descriptors and at most 1 KiB of the daemon's own memory, with all that the log will
// tell of it.

@Test("4,000 idle tunnels", .serialized, arguments: Engine.eventSources)
func idleTunnels(engine: Engine) throws {
  let (count, warmUp) = (4000, 100)
  try makeRoom(forDescriptors: 2 * (count + warmUp))
  let origin = try ListeningSocket()
  let proxy = try ForwardProxy(engine, extra: "limits: { max-connections: 6000 }")
  func open(_ number: Int) throws -> [(StreamSocket, StreamSocket)] {
    try (0..<number).map { _ in
      let client = try proxy.connect()
      try client.openTunnel(to: "127.0.0.1:\(origin.endpoint.port)")
      let upstream = try origin.accept()
      try client.write("hello")
      #expect(try upstream.readText(5) == "hello")
      try upstream.write("hello")
      #expect(try client.readText(5) == "hello")
      return (client, upstream)
    }
  }
  // What is paid once is paid before measuring.
  var ends = try open(warmUp)
  let memory = proxy.sluice.facts.privateMemory
  ends += try open(count)
  let perTunnel = (proxy.sluice.facts.privateMemory - memory) / count
  print("egress_idle, \(engine): \(perTunnel) bytes of user-space memory per tunnel")
  if !SluiceBinary.isSanitized { #expect(perTunnel <= 1024) }
  for (client, upstream) in ends {
    client.close()
    #expect(try upstream.readToEnd().ending == .fin)
    upstream.close()
  }
  let records = try proxy.sluice.records(warmUp + count)
  #expect(records.allSatisfy { $0.end == "client.fin" && $0.bytesUp == 5 })
  let line = try JSONValue(try #require(proxy.sluice.lines.records.last))
  #expect(line["method"]?.string == "CONNECT" && line["rule"]?.string == "all")
  #expect(line["target"]?.string == "127.0.0.1:\(origin.endpoint.port)")
  #expect(line["address"]?.string == "\(origin.endpoint)" && line["status"]?.number == 200)
  try proxy.sluice.stop()
}
