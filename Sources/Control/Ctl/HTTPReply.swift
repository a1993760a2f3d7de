/// The answer to one HTTP request, read piece by piece (RFC 9112): with a length, in chunks, or to
/// the end of the connection. Bounded, since whatever answers need not be Sluice.
struct HTTPReply {
  enum Fault: Error, Hashable {
    /// Not HTTP/1.1, or not whole when the connection ended.
    case malformed
    case tooLong
  }

  private enum State {
    case head
    case counted(left: Int)
    case chunkSize
    case chunk(left: Int)
    /// The line feed after a chunk's bytes.
    case chunkEnd
    case trailer
    case untilEnd
    case complete
  }

  static let headMax = 16 << 10
  /// 10,000 sessions are 4 MiB.
  static let bodyMax = 64 << 20

  /// 0 before the status line is there.
  private(set) var status = 0
  /// Body bytes that nobody took yet.
  private var body: [UInt8] = []
  private var state = State.head
  private var pending: [UInt8] = []
  private var headBytes = 0
  private var isChunked = false
  private var length: Int?

  var isComplete: Bool { if case .complete = state { true } else { false } }

  mutating func takeBody() -> [UInt8] {
    defer { body = [] }
    return body
  }

  mutating func feed(_ bytes: [UInt8]) throws(Fault) {
    pending += bytes
    while try step() {}
    guard body.count <= HTTPReply.bodyMax else { throw .tooLong }
  }

  /// The connection has ended.
  mutating func end() throws(Fault) {
    if case .untilEnd = state { state = .complete }
    guard isComplete else { throw .malformed }
  }

  /// Whether there may be more to do.
  private mutating func step() throws(Fault) -> Bool {
    switch state {
    case .head:
      guard let line = try line() else { return false }
      if line.isEmpty { try beginBody() } else { try field(line) }
      return true
    case .counted(let left):
      let taken = take(left)
      state = left == taken ? .complete : .counted(left: left - taken)
      return false
    case .chunkSize:
      guard let line = try line() else { return false }
      let digits = line.prefix { $0 != UInt8(ascii: ";") && $0 != UInt8(ascii: " ") }
      guard let size = Int(String(decoding: digits, as: UTF8.self), radix: 16), size >= 0 else {
        throw .malformed
      }
      guard size <= HTTPReply.bodyMax else { throw .tooLong }
      state = size == 0 ? .trailer : .chunk(left: size)
      return true
    case .chunk(let left):
      let taken = take(left)
      state = left == taken ? .chunkEnd : .chunk(left: left - taken)
      return taken == left
    case .chunkEnd:
      guard let line = try line() else { return false }
      guard line.isEmpty else { throw .malformed }
      state = .chunkSize
      return true
    case .trailer:
      guard let line = try line() else { return false }
      if line.isEmpty { state = .complete }
      return !line.isEmpty
    case .untilEnd:
      _ = take(pending.count)
      return false
    case .complete:
      return false
    }
  }

  /// A line without its end, taken from what is pending; nil when it is not whole yet.
  private mutating func line() throws(Fault) -> [UInt8]? {
    guard let end = pending.firstIndex(of: UInt8(ascii: "\n")) else {
      guard pending.count <= HTTPReply.headMax else { throw .tooLong }
      return nil
    }
    var line = Array(pending[..<end])
    if line.last == UInt8(ascii: "\r") { line.removeLast() }
    headBytes += line.count
    if case .head = state, headBytes > HTTPReply.headMax { throw .tooLong }
    pending.removeSubrange(...end)
    return line
  }

  private mutating func field(_ line: [UInt8]) throws(Fault) {
    let text = String(decoding: line, as: UTF8.self)
    if status == 0 {
      let words = text.split(separator: " ", maxSplits: 2)
      guard words.count >= 2, words[0].hasPrefix("HTTP/1."), let code = Int(words[1]),
        (100...599).contains(code)
      else { throw .malformed }
      status = code
      return
    }
    guard let colon = text.firstIndex(of: ":") else { throw .malformed }
    let value = text[text.index(after: colon)...].drop { $0 == " " || $0 == "\t" }
    switch text[..<colon].lowercased() {
    case "content-length":
      guard let number = Int(value), number >= 0 else { throw .malformed }
      guard number <= HTTPReply.bodyMax else { throw .tooLong }
      length = number
    case "transfer-encoding": isChunked = value.lowercased() == "chunked"
    default: break
    }
  }

  private mutating func beginBody() throws(Fault) {
    guard status != 0 else { throw .malformed }
    if status < 200 {
      // An answer on the way to the answer, RFC 9110 section 15.2.
      (status, isChunked, length) = (0, false, nil)
    } else if isChunked {
      state = .chunkSize
    } else if let length {
      state = .counted(left: length)
    } else {
      state = .untilEnd
    }
  }

  private mutating func take(_ limit: Int) -> Int {
    let count = min(limit, pending.count)
    body += pending.prefix(count)
    pending.removeFirst(count)
    return count
  }
}
