@testable import Wire

/// Hexadecimal with spaces, as the specification writes bytes.
func hex(_ text: String) -> [UInt8] {
  let digits = text.filter { !$0.isWhitespace }
  var bytes: [UInt8] = []
  var at = digits.startIndex
  while at < digits.endIndex {
    let next = digits.index(at, offsetBy: 2)
    bytes.append(UInt8(digits[at..<next], radix: 16)!)
    at = next
  }
  return bytes
}

let signatureV2 = hex("0D 0A 0D 0A 00 0D 0A 51 55 49 54 0A")

/// A version 2 header around a block, with the length that belongs to it unless told otherwise.
func headerV2(_ command: UInt8, _ family: UInt8, _ block: [UInt8], length: Int? = nil) -> [UInt8] {
  let length = length ?? block.count
  return signatureV2 + [command, family, UInt8(length >> 8), UInt8(length & 255)] + block
}

let blockIPv4 = hex("C0A80001 C0A8000B DC04 01BB")
let blockIPv6 = hex("20010DB8000000000000000000000001 20010DB8000000000000000000000002 DC04 01BB")
let blockUnix =
  Array("/run/from".utf8) + Array(repeating: 0, count: 99)
  + Array("/run/to".utf8) + Array(repeating: 0, count: 101)

func tlv(_ type: UInt8, _ value: [UInt8]) -> [UInt8] {
  [type, UInt8(value.count >> 8), UInt8(value.count & 255)] + value
}

/// The CRC-32C bit by bit, straight from its definition, to hold against the table's.
func plainCRC32C(_ bytes: [UInt8]) -> UInt32 {
  var crc: UInt32 = .max
  for byte in bytes {
    crc ^= UInt32(byte)
    for _ in 0..<8 { crc = crc & 1 == 1 ? crc >> 1 ^ 0x82f6_3b78 : crc >> 1 }
  }
  return ~crc
}

/// A header that ends in a right CRC32C TLV.
func checksummedV2(_ command: UInt8, _ family: UInt8, _ block: [UInt8]) -> [UInt8] {
  var header = headerV2(command, family, block + tlv(3, [0, 0, 0, 0]))
  let crc = plainCRC32C(header)
  for index in 0..<4 {
    header[header.count - 4 + index] = UInt8(truncatingIfNeeded: crc >> UInt32(24 - 8 * index))
  }
  return header
}

func decode(_ bytes: [UInt8], ended: Bool = false) -> Parse<ProxyHeader> {
  ProxyHeader.decode(bytes.span, ended: ended)
}

func decode(_ text: String) -> Parse<ProxyHeader> { decode(Array(text.utf8)) }

extension Parse {
  var value: Value? {
    if case .done(let value, _) = self { return value }
    return nil
  }

  var consumed: Int? {
    if case .done(_, let consumed) = self { return consumed }
    return nil
  }

  var reason: Reason? {
    if case .invalid(let reason) = self { return reason }
    return nil
  }

  var missing: Int? {
    if case .needMore(let atLeast) = self { return atLeast }
    return nil
  }
}

func encodeV1(_ source: String, _ destination: String) throws -> String {
  let (from, to) = (SocketAddress(source)!, SocketAddress(destination)!)
  let bytes = try [UInt8](capacity: ProxyV1.maximumLength) { output throws in
    let count = try ProxyV1.encode(source: from, destination: to, into: &output)
    precondition(count == output.count)
  }
  return String(decoding: bytes, as: UTF8.self)
}

func encodeV2(
  _ source: SocketAddress, _ destination: SocketAddress,
  command: ProxyHeader.Command = .proxy, transport: ProxyHeader.Transport = .stream,
  tlvs: [UInt8] = [], checksum: Bool = false, alignment: Int = 1,
  limit: Int = ProxyV2.defaultSendLimit, room: Int = ProxyV2.maximumLength
) throws -> [UInt8] {
  try [UInt8](capacity: room) { output throws in
    let count = try ProxyV2.encode(
      command: command, transport: transport, source: source, destination: destination,
      tlvs: tlvs.span, checksum: checksum, alignment: alignment, limit: limit, into: &output)
    precondition(count == output.count)
  }
}

func encodeV2(_ source: String, _ destination: String) throws -> [UInt8] {
  try encodeV2(SocketAddress(source)!, SocketAddress(destination)!)
}

// The expectation macros cannot pass a span on, so the tests ask with arrays.

extension ProxyTLVWalk {
  mutating func next(in bytes: [UInt8]) throws(Reason) -> ProxyTLV? { try next(in: bytes.span) }
}

extension ProxySSL {
  init?(_ tlv: ProxyTLV, in bytes: [UInt8]) { self.init(tlv, in: bytes.span) }
}

extension ProxyTLV {
  static func first(_ kind: Kind, of area: Range<Int>, in bytes: [UInt8]) -> ProxyTLV? {
    first(kind, of: area, in: bytes.span)
  }

  func awsEndpointID(in bytes: [UInt8]) -> Range<Int>? { awsEndpointID(in: bytes.span) }
  func azureLinkID(in bytes: [UInt8]) -> UInt32? { azureLinkID(in: bytes.span) }
  func gcpConnectionID(in bytes: [UInt8]) -> UInt64? { gcpConnectionID(in: bytes.span) }
}
