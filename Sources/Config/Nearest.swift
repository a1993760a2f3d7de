/// "Did you mean": the nearest of some names, when one is near.
enum Nearest {
  /// Longer texts are no mistyped key; the cap bounds the table of `distance`.
  private static let lengthMax = 64

  /// More names than this were made by a program, which does not mistype them; and the search for
  /// each of `Diagnostics.keptMax` messages must not be felt.
  private static let candidatesMax = 512
  /// Two texts with more slips between them are two words.
  private static let slipsMax = 3

  /// The one of `names` that `text` most likely stands for, or nil when none is close: at most one
  /// slip for each three characters, and three in all, or the beginning of the name. Letter case
  /// and `_` for `-` are no slips. Only the first 512 names are looked at.
  static func name(to text: String, among names: some Sequence<String>) -> String? {
    let wanted = folded(text)
    guard !wanted.isEmpty, wanted.count <= lengthMax else { return nil }
    var allowed = min(max(1, wanted.count / 3), slipsMax)
    var best: String?
    for name in names.prefix(candidatesMax) {
      let candidate = folded(name)
      if wanted.count >= 3, candidate.starts(with: wanted), best == nil { best = name }
      guard candidate.count <= lengthMax,
        let distance = distance(wanted, candidate, atMost: allowed)
      else { continue }
      if distance == 0 { return name }
      // One slip makes any two characters any others that share one: not a hint.
      guard distance < max(wanted.count, candidate.count) - 1 else { continue }
      // From here on only a nearer one counts.
      (best, allowed) = (name, distance - 1)
    }
    return best
  }

  /// `, did you mean "name"?`, or nothing.
  static func hint(for text: String, among names: some Sequence<String>) -> String {
    name(to: text, among: names).map { ", did you mean \"\($0)\"?" } ?? ""
  }

  /// The Damerau-Levenshtein distance in its optimal string alignment form: insertions, deletions,
  /// substitutions and swaps of neighbours, each counting 1. Nil when it is above `limit`.
  ///
  /// Only the diagonal band of the table that `limit` slips can reach is computed.
  static func distance(_ left: [UInt8], _ right: [UInt8], atMost limit: Int) -> Int? {
    guard abs(left.count - right.count) <= limit else { return nil }
    let outside = limit + 1
    var beforeLast = [Int](repeating: outside, count: right.count + 1)
    var last = (0...right.count).map { min($0, outside) }
    var current = beforeLast
    for i in left.indices {
      let (low, high) = (max(0, i - limit), min(right.count, i + limit + 1))
      current[low] = low == 0 ? min(i + 1, outside) : outside
      var best = current[low]
      for j in low..<high {
        let substitution = last[j] + (left[i] == right[j] ? 0 : 1)
        var cost = min(substitution, last[j + 1] + 1, current[j] + 1, outside)
        if i > 0, j > 0, left[i] == right[j - 1], left[i - 1] == right[j] {
          cost = min(cost, beforeLast[j - 1] + 1)
        }
        current[j + 1] = cost
        best = min(best, cost)
      }
      guard best <= limit else { return nil }
      (beforeLast, last, current) = (last, current, beforeLast)
    }
    return last[right.count] <= limit ? last[right.count] : nil
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
