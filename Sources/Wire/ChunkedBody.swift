/// A chunked body as it passes: RFC 9112 section 7.1. What is passed on are the sender's own bytes,
/// so they are held to the letter of the grammar, which leaves no receiver a choice.
package struct ChunkedBody: Equatable, Sendable {
  package enum Step: Equatable, Sendable {
    /// Nothing can be passed on before more has come.
    case more
    /// So many bytes may be passed on, those that have not come yet included; then this is asked
    /// again, about what follows them.
    case pass(UInt64)
    /// The body ends with so many bytes, all of which are there.
    case end(Int)
    case invalid(HTTPFault)
  }

  /// The longest line of a chunk's size with its extensions, in bytes, and the longest one of a
  /// trailer: as long as anything that is held meanwhile.
  package static let lineLimit = 4096
  /// All trailers together, in bytes.
  package static let trailerLimit = 16384
  /// Sixteen digits would be more than anybody can count.
  private static let digitsLimit = 15

  private enum Place: Equatable, Sendable {
    case size
    /// The line end behind a chunk's data.
    case dataEnd
    case trailer
  }

  private var place = Place.size
  private var trailed = 0

  package init() {}

  /// - Parameters:
  ///   - held: the bytes that have come and were not passed on.
  ///   - ended: no more will come.
  package mutating func take(_ held: Span<UInt8>, ended: Bool = false) -> Step {
    var position = 0
    while true {
      let step: Line
      switch place {
      case .dataEnd: step = ChunkedBody.lineEnd(held, position)
      case .size, .trailer: step = ChunkedBody.line(held, position)
      }
      let line: Range<Int>
      switch step {
      case .invalid(let fault): return .invalid(fault)
      case .unfinished where position > 0: return .pass(UInt64(position))
      case .unfinished: return ended ? .invalid(.truncated) : .more
      case .line(let found): line = found
      }
      let next = line.upperBound + 2
      do throws(HTTPFault) {
        switch place {
        case .dataEnd:
          place = .size
          position = next
        case .size:
          let size = try ChunkedBody.size(held, line)
          position = next
          if size == 0 {
            place = .trailer
            continue
          }
          place = .dataEnd
          guard size <= UInt64(held.count - position) else {
            return .pass(UInt64(position) + size)
          }
          position += Int(size)
        case .trailer:
          if line.isEmpty { return .end(next) }
          trailed += next - position
          if trailed > ChunkedBody.trailerLimit { throw .headTooLong }
          try ChunkedBody.trailer(held, position)
          position = next
        }
      } catch { return .invalid(error) }
    }
  }

  private enum Line {
    case unfinished
    /// Without its end.
    case line(Range<Int>)
    case invalid(HTTPFault)
  }

  private static func line(_ held: Span<UInt8>, _ start: Int) -> Line {
    var end = start
    while end < held.count, held[end] != 0x0d {
      if held[end] == 0 { return .invalid(.nul) }
      if held[end] == 0x0a { return .invalid(.badLineEnd) }
      guard end - start < lineLimit else { return .invalid(.badChunk) }
      end += 1
    }
    guard end + 1 < held.count else { return .unfinished }
    return held[end + 1] == 0x0a ? .line(start..<end) : .invalid(.badLineEnd)
  }

  private static func lineEnd(_ held: Span<UInt8>, _ start: Int) -> Line {
    if start < held.count, held[start] != 0x0d { return .invalid(.badChunk) }
    guard start + 1 < held.count else { return .unfinished }
    return held[start + 1] == 0x0a ? .line(start..<start) : .invalid(.badChunk)
  }

  /// The size, behind which only an extension may stand. Blanks before that, which RFC 9112 section
  /// 7.1.1 has a receiver put up with, are refused: receivers differ there.
  private static func size(_ held: Span<UInt8>, _ line: Range<Int>) throws(HTTPFault) -> UInt64 {
    var value: UInt64 = 0
    var index = line.lowerBound
    while index < line.upperBound, let digit = digit(held[index]) {
      guard index - line.lowerBound < digitsLimit else { throw .badChunk }
      value = value << 4 | UInt64(digit)
      index += 1
    }
    guard index > line.lowerBound else { throw .badChunk }
    guard index < line.upperBound else { return value }
    guard held[index] == UInt8(ascii: ";") else { throw .badChunk }
    for place in index..<line.upperBound where !HTTPText.isValue(held[place]) { throw .badChunk }
    return value
  }

  private static func digit(_ byte: UInt8) -> UInt8? {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
    case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
    case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
    default: nil
    }
  }

  private static func trailer(_ held: Span<UInt8>, _ start: Int) throws(HTTPFault) {
    let (field, _) = try HTTPFraming.field(held, start)
    for name in [
      "content-length", "transfer-encoding", "host", "connection", "proxy-authorization",
      "proxy-authenticate", "upgrade", "expect", "te", "trailer",
    ] where HTTPText.equals(name, held, field.name) {
      throw .badTrailer
    }
  }
}
