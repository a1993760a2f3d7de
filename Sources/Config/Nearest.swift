/// "Did you mean": the nearest of some names, when one is near.
enum Nearest {
  /// Longer texts are no mistyped key; the cap bounds the table of `distance`.
  private static let lengthMax = 64

  /// The one of `names` that `text` most likely stands for, or nil when none is close: at most one
  /// slip for each three characters. Letter case and `_` for `-` are no slips.
  static func name(to text: String, among names: some Sequence<String>) -> String? {
    let wanted = folded(text)
    guard !wanted.isEmpty, wanted.count <= lengthMax else { return nil }
    let allowed = max(1, wanted.count / 3)
    var best: (name: String, distance: Int)?
    for name in names {
      let candidate = folded(name)
      let difference = abs(candidate.count - wanted.count)
      guard candidate.count <= lengthMax, difference <= allowed else { continue }
      let distance = distance(wanted, candidate)
      // One slip makes any two characters any others that share one: not a hint.
      let longer = max(wanted.count, candidate.count)
      guard distance <= allowed, distance < longer - 1 || distance == 0 else { continue }
      if distance < best?.distance ?? Int.max { best = (name, distance) }
    }
    return best?.name
  }

  /// `, did you mean "name"?`, or nothing.
  static func hint(for text: String, among names: some Sequence<String>) -> String {
    name(to: text, among: names).map { ", did you mean \"\($0)\"?" } ?? ""
  }

  /// The Damerau-Levenshtein distance in its optimal string alignment form: insertions, deletions,
  /// substitutions and swaps of neighbours, each counting 1.
  static func distance(_ left: [UInt8], _ right: [UInt8]) -> Int {
    var beforeLast = [Int](repeating: 0, count: right.count + 1)
    var last = Array(0...right.count)
    for i in left.indices {
      var current = [i + 1]
      current.reserveCapacity(right.count + 1)
      for j in right.indices {
        let substitution = last[j] + (left[i] == right[j] ? 0 : 1)
        var cost = min(substitution, last[j + 1] + 1, current[j] + 1)
        if i > 0, j > 0, left[i] == right[j - 1], left[i - 1] == right[j] {
          cost = min(cost, beforeLast[j - 1] + 1)
        }
        current.append(cost)
      }
      beforeLast = last
      last = current
    }
    return last[right.count]
  }

  private static func folded(_ text: String) -> [UInt8] {
    text.utf8.map { byte in
      switch byte {
      case UInt8(ascii: "A")...UInt8(ascii: "Z"): byte | 0x20
      case UInt8(ascii: "_"): UInt8(ascii: "-")
      default: byte
      }
    }
  }
}
