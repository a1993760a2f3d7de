internal import Wire

/// Finds, for a host name, the rules with a pattern that matches it, in the order of their numbers.
///
/// What a look-up costs depends on the name alone, and not on how many patterns there are: its
/// bytes are hashed once, from the end, so that the hash of everything behind a dot falls off on
/// the way; and only behind dots with a depth that some pattern has is anything looked for. All of
/// it lies in four flat arrays, about 50 bytes for each name of 25.
package struct NameTable: Sendable {
  /// A pattern that somebody has, and where its numbers are.
  private struct Entry {
    let text: UInt32
    let length: UInt8
    let kind: NamePattern.Kind
    let numbers: UInt32
    let count: UInt32
  }

  private let entries: [Entry]
  /// The domains of the entries, one behind the other.
  private let text: [UInt8]
  /// Those of the first entry ascending, then those of the second, and so on.
  private let numbers: [UInt32]
  /// Open addressing: 1 and the entry, or 0. The count is a power of two, half of it free at
  /// least, so that a search ends.
  private let slots: [UInt32]
  /// By kind: the numbers of labels that its domains have, as bits; bit 63 is for more.
  private let depths: [UInt64]

  /// - Parameter rules: each pattern with the number of the rule that has it; a pattern may be in
  ///   several.
  package init(_ rules: [(pattern: NamePattern, number: UInt32)]) {
    // By pattern, and the rules of one in their order.
    let sorted = rules.sorted {
      ($0.pattern.domain.text, $0.pattern.kind.rawValue, $0.number)
        < ($1.pattern.domain.text, $1.pattern.kind.rawValue, $1.number)
    }
    var entries: [Entry] = []
    var text: [UInt8] = []
    var depths = NamePattern.Kind.allCases.map { _ in UInt64(0) }
    for (index, rule) in sorted.enumerated() {
      let pattern = rule.pattern
      if index > 0, sorted[index - 1].pattern == pattern {
        let last = entries[entries.count - 1]
        entries[entries.count - 1] = Entry(
          text: last.text, length: last.length, kind: last.kind, numbers: last.numbers,
          count: last.count + 1)
        continue
      }
      let bytes = pattern.domain.text.utf8
      let isSame = index > 0 && sorted[index - 1].pattern.domain == pattern.domain
      entries.append(
        Entry(
          text: isSame ? entries[entries.count - 1].text : UInt32(text.count),
          length: UInt8(bytes.count), kind: pattern.kind, numbers: UInt32(index), count: 1))
      if !isSame { text += bytes }
      depths[Int(pattern.kind.rawValue)] |= NameTable.depthBit(
        bytes.count { $0 == UInt8(ascii: ".") } + 1)
    }
    self.entries = entries
    self.text = text
    self.depths = depths
    numbers = sorted.map(\.number)
    slots = NameTable.slots(for: entries, text)
  }

  /// The least number, of at least `floor`, of the rules with a pattern that matches `name`; the
  /// next is found with that number and 1 as the floor. Allocates nothing.
  ///
  /// - Parameter name: a host name in the form that `HostName` has it: lower case, without a dot
  ///   at the end.
  package func first(for name: Span<UInt8>, from floor: UInt32 = 0) -> UInt32? {
    guard !entries.isEmpty else { return nil }
    var firstDot = 0
    while firstDot < name.count, name[firstDot] != UInt8(ascii: ".") { firstDot += 1 }
    var best: UInt32?
    var hash = NameTable.start
    var depth = 1
    var index = name.count
    while index > 0 {
      index -= 1
      let byte = name[index]
      if byte == UInt8(ascii: ".") {
        let domain = name.extracting((index + 1)..<name.count)
        note(least(.beneath, domain, hash, depth, floor), &best)
        if index == firstDot { note(least(.oneLabel, domain, hash, depth, floor), &best) }
        depth += 1
      }
      hash = NameTable.mixed(hash, byte)
    }
    note(least(.exact, name, hash, depth, floor), &best)
    return best
  }

  private func note(_ found: UInt32?, _ best: inout UInt32?) {
    guard let found else { return }
    best = min(found, best ?? found)
  }

  /// The least number, of at least `floor`, of those that have this very pattern.
  private func least(
    _ kind: NamePattern.Kind, _ domain: Span<UInt8>, _ hash: UInt64, _ depth: Int, _ floor: UInt32
  ) -> UInt32? {
    guard depths[Int(kind.rawValue)] & NameTable.depthBit(depth) != 0 else { return nil }
    var slot = NameTable.slot(hash, kind, slots.count)
    while slots[slot] != 0 {
      let entry = entries[Int(slots[slot]) - 1]
      if entry.kind == kind, isEqual(entry, domain) {
        return numbers.least(floor, in: entry.numbers, entry.count)
      }
      slot = (slot + 1) & (slots.count - 1)
    }
    return nil
  }

  private func isEqual(_ entry: Entry, _ domain: Span<UInt8>) -> Bool {
    guard Int(entry.length) == domain.count else { return false }
    for index in 0..<domain.count where text[Int(entry.text) + index] != domain[index] {
      return false
    }
    return true
  }

  // ---- hashing -----------------------------------------------------------------------------

  // FNV-1a with 64 bits. The names in the table are the operator's, so nobody else can make
  // them collide; what clients ask for only decides where a search begins.
  private static let start: UInt64 = 0xcbf2_9ce4_8422_2325

  private static func mixed(_ hash: UInt64, _ byte: UInt8) -> UInt64 {
    (hash ^ UInt64(byte)) &* 0x100_0000_01b3
  }

  private static func slot(_ hash: UInt64, _ kind: NamePattern.Kind, _ count: Int) -> Int {
    // The low bits of FNV know little of the bytes that came last.
    let all = mixed(hash, kind.rawValue)
    return Int(truncatingIfNeeded: (all ^ all >> 32)) & (count - 1)
  }

  private static func slots(for entries: [Entry], _ text: [UInt8]) -> [UInt32] {
    var count = 2
    while count < 2 * entries.count { count *= 2 }
    var slots = [UInt32](repeating: 0, count: count)
    for (index, entry) in entries.enumerated() {
      var hash = start
      for place in (Int(entry.text)..<(Int(entry.text) + Int(entry.length))).reversed() {
        hash = mixed(hash, text[place])
      }
      var slot = slot(hash, entry.kind, count)
      while slots[slot] != 0 { slot = (slot + 1) & (count - 1) }
      slots[slot] = UInt32(index + 1)
    }
    return slots
  }

  private static func depthBit(_ labels: Int) -> UInt64 { 1 << UInt64(min(labels, 63)) }
}
