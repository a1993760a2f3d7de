import CSluice
import System
import TestSupport

@testable import DataPlane

/// A socket that speaks TLS, by the data plane's own TLS without one. One thread may read while
/// another writes.
final class SecureSocket: @unchecked Sendable {
  enum Ending: Equatable { case ended, truncated, reset, failed(String) }

  let socket: StreamSocket
  private var stream: TLSStream
  private let streamLock = Guarded<Void>(())
  private let sendLock = Guarded<Void>(())
  private var ended: Ending?

  /// As a client: shakes hands.
  init(_ socket: StreamSocket, _ setup: TLSClientSetup, name: String = "a.example") throws {
    self.socket = socket
    stream = try TLSStream(client: setup, name: name)
    try shake()
  }

  /// As a server: shakes hands.
  init(_ socket: StreamSocket, server setup: TLSServerSetup) throws {
    self.socket = socket
    stream = try TLSStream(server: setup)
    try shake()
  }

  var facts: TLSFacts { streamLock.withLock { _ in stream.facts } }

  private func flush() throws {
    try sendLock.withLock { _ in
      let output = streamLock.withLock { _ in stream.takeOutput() }
      if !output.isEmpty { try socket.write(output) }
    }
  }

  private func shake() throws {
    try flush()
    var step = TLSStream.Step.more
    while step == .more {
      step = try take()
      try flush()
    }
    guard step == .open else { throw TestFailure("handshake: \(step)") }
  }

  /// One receive call's worth of the other side's bytes.
  private func take() throws -> TLSStream.Step {
    switch try socket.receive(atMost: 16384) {
    case .bytes(let bytes):
      let (step, taken) = streamLock.withLock { _ in stream.receive(bytes.span) }
      guard taken == bytes.count else { throw TestFailure("no room for \(bytes.count) bytes") }
      return step
    case .ended(.reset):
      ended = .reset
      return .truncated
    case .ended:
      let nothing: [UInt8] = []
      return streamLock.withLock { _ in stream.receive(nothing.span, ended: true).step }
    }
  }

  func write(_ bytes: [UInt8]) throws {
    var place = 0
    while place < bytes.count {
      let (step, taken) = streamLock.withLock { _ in
        stream.write(bytes.span.extracting(place...))
      }
      guard taken > 0 else { throw TestFailure("write: \(step)") }
      place += taken
      try flush()
    }
  }

  func write(_ text: String) throws { try write(Array(text.utf8)) }

  /// Nil at the end, which `ending` then is.
  func read(upTo most: Int = 65536) throws -> [UInt8]? {
    while ended == nil {
      let (step, bytes) = streamLock.withLock { _ in stream.read(upTo: most) }
      if !bytes.isEmpty { return bytes }
      switch step {
      case .ended: ended = .ended
      case .truncated: ended = .truncated
      case .failed(let why): ended = .failed(why)
      case .open, .more: _ = try take()
      }
    }
    return nil
  }

  func readExactly(_ count: Int) throws -> [UInt8] {
    var bytes: [UInt8] = []
    while bytes.count < count {
      guard let more = try read(upTo: count - bytes.count) else {
        throw TestFailure("\(ending as Any) after \(bytes.count) of \(count) bytes")
      }
      bytes += more
    }
    return bytes
  }

  func readToEnd() throws -> (bytes: [UInt8], ending: Ending?) {
    var bytes: [UInt8] = []
    while let more = try read() { bytes += more }
    return (bytes, ending)
  }

  var ending: Ending? { ended }

  /// close_notify, and no FIN yet.
  func end() throws {
    streamLock.withLock { _ in stream.end() }
    try flush()
  }

  /// close_notify and the FIN.
  func finish() throws {
    try end()
    socket.finish()
  }
}

/// Certificates of one run of the tests, and setups of them.
struct TLSFixture: Sendable {
  let authority: TestCertificate
  let server: TestCertificate
  let rsa: TestCertificate
  let client: TestCertificate
  let stranger: TestCertificate

  static let shared: TLSFixture = {
    do { return try TLSFixture() } catch { fatalError("certificates: \(error)") }
  }()

  private init() throws {
    let directory = try TemporaryDirectory()
    authority = try TestCertificate("authority", [], in: directory)
    server = try TestCertificate(
      "server", ["DNS:a.example", "DNS:*.b.example", "IP:127.0.0.1"], by: authority,
      in: directory)
    rsa = try TestCertificate(
      "rsa", ["DNS:a.example"], key: .rsa, by: authority, in: directory)
    client = try TestCertificate(
      "client", ["email:c@a.example", "DNS:client.example"], by: authority, in: directory)
    stranger = try TestCertificate("stranger", ["DNS:a.example"], in: directory)
  }

  static func identity(_ certificate: TestCertificate) -> TLSIdentity {
    TLSIdentity(chain: bytes(certificate.chain), key: bytes(certificate.key))
  }

  static func bytes(_ path: String) -> [UInt8] { Array(contents(of: path).utf8) }

  var authorities: [UInt8] { TLSFixture.bytes(authority.chain) }

  var serverOptions: TLSServerOptions {
    TLSServerOptions(identities: [TLSFixture.identity(server)])
  }

  var clientOptions: TLSClientOptions {
    var options = TLSClientOptions()
    options.authorities = authorities
    return options
  }

  func serverSetup(
    tickets: TicketKeys? = nil, _ change: (inout TLSServerOptions) -> Void = { _ in }
  ) throws -> TLSServerSetup {
    var options = serverOptions
    change(&options)
    return try TLSServerSetup(options, tickets: tickets)
  }

  func clientSetup(
    _ change: (inout TLSClientOptions) -> Void = { _ in }
  ) throws -> TLSClientSetup {
    var options = clientOptions
    change(&options)
    return try TLSClientSetup(options)
  }
}

extension sluice_id {
  /// No other connection's, unlike the slot.
  var key: UInt64 { UInt64(slot) << 32 | UInt64(generation) }
}
