internal import Routing

/// The route tables that live connections still refer to.
struct Generations {
  private struct Generation {
    let number: UInt16
    let table: RouteTable
    /// By server: computed once per table, not per connection.
    let identities: [Identity]
    var live = 0

    init(_ number: UInt16, _ table: RouteTable) {
      self.number = number
      self.table = table
      identities = table.servers.map { Identity(server: $0.address) }
    }
  }

  private var all: [Generation]

  init(_ table: RouteTable) { all = [Generation(0, table)] }

  /// A connection is routed by the newest table.
  mutating func enter() -> UInt16 {
    all[all.count - 1].live += 1
    return all[all.count - 1].number
  }

  mutating func leave(_ number: UInt16) {
    guard let position = all.firstIndex(where: { $0.number == number }) else { return }
    all[position].live -= 1
    if all[position].live == 0, position < all.count - 1 { all.remove(at: position) }
  }

  mutating func install(_ table: RouteTable) {
    let next = all[all.count - 1].number &+ 1
    if all[all.count - 1].live == 0 { all.removeLast() }
    all.append(Generation(next, table))
  }

  /// The oldest table that a live connection refers to, or the newest one.
  var oldestSerial: UInt64 { all[0].table.series.serial }

  func table(_ number: UInt16) -> RouteTable? {
    all.first { $0.number == number }?.table
  }

  func identity(_ number: UInt16, _ server: Int) -> Identity? {
    all.first { $0.number == number }?.identities[server]
  }
}
