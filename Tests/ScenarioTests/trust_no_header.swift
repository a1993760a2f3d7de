import TestSupport
import Testing

// A trusted source that doesn't send its header is not served: "The receiver must be configured to
// only receive the protocol described in this specification and must not try to guess whether the
// protocol header is present or not." It is waited for until the deadline, "not less than 3 seconds
// to cover a TCP retransmit" unless the operator says otherwise, and the server never hears of it.

/// How long the daemon may take beyond a deadline, on a busy machine.
private let slackMs = 1500.0

/// Clients that send these bytes and then nothing are all turned away at the deadline.
private func expectTimeouts(
  _ trusted: TrustedSource, _ timeouts: String, afterMs deadlineMs: Double, sent: [[UInt8]],
  listener: String = ""
) throws {
  let server = try ListeningSocket()
  var setup = trusted.setup([server.endpoint])
  setup.timeouts = "drain: 5s" + (timeouts.isEmpty ? "" : ", \(timeouts)")
  if !listener.isEmpty { setup.listener += (setup.listener.isEmpty ? "" : ", ") + listener }
  try withTrust(setup) { proxy in
    let clients = try sent.map { bytes in
      let client = try proxy.connect(from: trusted.source)
      if !bytes.isEmpty { try client.write(bytes) }
      return client
    }
    for client in clients { try expectTurnedAway(client) }
    try expectUntouched(server)
    let records = try proxy.records(sent.count)
    for (client, bytes) in zip(clients, sent) {
      let record = try #require(records.first { $0.client == client.local.description })
      #expect(record.reason == "proxy.timeout")
      let ms = record.connection.durationMs
      #expect(ms > deadlineMs - 100 && ms < deadlineMs + slackMs, "closed after \(ms) ms")
      #expect(record.peer == client.local.description)
      #expect(!record.saysHeader)
      #expect(record.firstBytes == (bytes.isEmpty ? nil : hexadecimal(bytes.prefix(16))))
      #expect(record.connection.backend == nil && record.connection.tries == 0)
    }
  }
}

@Test("no header within three seconds", arguments: TrustedSource.few)
func defaultDeadline(trusted: TrustedSource) throws {
  try expectTimeouts(trusted, "", afterMs: 3000, sent: [[]])
}

@Test("no header within timeouts.proxy-header", arguments: TrustedSource.few)
func chosenDeadline(trusted: TrustedSource) throws {
  try expectTimeouts(trusted, "proxy-header: 400ms", afterMs: 400, sent: [[]])
  try expectTimeouts(
    trusted, "proxy-header: 10s", afterMs: 400, sent: [[]],
    listener: "timeouts: { proxy-header: 400ms }")
}

@Test("half a header within the deadline", arguments: TrustedSource.few)
func halfHeader(trusted: TrustedSource) throws {
  let headers = [
    Header.v1(trusted.client, to: trusted.reached), Header.v2(trusted.client, to: trusted.reached),
  ]
  let halves = headers.flatMap { header in
    [1, 5, 15, header.count - 1].map { Array(header.prefix($0)) }
  }
  try expectTimeouts(trusted, "proxy-header: 400ms", afterMs: 400, sent: halves)
}

// The deadline counts from accept: bytes that trickle in don't put it off.
@Test("a header that trickles in", arguments: TrustedSource.few)
func tricklingHeader(trusted: TrustedSource) throws {
  let server = try ListeningSocket()
  var setup = trusted.setup([server.endpoint])
  setup.timeouts = "drain: 5s, proxy-header: 600ms"
  try withTrust(setup) { proxy in
    let client = try proxy.connect(from: trusted.source)
    let (_, ms) = try timed {
      for byte in Header.v2(trusted.client, to: trusted.reached) {
        do { try client.write([byte]) } catch is StreamSocket.WriteFailure { break }
        if try client.receive(withinMs: 100) != nil { break }
      }
    }
    #expect(ms > 500 && ms < 600 + slackMs, "closed after \(ms) ms")
    #expect(try proxy.record().reason == "proxy.timeout")
    try expectUntouched(server)
  }
}

// "The receiver must also reject incoming connections containing partial protocol headers".
@Test("half a header and FIN", arguments: TrustedSource.few)
func truncatedHeader(trusted: TrustedSource) throws {
  let server = try ListeningSocket()
  try withTrust(trusted.setup([server.endpoint])) { proxy in
    let headers = [
      Header.v1(trusted.client, to: trusted.reached),
      Header.v2(trusted.client, to: trusted.reached),
    ]
    var ended = 0
    for header in headers {
      for count in [1, 12, 16, header.count - 1] {
        let client = try proxy.connect(from: trusted.source)
        try client.write(Array(header.prefix(count)))
        client.finish()
        try expectTurnedAway(client)
        ended += 1
        let record = try proxy.record(ended)
        #expect(record.reason == "proxy.truncated")
        #expect(record.firstBytes == hexadecimal(header.prefix(count).prefix(16)))
        #expect(record.connection.durationMs < 1000)
      }
    }
    try expectUntouched(server)
  }
}

// A load balancer's TCP check connects and closes. It is a probe, not an error, and counted apart.
@Test("connect and close", arguments: TrustedSource.few)
func probe(trusted: TrustedSource) throws {
  let server = try ListeningSocket()
  try withTrust(trusted.setup([server.endpoint])) { proxy in
    for count in 1...3 {
      let client = try proxy.connect(from: trusted.source)
      client.close()
      let record = try proxy.record(count)
      #expect(record.reason == "proxy.probe")
      #expect(record.firstBytes == nil)
      #expect(record.client == client.local.description)
    }
    try expectUntouched(server)
  }
}
