internal import Routing

/// The route tables that live connections still refer to: the newest, and as many older ones as
/// there are connections that outlived them.
///
/// A connection keeps the number of its table's place. Places are used again once nobody refers to
/// them, so finding a table is one look however many are live, and numbers never run out before
/// `limit` tables are live at once.
struct Generations {
  private struct Generation {
    var table: RouteTable
    var live = 0
    /// Listening sockets that were given up and may still bring connections under this table.
    var sockets = 0

    init(_ table: RouteTable) {
      self.table = table
    }
  }

  /// Tables live at once: as many as a connection's memory can tell apart.
  static let limit = Int(UInt16.max) + 1

  private var places: [Generation?]
  private var free: [UInt16] = []
  private var newest: UInt16 = 0

  init(_ table: RouteTable) { places = [Generation(table)] }

  var live: Int { places.count - free.count }

  /// A connection comes in under the newest table.
  mutating func enter() -> UInt16 { enter(newest) }

  mutating func enter(_ number: UInt16) -> UInt16 {
    places[Int(number)]?.live += 1
    return number
  }

  mutating func leave(_ number: UInt16) {
    places[Int(number)]?.live -= 1
    tidy(number)
  }

  /// A listening socket of the newest table was given up; what waited in it comes in under that
  /// table all the same.
  mutating func hold() -> UInt16 {
    places[Int(newest)]?.sockets += 1
    return newest
  }

  mutating func letGo(_ number: UInt16) {
    places[Int(number)]?.sockets -= 1
    tidy(number)
  }

  /// - Returns: false, and nothing was done, when `limit` tables are live.
  mutating func install(_ table: RouteTable) -> Bool {
    let older = newest
    if let place = free.popLast() {
      places[Int(place)] = Generation(table)
      newest = place
    } else {
      guard places.count < Generations.limit else { return false }
      newest = UInt16(places.count)
      places.append(Generation(table))
    }
    tidy(older)
    return true
  }

  /// The oldest table that a live connection refers to, or the newest one.
  var oldestSerial: UInt64 {
    places.lazy.compactMap { $0?.table.series.serial }.min() ?? 0
  }

  func table(_ number: UInt16) -> RouteTable? {
    places.indices.contains(Int(number)) ? places[Int(number)]?.table : nil
  }

  /// The table of a live connection, lent until that connection leaves or another table comes: it
  /// is not kept, since all workers would count who keeps it in the same place, at every event.
  func lend(_ number: UInt16) -> Unmanaged<RouteTable>? {
    guard places.indices.contains(Int(number)), let table = places[Int(number)]?.table else {
      return nil
    }
    return unsafe Unmanaged.passUnretained(table)
  }

  /// An older table goes with its last connection, and nobody is looked up in its trust any more.
  private mutating func tidy(_ number: UInt16) {
    guard number != newest, let generation = places[Int(number)], generation.sockets == 0 else {
      return
    }
    if generation.live == 0 {
      places[Int(number)] = nil
      free.append(number)
    } else if let remainder = generation.table.remainder {
      places[Int(number)]?.table = remainder
    }
  }
}
