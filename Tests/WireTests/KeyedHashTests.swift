import Testing
import Wire

@Suite struct KeyedHashTests {
  /// The first vectors of the authors' reference (vectors.h, vectors_sip128): the key is 00 to 0f,
  /// the input of n bytes is 00 to n-1.
  @Test(
    arguments: [
      (0, 0xe6a8_25ba_047f_81a3, 0x9302_55c7_1472_f66d),
      (1, 0x44af_996b_d8c1_87da, 0x45fc_229b_1159_7634),
    ] as [(Int, UInt64, UInt64)])
  func reference(count: Int, low: UInt64, high: UInt64) {
    let hash = KeyedHash(key: (0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908))
    let bytes = (0..<count).map { UInt8($0) }
    let value = hash.hash(bytes.span)
    #expect(value.low == low)
    #expect(value.high == high)
  }

  @Test func everyByteAndTheLengthCount() {
    let hash = KeyedHash(key: (1, 2))
    var seen: Set<KeyedHash.Value> = []
    for count in 0...40 {
      var bytes = [UInt8](repeating: 0, count: count)
      #expect(seen.insert(hash.hash(bytes.span)).inserted)
      for index in 0..<count {
        bytes[index] = 1
        #expect(seen.insert(hash.hash(bytes.span)).inserted, "\(count) \(index)")
        bytes[index] = 0
      }
    }
    let nothing: [UInt8] = []
    #expect(KeyedHash(key: (1, 3)).hash(nothing.span) != hash.hash(nothing.span))
  }
}
