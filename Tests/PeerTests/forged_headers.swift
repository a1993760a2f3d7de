import System
import TestSupport
import Testing

// A spammer connects from an address that nobody trusts and begins with a PROXY header, in front of
// real mail servers that believe any header that comes from us. The forged address must never reach
// a log as the client's, whether we send a header of our own or not.

struct ForgedHeader: Sendable, CustomStringConvertible {
  let service: Service
  let backend: String
  let version: Int
  /// Whether another address is trusted at the same listener.
  let trustsAnother: Bool
  var description: String {
    "v\(version) to \(service), \(backend)\(trustsAnother ? ", another is trusted" : "")"
  }

  static let all = [Service.smtp, .postscreen, .submission, .imap, .pop3, .sieve].flatMap {
    service in
    ["none", "v1", "v2"].flatMap { backend in
      [1, 2].flatMap { version in
        [false, true].map {
          ForgedHeader(
            service: service, backend: "send-proxy: \(backend)", version: version,
            trustsAnother: $0)
        }
      }
    }
  }

  /// Each forges an address of its own, so that no other's lines can be taken for it.
  private static let used = Guarded(0)
  static func nextAddress() -> String {
    let number = used.withLock { number in
      number += 1
      return number
    }
    return "198.18.\(number / 250).\(number % 250 + 1)"
  }

  /// The header that says to come from there.
  func bytes(from address: String) -> [UInt8] {
    if version == 1 { return Array("PROXY TCP4 \(address) 127.0.0.1 6666 25\r\n".utf8) }
    let quad = address.split(separator: ".").compactMap { UInt8($0) }
    return [13, 10, 13, 10, 0, 13, 10, 0x51, 0x55, 0x49, 0x54, 10, 0x21, 0x11, 0, 12] + quad
      + [127, 0, 0, 1, 0x1a, 0x0a, 0, 25]
  }

  var isPostfix: Bool {
    switch service {
    case .smtp, .postscreen, .submission, .submissions, .edge: true
    case .imap, .imaps, .pop3, .pop3s, .sieve: false
    }
  }

  func log(_ peers: MailPeers) -> String { isPostfix ? peers.postfixLog : peers.dovecotLog }

  /// How the servers write a client's address.
  func namesClient(_ line: Substring, _ address: String) -> Bool {
    line.contains(isPostfix ? "[\(address)]" : "rip=\(address),")
  }
}

/// Sends the header and some words of the service's protocol, and takes what comes until the end.
private func forge(
  _ forged: ForgedHeader, as address: String, from source: String, _ sluice: SluiceProcess
) throws -> Endpoint {
  let client = try sluice.connect(from: source)
  try client.write(forged.bytes(from: address) + Array("QUIT\r\n".utf8))
  // Servers close once they have heard enough nonsense, or when we leave.
  _ = try client.receive(withinMs: 1500)
  client.finish()
  _ = try client.readToEnd()
  let local = client.local
  client.close()
  return local
}

private func withForger(
  _ forged: ForgedHeader, listener: String = "", more: String = "",
  _ body: (MailPeers, SluiceProcess) throws -> Void
) throws {
  let peers = try MailPeers.shared()
  var setup = Setup(
    Engine(events: "auto", splice: "auto"), servers: [peers.address(of: forged.service)])
  setup.listener = "type: server-first" + listener
  setup.backend = forged.backend + more
  if forged.trustsAnother { setup.extra = "trusted-networks: [127.0.0.2]" }
  try withSluice(setup) { try body(peers, $0) }
}

@Test("a forged header never reaches a mail server's log", arguments: ForgedHeader.all)
func forgedHeader(forged: ForgedHeader) throws {
  try withForger(forged) { peers, sluice in
    let address = ForgedHeader.nextAddress()
    let local = try forge(forged, as: address, from: "127.0.0.3", sluice)
    let record = try sluice.record()
    #expect(record.client == local.description)
    let log = forged.log(peers)
    if forged.backend.hasSuffix("none") {
      #expect(record.reason == "proxy.untrusted")
      // The server heard nothing; what it says of that comes a little later.
      pause(ms: 200)
    } else {
      #expect(record.reason == nil)
      // It was served as who it is.
      try peers.expectLine(
        in: log,
        with: forged.isPostfix
          ? ["[127.0.0.3]:\(local.port)"] : [" rip=127.0.0.3, rport=\(local.port),"])
    }
    let lines = contents(of: log).split(separator: "\n")
    #expect(!lines.contains { forged.namesClient($0, address) })
  }
}

// The same bytes do get into the logs where they may: from a trusted source, and where the operator
// has them passed on. So the test above would see a forgery that got through.
@Test(
  "the same header from a trusted source is believed",
  arguments: ForgedHeader.all.filter { $0.trustsAnother && !$0.backend.hasSuffix("none") })
func trustedHeaderIsBelieved(header: ForgedHeader) throws {
  try withForger(header) { peers, sluice in
    let address = ForgedHeader.nextAddress()
    _ = try forge(header, as: address, from: "127.0.0.2", sluice)
    #expect(try sluice.record().client == "\(address):6666")
    try peers.expectLine(
      in: header.log(peers),
      with: header.isPostfix ? ["[\(address)]:6666"] : [" rip=\(address), rport=6666,"])
  }
}

@Test(
  "pass-client-proxy-header lets a client's own header through",
  arguments: ForgedHeader.all.filter { $0.backend.hasSuffix("none") && !$0.trustsAnother })
func passedHeaderIsBelieved(header: ForgedHeader) throws {
  try withForger(header, more: ", pass-client-proxy-header: true") { peers, sluice in
    let address = ForgedHeader.nextAddress()
    let local = try forge(header, as: address, from: "127.0.0.3", sluice)
    #expect(try sluice.record().client == local.description)
    try peers.expectLine(
      in: header.log(peers),
      with: header.isPostfix ? ["[\(address)]:6666"] : [" rip=\(address), rport=6666,"])
  }
}
