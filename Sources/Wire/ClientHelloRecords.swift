/// Bytes of a handshake message, which may go on over several records (RFC 8446 section 5.1:
/// "Handshake messages MAY be coalesced into a single TLSPlaintext record or fragmented across
/// several records"). It is offsets into the bytes that were read; each function here must be given
/// those again, or more of the same stream.
package struct RecordBytes: Hashable, Sendable {
  /// How many bytes, without the record headers between them.
  package let count: Int
  /// The offset of the first byte.
  let start: Int
  /// Where the record that holds the first byte ends.
  let recordEnd: Int

  static let none = RecordBytes(count: 0, start: 0, recordEnd: 0)

  /// Where the bytes are if they lie side by side, as nearly all do; nil if a record ends within.
  package var range: Range<Int>? {
    count <= recordEnd - start ? start..<(start + count) : nil
  }

  /// Copies the bytes out, without the record headers. False, and nothing is written, where the
  /// room is less than `count`.
  package func append(to output: inout OutputSpan<UInt8>, from bytes: Span<UInt8>) -> Bool {
    guard output.freeCapacity >= count else { return false }
    if let range {
      for index in range { output.append(bytes[index]) }
    } else {
      var reader = HandshakeReader(self)
      while let byte = reader.byte(in: bytes) { output.append(byte) }
    }
    return true
  }

  /// The first bytes, `most` at most, without the record headers.
  package func forEach(in bytes: Span<UInt8>, most: Int, _ body: (UInt8) -> Void) {
    var reader = HandshakeReader(self)
    for _ in 0..<most {
      guard let byte = reader.byte(in: bytes) else { return }
      body(byte)
    }
  }

  /// Whether the bytes are those of `other`, such as a protocol's name.
  package func equals(_ other: Span<UInt8>, in bytes: Span<UInt8>) -> Bool {
    guard count == other.count else { return false }
    var reader = HandshakeReader(self)
    for index in other.indices where reader.byte(in: bytes) != other[index] { return false }
    return true
  }
}

/// Reads handshake bytes from the front of a run, hopping over the record headers within it.
struct HandshakeReader {
  /// How many bytes are left.
  private(set) var rest: Int
  private var offset: Int
  private var recordEnd: Int

  init(_ run: RecordBytes) {
    rest = run.count
    offset = run.start
    recordEnd = run.recordEnd
  }

  /// The offset of the next byte; at the end, the offset behind the last one.
  mutating func position(in bytes: Span<UInt8>) -> Int {
    if rest > 0 { hop(in: bytes) }
    return offset
  }

  mutating func byte(in bytes: Span<UInt8>) -> UInt8? {
    guard rest > 0 else { return nil }
    hop(in: bytes)
    let byte = bytes[offset]
    offset += 1
    rest -= 1
    return byte
  }

  mutating func word(in bytes: Span<UInt8>) -> UInt16? {
    guard rest >= 2, let high = byte(in: bytes), let low = byte(in: bytes) else { return nil }
    return UInt16(high) << 8 | UInt16(low)
  }

  mutating func take(_ count: Int, in bytes: Span<UInt8>) -> RecordBytes? {
    guard count <= rest else { return nil }
    let start = position(in: bytes)
    let run = RecordBytes(count: count, start: start, recordEnd: recordEnd)
    var left = count
    while left > 0 {
      hop(in: bytes)
      let step = min(left, recordEnd - offset)
      offset += step
      left -= step
    }
    rest -= count
    return run
  }

  /// At the end of a record, goes to the first byte of the next that has one.
  private mutating func hop(in bytes: Span<UInt8>) {
    while offset == recordEnd {
      offset += TLSRecord.headerLength
      recordEnd = offset + TLSRecord.length(at: offset - TLSRecord.headerLength, in: bytes)
    }
  }
}

/// The outermost layer, before anything is encrypted (RFC 8446 section 5.1): one byte of type, two
/// of version, two of length, the fragment.
enum TLSRecord {
  static let headerLength = 5
  static let handshake: UInt8 = 22
  /// "The length MUST NOT exceed 2^14 bytes."
  static let fragmentLimit = 1 << 14

