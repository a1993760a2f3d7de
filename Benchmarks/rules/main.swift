// What rules cost: one for each name, from ten to a hundred thousand of them, and the same with a
// network each. A look-up must cost the same whatever their number, and allocate nothing.

import Glibc
import Routing
import Wire

/// Different connections; a power of two, little enough for the caches nearest the core.
let variety = 256
/// Look-ups per round, and rounds: the fastest one is what counts on a machine with other work.
let operations = 1 << 17
let rounds = 9

func nowNs() -> UInt64 {
  var time = timespec()
  clock_gettime(CLOCK_MONOTONIC, &time)
  return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}

/// SplitMix64, so that every run measures the same connections.
struct Random {
  var state: UInt64 = 6

  mutating func below(_ count: Int) -> Int {
    state &+= 0x9e37_79b9_7f4a_7c15
    var word = state
    word = (word ^ word >> 30) &* 0xbf58_476d_1ce4_e5b9
    word = (word ^ word >> 27) &* 0x94d0_49bb_1331_11eb
    return Int((word ^ word >> 31) % UInt64(count))
  }
}

enum Kind: String, CaseIterable {
  case exact = "names"
  case pattern = "*.names"
  case network = "networks"

  func conditions(_ number: Int) -> RuleConditions {
    switch self {
    case .exact:
      RuleConditions(names: NamePattern("host\(number).example.com").map { [$0] } ?? [])
    case .pattern:
      RuleConditions(names: NamePattern("*.host\(number).example.com").map { [$0] } ?? [])
    case .network:
      RuleConditions(sources: [.ipv4(0x0a00_0000 + UInt32(number) << 4, prefix: 28)])
    }
  }

  func facts(_ number: Int) -> RuleFacts {
    let client = SocketAddress.ipv4(0x0a00_0003 + UInt32(number) << 4, port: 40_000)
    let label = self == .pattern ? "mail.host" : "host"
    let name = HostName("\(label)\(number).example.com").map { HelloName($0) } ?? HelloName()
    return RuleFacts(
      hello: HelloFacts(.named, name: name), client: client, local: .ipv4(0x7f00_0001, port: 993))
  }
}

/// - Returns: whether every rule was found, and nothing allocated.
func measure(_ kind: Kind, _ count: Int) -> Bool {
  var isGood = true
  // The last rule takes whoever is left, as a listener's own backend does.
  let conditions = (0..<count).map { kind.conditions($0) } + [RuleConditions()]
  let before = mallinfo2()
  let start = nowNs()
  let table = RuleTable(conditions)
  let madeNs = nowNs() - start
  let after = mallinfo2()
  let kept = Int(after.uordblks + after.hblkhd) - Int(before.uordblks + before.hblkhd)
  var random = Random()
  let numbers = (0..<variety).map { _ in random.below(count) }
  let facts = numbers.map { kind.facts($0) }
  for (number, facts) in zip(numbers, facts) where table.first(facts) != number {
    print("\(kind.rawValue) \(count): rule \(number) is not found")
    isGood = false
  }
  var fastest = UInt64.max
  var found = 0
  let allocations = heap_allocations()
  for _ in 0..<rounds {
    let start = nowNs()
    for index in 0..<operations { found &+= table.first(facts[index & (variety - 1)]) ?? 0 }
    fastest = min(fastest, nowNs() - start)
  }
  let allocated = heap_allocations() - allocations
  if allocated > 0 { isGood = false }
  let ns = Double(fastest) / Double(operations)
  print(
    "\(kind.rawValue)\t\(count)\t\(Double(madeNs / 10_000) / 100)\t\(kept / count)\t"
      + "\((ns * 10).rounded() / 10)\t\(allocated)\t\(found & 1)")
  return isGood
}

print("rules\tcount\tmade in ms\tbytes each\tns a look-up\tallocations\t")
var faults = 0
for kind in Kind.allCases {
  for count in [10, 100, 1000, 10_000, 100_000] where !measure(kind, count) { faults += 1 }
}
exit(faults == 0 ? 0 : 1)
