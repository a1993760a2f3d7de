/// Any bytes as a version 2 header, by themselves and behind the signature, with a right CRC32C
/// where there is room for one, since no mutation would find it.
func fuzzProxyV2(_ bytes: Span<UInt8>) {
  demandSound(ProxyV2.decode(bytes), of: bytes, limit: ProxyV2.defaultReceiveLimit)
  var header: [UInt8] = [0x0d, 0x0a, 0x0d, 0x0a, 0, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a]
  for index in bytes.indices { header.append(bytes[index]) }
  let result = ProxyV2.decode(header.span)
  demandSound(result, of: header.span, limit: ProxyV2.defaultReceiveLimit)
  guard case .invalid(let reason) = result, reason.code == .proxyCRCMismatch else { return }

  let field = reason.offset..<(reason.offset + 4)
  let length = 16 + Int(header[14]) << 8 + Int(header[15])
  let value = CRC32C.checksum(header.span.extracting(0..<length), field: field)
  for index in 0..<4 { header[field.lowerBound + index] = UInt8(value >> (24 - 8 * index) & 255) }
  guard case .done(_, length) = ProxyV2.decode(header.span) else {
    fatalError("refused with a right checksum")
  }
}
