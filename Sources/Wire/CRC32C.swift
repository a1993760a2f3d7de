/// CRC-32C (Castagnoli): RFC 4960 appendix B, reflected polynomial 0x82F63B78, initial value and
/// final XOR all ones. The check value of `123456789` is 0xE3069283.
package struct CRC32C {
  private var state: UInt32 = .max

  package init() {}

  package var value: UInt32 { ~state }

  package mutating func update(_ bytes: Span<UInt8>) {
    let table = CRC32C.table.span
    for index in bytes.indices {
      state = state >> 8 ^ table[Int(UInt8(truncatingIfNeeded: state) ^ bytes[index])]
    }
  }

  package mutating func update(zeroes count: Int) {
    let table = CRC32C.table.span
    for _ in 0..<count { state = state >> 8 ^ table[Int(UInt8(truncatingIfNeeded: state))] }
  }

  /// The checksum of a whole header whose own four checksum bytes, at `field`, count as zeroes.
  package static func checksum(_ header: Span<UInt8>, field: Range<Int>) -> UInt32 {
    var crc = CRC32C()
    crc.update(header.extracting(0..<field.lowerBound))
    crc.update(zeroes: field.count)
    crc.update(header.extracting(field.upperBound..<header.count))
    return crc.value
  }

  /// What each value of the low byte contributes after eight steps.
  private static let table: [UInt32] = (0..<256).map { byte in
    (0..<8).reduce(UInt32(byte)) { word, _ in word >> 1 ^ (word & 1 == 0 ? 0 : 0x82f6_3b78) }
  }
}
