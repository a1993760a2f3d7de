import TestSupport
import Testing

// An SMTP server greets before the client has said a word. The proxy must not wait for the client:
// the greeting comes through at once, the dialogue goes on line by line, the client hangs up, and
// one line of the log tells it all.

@Test("server speaks first", arguments: Engine.all)
func serverSpeaksFirst(engine: Engine) throws {
  let server = try ListeningSocket()
  var setup = Setup(engine, servers: [server.endpoint])
  setup.listener = "type: server-first"
  try withSluice(setup) { sluice in
    let client = try sluice.connect(from: "127.0.0.2")
    let (upstream, acceptMs) = try timed { try server.accept() }
    #expect(acceptMs < 1000)

    let greeting = "220 mail.example.test ESMTP\r\n"
    try upstream.write(greeting)
    #expect(try client.readExactly(greeting.utf8.count) == Array(greeting.utf8))
    try client.write("EHLO client\r\n")
    #expect(try upstream.readExactly(13) == Array("EHLO client\r\n".utf8))
    try upstream.write("250 mail.example.test\r\n")
    #expect(try client.readExactly(23) == Array("250 mail.example.test\r\n".utf8))

    try client.write("QUIT\r\n")
    client.finish()
    let last = try upstream.readToEnd()
    #expect(last.bytes == Array("QUIT\r\n".utf8))
    #expect(last.ending == .fin)
    try upstream.write("221 Bye\r\n")
    upstream.close()
    let farewell = try client.readToEnd()
    #expect(farewell.bytes == Array("221 Bye\r\n".utf8))
    #expect(farewell.ending == .fin)

    let record = try sluice.record()
    #expect(record.listener == "front")
    #expect(record.backend == "back")
    #expect(record.client == client.local.description)
    #expect(record.local == sluice.endpoint.description)
    #expect(record.server == server.endpoint.description)
    #expect(record.tries == 1)
    #expect(record.bytesUp == 13 + 6)
    #expect(record.bytesDown == greeting.utf8.count + 23 + 9)
    #expect(record.end == "client.fin")
    #expect(record.reason == nil)
    #expect(record.durationMs >= record.firstByteMs)
  }
}

// A protocol in which the client speaks first and whose listener says so (`type: tcp`) behaves the
// same once the client has spoken.
@Test("client speaks first", arguments: Engine.eventSources)
func clientSpeaksFirst(engine: Engine) throws {
  let server = try ListeningSocket()
  var setup = Setup(engine, servers: [server.endpoint])
  setup.listener = "type: tcp"
  try withSluice(setup) { sluice in
    let client = try sluice.connect()
    try client.write("GET / HTTP/1.0\r\n\r\n")
    let upstream = try server.accept()
    #expect(try upstream.readExactly(18) == Array("GET / HTTP/1.0\r\n\r\n".utf8))
    try upstream.write("HTTP/1.0 204 No Content\r\n\r\n")
    upstream.close()
    let reply = try client.readToEnd()
    #expect(reply.bytes == Array("HTTP/1.0 204 No Content\r\n\r\n".utf8))
    #expect(reply.ending == .fin)
    client.close()
    #expect(try sluice.record().end == "upstream.fin")
  }
}
