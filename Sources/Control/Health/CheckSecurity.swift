internal import Config
internal import DataPlane
internal import System

/// What a server is checked by where it is spoken to in TLS.
struct CheckTransport: Hashable, Sendable {
  let setup: TLSClientSetup
  /// What its certificate is to name.
  let name: String

  static func == (left: CheckTransport, right: CheckTransport) -> Bool {
    left.setup === right.setup && left.name == right.name
  }

  func hash(into hasher: inout Hasher) {
    hasher.combine(ObjectIdentifier(setup))
    hasher.combine(name)
  }
}

/// The TLS of one check: bytes of the server's in, what they say and what is to be answered out.
final class CheckSecurity {
  enum Heard {
    /// What the server says inside, and bytes for it.
    case said([UInt8])
    /// The handshake is done: now the check's own words may come.
    case opened
    /// The server says no more.
    case ended
    case failed(String)
    case nothing
  }

  private var stream: TLSStream
  private(set) var isOpen = false
  private var rest: ArraySlice<UInt8> = []
  private var hasEnded = false
  private static let pieceLimit = 4096

  init(_ transport: CheckTransport) throws(TLSProblem) {
    stream = try TLSStream(client: transport.setup, name: transport.name)
  }

  /// Ciphertext for the server; after everything else.
  func output() -> [UInt8] { stream.takeOutput() }

  func take(_ bytes: [UInt8], ended: Bool) {
    rest += bytes
    if ended { hasEnded = true }
  }

  /// What follows from the bytes that were taken; to be called until there is nothing.
  func next() -> Heard {
    if isOpen {
      let (step, bytes) = stream.read(upTo: CheckSecurity.pieceLimit)
      if !bytes.isEmpty { return .said(bytes) }
      if let heard = CheckSecurity.end(step) { return heard }
    }
    guard !rest.isEmpty || hasEnded else { return .nothing }
    let isLast = hasEnded
    let (step, taken) = stream.receive(Array(rest).span, ended: isLast)
    rest = rest.dropFirst(taken)
    if rest.isEmpty { hasEnded = false }
    if case .failed(let why) = step { return .failed(why) }
    if !isOpen, step != .more, !stream.facts.version.isEmpty {
      isOpen = true
      return .opened
    }
    guard isOpen else {
      // Bytes that are not taken in the middle of a handshake will never be.
      return isLast || taken == 0 ? .ended : rest.isEmpty ? .nothing : next()
    }
    let (after, bytes) = stream.read(upTo: CheckSecurity.pieceLimit)
    if !bytes.isEmpty { return .said(bytes) }
    return CheckSecurity.end(after) ?? CheckSecurity.end(step) ?? (isLast ? .ended : .nothing)
  }

  private static func end(_ step: TLSStream.Step) -> Heard? {
    switch step {
    case .more, .open: nil
    case .ended, .truncated: .ended
    case .failed(let why): .failed(why)
    }
  }

  /// Seals what the check says. What it says is short, and goes into one record.
  func say(_ bytes: [UInt8]) -> [UInt8] {
    var output: [UInt8] = []
    var unsaid = bytes[...]
    while !unsaid.isEmpty {
      let (_, taken) = stream.write(Array(unsaid).span)
      output += stream.takeOutput()
      guard taken > 0 else { break }
      unsaid = unsaid.dropFirst(taken)
    }
    return output
  }
}

extension CheckRun {
  /// What the server's bytes, or its end, come to where TLS is spoken.
  func decipher(_ security: CheckSecurity, _ bytes: [UInt8], ended: Bool) -> Outcome? {
    security.take(bytes, ended: ended)
    while true {
      let heard = security.next()
      unsent += security.output()
      switch heard {
      case .nothing: return send()
      case .opened:
        if let way, asking != nil {
          unsent += security.say(way.request)
          continue
        }
        if isHandshakeAll { return .passed }
        if let outcome = follow(dialogue?.begin(), isEnd: false) { return outcome }
      case .said(let said):
        if let outcome = take(said, ended: false) { return outcome }
      case .ended: return take([], ended: true)
      case .failed(let why):
        _ = send()
        return .failed("TLS: \(why)")
      }
    }
  }
}
