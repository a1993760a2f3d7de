/// Any bytes as an area of TLVs.
func fuzzTLV(_ bytes: Span<UInt8>) {
  var walk = ProxyTLVWalk(0..<bytes.count)
  var covered = 0
  var isSound = true
  do throws(Reason) {
    while let tlv = try walk.next(in: bytes) {
      demand(tlv.value.lowerBound == covered + ProxyTLV.overhead, "a gap between TLVs")
      covered = tlv.value.upperBound
      demand(covered <= bytes.count, "a value past the end")
      visit(tlv, in: bytes)
    }
    demand(covered == bytes.count, "bytes left over")
  } catch {
    isSound = false
    demand((0...bytes.count).contains(error.offset), "offset outside the area")
  }
  do throws(Reason) {
    let checksum = try ProxyTLV.check(0..<bytes.count, in: bytes)
    demand(isSound, "a broken area passes the check")
    demand(checksum == ProxyTLV.first(.crc32c, of: 0..<bytes.count, in: bytes)?.value, "elsewhere")
  } catch {
    demand((0...bytes.count).contains(error.offset), "offset outside the area")
  }
}

private func visit(_ tlv: ProxyTLV, in bytes: Span<UInt8>) {
  if let ssl = ProxySSL(tlv, in: bytes) {
    demand(ssl.tlvs.upperBound == tlv.value.upperBound, "SSL past its TLV")
    _ = ProxyTLV.first(.sslCipher, of: ssl.tlvs, in: bytes)
  }
  if let id = tlv.awsEndpointID(in: bytes) {
    demand(tlv.value.contains(id.lowerBound) && id.upperBound == tlv.value.upperBound, "AWS id")
  }
  if tlv.azureLinkID(in: bytes) != nil { demand(tlv.value.count == 5, "Azure id") }
  if tlv.gcpConnectionID(in: bytes) != nil { demand(tlv.value.count == 8, "GCP id") }
}
