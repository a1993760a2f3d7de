/// Those who wait for a place, in the order in which they get one: each source in turn, and of each
/// source the one that has waited longest first. So a source with a thousand in the line delays
/// the only one of another by one place, not by a thousand.
///
/// Rounds are kept by virtual time, as a balancer keeps turns: the n-th of a source's waiting ones
/// comes in the n-th round from now (Demers and others, "Analysis and simulation of a fair queueing
/// algorithm", SIGCOMM 1989). Adding, serving and leaving take the logarithm of their number. Not
/// bounded: whoever adds looks at `count`.
package struct FairLine<Source: Hashable & Sendable, Ticket: Sendable>: Sendable {
  /// One that was called, and may be put back to where it stood.
  package struct Entry: Sendable {
    /// Never given twice.
    package let number: UInt64
    package let source: Source
    package let ticket: Ticket
    fileprivate let round: UInt64
  }

  private struct Row {
    var count = 0
    /// The round of its last one.
    var round: UInt64 = 0
  }

  private struct Place {
    let round: UInt64
    let number: UInt64

    static func < (one: Place, other: Place) -> Bool {
      (one.round, one.number) < (other.round, other.number)
    }
  }

  /// A heap by round; of those who have left, some stand in it still.
  private var heap: [Place] = []
  private var waiting: [UInt64: Entry] = [:]
  private var rows: [Source: Row] = [:]
  /// Of the one that was called last.
  private var round: UInt64 = 0
  private var numbers: UInt64 = 0

  package init() {}

  package var count: Int { waiting.count }

  /// - Returns: what it leaves by.
  package mutating func add(_ ticket: Ticket, from source: Source) -> UInt64 {
    numbers += 1
    var row = rows[source] ?? Row()
    row.count += 1
    row.round = max(row.round, round) + 1
    rows[source] = row
    put(Entry(number: numbers, source: source, ticket: ticket, round: row.round))
    return numbers
  }

  /// Takes the one whose turn it is out of the line.
  package mutating func next() -> Entry? {
    while let place = pop() {
      guard let entry = waiting.removeValue(forKey: place.number) else { continue }
      round = max(round, place.round)
      forget(entry.source)
      return entry
    }
    return nil
  }

  /// One that was called could not be served: its turn is still the next.
  package mutating func putBack(_ entry: Entry) {
    var row = rows[entry.source] ?? Row()
    row.count += 1
    row.round = max(row.round, entry.round)
    rows[entry.source] = row
    put(entry)
  }

  /// It does not wait any more. Nothing happens to a number that is not in the line.
  package mutating func leave(_ number: UInt64) {
    guard let entry = waiting.removeValue(forKey: number) else { return }
    forget(entry.source)
    guard heap.count > 2 * waiting.count + FairLine.leftMin else { return }
    // A sorted list is a heap.
    heap = heap.filter { waiting[$0.number] != nil }.sorted { $0 < $1 }
  }

  /// As many who have left may stand in the heap anyway.
  private static var leftMin: Int { 64 }

  private mutating func forget(_ source: Source) {
    rows[source]?.count -= 1
    if rows[source]?.count == 0 { rows[source] = nil }
  }

  // ---- the heap ----------------------------------------------------------------------------

  private mutating func put(_ entry: Entry) {
    waiting[entry.number] = entry
    heap.append(Place(round: entry.round, number: entry.number))
    var index = heap.count - 1
    while index > 0, heap[index] < heap[(index - 1) / 2] {
      heap.swapAt(index, (index - 1) / 2)
      index = (index - 1) / 2
    }
  }

  private mutating func pop() -> Place? {
    guard let first = heap.first, let last = heap.popLast() else { return nil }
    guard !heap.isEmpty else { return first }
    heap[0] = last
    var index = 0
    while true {
      var least = index
      for child in [2 * index + 1, 2 * index + 2]
      where child < heap.count && heap[child] < heap[least] { least = child }
      guard least != index else { return first }
      heap.swapAt(index, least)
      index = least
    }
  }
}