  static func length(at offset: Int, in bytes: Span<UInt8>) -> Int {
    Int(bytes[offset + 3]) << 8 | Int(bytes[offset + 4])
  }
}

/// Finds the end of the first handshake message, from record to record. Everything is judged in
/// the order it comes in, so that a verdict never depends on what follows.
struct HandshakeFrame {
  private let limit: Int
  /// The offset of the record that is next.
  private var at = 0
  /// The handshake bytes in the records before it.
  private var held = 0
  /// The length of the message, its header included, once that header is whole.
  private var total: Int?
  private var records = 0
  private var emptyRecords = 0

  private static let clientHello: UInt8 = 1

  private init(limit: Int) { self.limit = limit }

  /// The whole message, header included.
  static func find(
    in bytes: Span<UInt8>, limit: Int
  ) throws(Reason) -> Parse<RecordBytes> {
    var frame = HandshakeFrame(limit: limit)
    // The length is known within four bytes of handshake, which need not be in one record.
    var prefix: UInt32 = 0
    while true {
      guard let length = try frame.nextRecord(in: bytes) else {
        return .needMore(atLeast: frame.shortest(from: frame.at, held: frame.held))
      }
      let start = frame.at + TLSRecord.headerLength
      let end = start + length
      for index in start..<min(start + max(ClientHello.headerLength - frame.held, 0), end) {
        guard index < bytes.count else { break }
        let isFirst = index - start + frame.held == 0
        guard !isFirst || bytes[index] == clientHello else {
          throw Reason(.tlsNotClientHello, at: index)
        }
        prefix = prefix << 8 | UInt32(bytes[index])
        guard index - start + frame.held == ClientHello.headerLength - 1 else { continue }
        let total = ClientHello.headerLength + Int(prefix & 0xff_ffff)
        guard total <= limit else { throw Reason(.tlsTooLong, at: index) }
        frame.total = total
      }
      // "Because the ClientHello [...] messages can immediately precede a key change,
      // implementations MUST send these messages in alignment with a record boundary."
      if let total = frame.total, frame.held + length > total {
        throw Reason(.tlsBadRecord, at: frame.at + 3)
      }
      guard end <= bytes.count else {
        return .needMore(atLeast: frame.shortest(from: end, held: frame.held + length))
      }
      frame.held += length
      frame.at = end
      if frame.held == frame.total {
        return .done(RecordBytes(count: frame.held, start: 0, recordEnd: 0), consumed: end)
      }
    }
  }

  /// The length of the record at `at`; nil while its header is not whole.
  private mutating func nextRecord(in bytes: Span<UInt8>) throws(Reason) -> Int? {
    guard at < bytes.count else { return nil }
    // "If a handshake message is split over two or more records, there MUST NOT be any other
    // records between them."
    guard bytes[at] == TLSRecord.handshake else { throw Reason(.tlsBadRecord, at: at) }
    guard records < ClientHello.recordLimit else { throw Reason(.tlsTooLong, at: at) }
    guard at + 1 < bytes.count else { return nil }
    // The minor version "MUST be ignored for all purposes"; the major one has never been another.
    guard bytes[at + 1] == 3 else {
      throw Reason(at == 0 ? .tlsNotTLS : .tlsBadRecord, at: at + 1)
    }
    guard at + TLSRecord.headerLength <= bytes.count else { return nil }
    let length = TLSRecord.length(at: at, in: bytes)
    guard length <= TLSRecord.fragmentLimit else { throw Reason(.tlsBadRecord, at: at + 3) }
    records += 1
    if length == 0 { emptyRecords += 1 }
    guard emptyRecords <= ClientHello.emptyRecordLimit else {
      throw Reason(.tlsBadRecord, at: at + 3)
    }
    return length
  }

  /// What must be held before the message can be whole: what it still lacks after `held` bytes, in
  /// as few records as can hold it.
  private func shortest(from end: Int, held: Int) -> Int {
    let missing = max((total ?? ClientHello.shortest) - held, 0)
    let records = (missing + TLSRecord.fragmentLimit - 1) / TLSRecord.fragmentLimit
    return end + missing + records * TLSRecord.headerLength
  }
}
