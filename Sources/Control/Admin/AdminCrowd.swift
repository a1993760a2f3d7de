internal import System

/// Who is connected to the admin socket: bounds, so that no caller can take what another needs.
/// Used on the event loop only.
struct AdminCrowd: Sendable {
  /// How many connections there may be. Strangers get few, lookers leave room for operators.
  struct Bounds: Sendable {
    /// For one user, whatever the role.
    var perUser = 64
    /// For all who have no role, together, and for one of them.
    var strangers = 16
    var perStranger = 4
    /// For all who may not change anything, strangers included.
    var lookers = 192
    var all = 256

    /// For a process that has few descriptors: the 64 that are kept back must suffice.
    static let small = Bounds(
      perUser: 24, strangers: 4, perStranger: 2, lookers: 20, all: 32)
  }

  let bounds: Bounds
  private(set) var count = 0
  private var lookers = 0
  private var strangers = 0
  private var users: [UInt32: Int] = [:]

  init(_ bounds: Bounds) {
    self.bounds = bounds
  }

  /// Counts a new connection in, or refuses it.
  mutating func enter(user: UInt32, role: AdminRole?) -> Bool {
    let own = users[user, default: 0]
    guard count < bounds.all, own < bounds.perUser else { return false }
    if role != .operate {
      guard lookers < bounds.lookers else { return false }
    }
    if role == nil {
      guard strangers < bounds.strangers, own < bounds.perStranger else { return false }
    }
    change(user, role, by: 1)
    return true
  }

  /// With the role that it entered with.
  mutating func leave(user: UInt32, role: AdminRole?) {
    change(user, role, by: -1)
    if users[user] == 0 { users[user] = nil }
  }

  private mutating func change(_ user: UInt32, _ role: AdminRole?, by amount: Int) {
    count += amount
    users[user, default: 0] += amount
    if role != .operate { lookers += amount }
    if role == nil { strangers += amount }
  }
}
