/// Counters of one kind of thing: a row of columns for each series number, in one flat array. A
/// count is one addition; nothing is allocated but when a table brings more series.
package struct CounterRows: Sendable {
  package let width: Int
  private var cells: [UInt64] = []

  package init(width: Int) { self.width = width }

  package var count: Int { cells.count / width }

  /// Zero for a series that there is no row of.
  package subscript(series: Int, column: Int) -> UInt64 {
    let place = series * width + column
    return cells.indices.contains(place) ? cells[place] : 0
  }

  mutating func add(_ series: Int, _ column: Int, _ amount: UInt64 = 1) {
    cells[series * width + column] &+= amount
  }

  /// Adds the rows for the series of a new table, and begins the fresh ones anew.
  mutating func prepare(for series: [Int], fresh: [Int]) {
    let wanted = ((series.max() ?? -1) + 1) * width
    if wanted > cells.count {
      cells.append(contentsOf: repeatElement(0, count: wanted - cells.count))
    }
    // One of a table that was never taken may have no row yet, and its row begins at zero anyway.
    for number in fresh where (number + 1) * width <= cells.count {
      for place in number * width..<(number + 1) * width { cells[place] = 0 }
    }
  }
}

/// The buckets of a histogram in a row: one column for each bound, one for what is above all of
/// them, and the sum of the values.
package struct HistogramColumns: Sendable {
  package let start: Int
  /// Upper bounds in microseconds, inclusive.
  package let boundsUs: [UInt64]

  package init(start: Int, boundsUs: [UInt64]) {
    self.start = start
    self.boundsUs = boundsUs
  }

  package var sum: Int { start + boundsUs.count + 1 }
  /// The first column behind it.
  package var end: Int { sum + 1 }

  func note(_ us: UInt64, in rows: inout CounterRows, _ series: Int) {
    var bucket = 0
    while bucket < boundsUs.count, boundsUs[bucket] < us { bucket += 1 }
    rows.add(series, start + bucket)
    rows.add(series, sum, us)
  }

  /// From 500 µs, a server in the same rack, to 10 s, longer than anybody waits for a dial.
  static let latencyUs: [UInt64] = [
    500, 1000, 2500, 5000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000,
  ]
  /// From 10 ms, a refused dialogue, to a day: IMAP clients stay as long as they can.
  static let lifetimeUs: [UInt64] = [
    10_000, 50_000, 100_000, 500_000, 1_000_000, 5_000_000, 15_000_000, 60_000_000, 300_000_000,
    900_000_000, 1_800_000_000, 3_600_000_000, 14_400_000_000, 86_400_000_000,
  ]
}
