/// Which server a source goes to: a table of prime size that every server has its weight's share
/// of, and that is the same wherever it is made of the same names and weights. Eisenbud and others,
/// "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016, section 3.4; a server
/// of more weight has more turns.
///
/// A server that is down keeps its entries, and only its sources go elsewhere. One that is taken
/// out of the table moves a few others too: counted, 1.007 times its own sources with 10 servers,
/// 1.04 with 30, 1.17 with 100, 5 with 1,000. A table is 1 MiB.
package struct Maglev: Sendable, Equatable {
  package struct Member: Sendable, Equatable {
    /// What a server is called, as a hash.
    package let hash: UInt64
    /// 0 gets no entry.
    package let weight: Int

    package init(hash: UInt64, weight: Int) {
      self.hash = hash
      self.weight = weight
    }
  }

  /// What the table was made of; another table of the same is this one.
  package let members: [Member]
  private let entries: [UInt16]

  /// - Parameter members: 65,535 at most, one at least with a weight.
  package init(_ members: [Member]) {
    precondition(members.count <= Int(UInt16.max))
    precondition(members.contains { $0.weight > 0 })
    self.members = members
    entries = Maglev.fill(members)
  }

  /// The position of the member that this hash of a source belongs to.
  package func member(for hash: UInt64) -> Int {
    // The high half of a product is as even as a remainder, and no division.
    Int(entries[Int(hash.multipliedFullWidth(by: UInt64(entries.count)).high)])
  }

  /// A prime, and the same for any number of servers: with another size nearly all sources move.
  private static let size = 524_287

  /// Each server goes through all entries in an order of its own and takes the first free one
  /// whenever it is its turn; the heavier, the more often that is.
  private static func fill(_ members: [Member]) -> [UInt16] {
    let prime = UInt64(size)
    let none = UInt16.max
    var entries = [UInt16](repeating: none, count: size)
    var places = members.map { Int(mix($0.hash ^ 1) % prime) }
    let steps = members.map { Int(mix($0.hash ^ 2) % (prime - 1)) + 1 }
    let heaviest = members.lazy.map(\.weight).max() ?? 1
    var dues = members.map { _ in 0 }
    var free = size
    while free > 0 {
      for index in members.indices where free > 0 {
        dues[index] += members[index].weight
        guard dues[index] >= heaviest else { continue }
        dues[index] -= heaviest
        while entries[places[index]] != none {
          places[index] += steps[index]
          if places[index] >= size { places[index] -= size }
        }
        entries[places[index]] = UInt16(index)
        free -= 1
      }
    }
    return entries
  }
}

/// A hash of 64 bits whose every bit depends on all of the word's. Steele and others, "Fast
/// splittable pseudorandom number generators", OOPSLA 2014. No key: two processes must agree.
func mix(_ word: UInt64) -> UInt64 {
  var x = word &+ 0x9e37_79b9_7f4a_7c15
  x = (x ^ x >> 30) &* 0xbf58_476d_1ce4_e5b9
  x = (x ^ x >> 27) &* 0x94d0_49bb_1331_11eb
  return x ^ x >> 31
}

/// The same numbers for the same seed; not for secrets.
struct RandomNumbers: Sendable {
  private var state: UInt64

  init(seed: UInt64) { state = mix(seed) }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    return mix(state)
  }

  /// Below `bound`, which is not 0.
  mutating func next(below bound: UInt64) -> UInt64 {
    next().multipliedFullWidth(by: bound).high
  }
}
