import System
import TestSupport
import Testing

// Clients that begin a hello and never finish it hold what they sent, page by page, and nothing
// else: no connection to a server, and no memory for long. Those whose hello was whole hold no
// buffer, however long it was: it is given back when the last of it is on its way.

@Test("slow hellos", .serialized, arguments: Engine.eventSources)
func slowHellos(engine: Engine) throws {
  let count = 1000
  let deadlineMs = 4000
  try makeRoom(forDescriptors: count + 200)
  let server = try ListeningSocket()
  var setup = TrustSetup.tls(engine, [server.endpoint])
  setup.top = "limits: { max-connections: 3000 }"
  setup.timeouts = "drain: 5s, preface: \(deadlineMs)ms"
  try withTrust(setup) { proxy in
    // Of a hello that is a little longer than two pages nearly two come.
    let hello = TLSHello(padding: 8200).bytes
    let slow = Array(hello[..<8190])
    #expect(hello.count > slow.count)
    for _ in 0..<10 { try serve(proxy, server) }
    let facts = proxy.sluice.facts
    let memory = facts.privateMemory
    var slowOnes: [StreamSocket] = []
    for _ in 0..<count {
      let client = try proxy.connect(from: "127.0.0.2")
      try client.write(slow)
      slowOnes.append(client)
    }
    var most = 0
    for _ in 0..<5 {
      most = max(most, facts.privateMemory)
      try serve(proxy, server)
      pause(ms: 50)
    }
    let each = (most - memory) / count
    print("tls_slow_loris, \(engine): \(each) bytes of memory for each of \(count) slow hellos")
    if !SluiceBinary.isSanitized { #expect(each >= 8000 && each <= 8192 + 1024) }

    let (records, leftOut) = try proxy.records(of: count + 15)
    let late = records.filter { $0.reason == "tls.timeout" }
    #expect(late.count + leftOut == count && late.count >= 10)
    for record in late {
      #expect(record.connection.durationMs > Double(deadlineMs) - 100)
      #expect(record.firstBytes == hexadecimal(slow.prefix(16)))
    }
    for client in slowOnes { client.close() }
    try expectUntouched(server)
    try wait(for: "the descriptors to be closed") { facts.descriptorCount < 100 }
  }
}

// 60 KiB of hello each, relayed and then silent: what stays is what any idle connection costs.
@Test("no buffer behind a hello", .serialized, arguments: Engine.eventSources)
func noBufferBehindHello(engine: Engine) throws {
  let count = 300
  try makeRoom(forDescriptors: 2 * count + 200)
  let server = try ListeningSocket()
  let setup = TrustSetup.tls(engine, [server.endpoint])
  try withTrust(setup) { proxy in
    let hello = TLSHello(padding: 60_000).bytes
    func open() throws -> [StreamSocket] {
      let client = try proxy.connect()
      let writer = Job("client") { try client.write(hello) }
      let upstream = try server.accept()
      _ = try upstream.readExactly(28 + hello.count)
      try writer.value()
      return [client, upstream]
    }
    // One buffer after the other is used, so that each has been touched when it is given back.
    var all = try (0..<50).map { _ in try open() }
    let memory = proxy.sluice.facts.privateMemory
    all += try (0..<count).map { _ in try open() }
    let each = (proxy.sluice.facts.privateMemory - memory) / count
    print("tls_slow_loris, \(engine): \(each) bytes of memory for each connection behind a hello")
    if !SluiceBinary.isSanitized { #expect(each < 4096) }
    for socket in all.joined() { socket.close() }
    _ = try proxy.records(count + 50)
  }
}

/// A client whose hello is whole is served at once.
private func serve(_ proxy: TrustProcess, _ server: ListeningSocket) throws {
  let client = try proxy.connect()
  let hello = TLSHello().bytes
  try client.write(hello)
  let upstream = try server.accept()
  _ = try upstream.readExactly(28 + hello.count)
  try expectGreeting(from: upstream, at: client)
  client.close()
  upstream.close()
}
