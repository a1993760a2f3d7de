internal import Synchronization

/// What all workers know of the servers together, by number: how many connections each has, and
/// whether it may get new ones. It outlives route tables.
///
/// A server's state is one atomic word, so that a thousand servers that go up and down cost nobody
/// a new table: whoever changes a word moves the version on, and a worker that finds the version
/// moved looks at the words of a backend's servers again, once, before its next choice among them.
package struct ServerStates: Sendable {
  /// Why a server gets no new connections. Any one is enough.
  package struct Marks: OptionSet, Sendable, Hashable {
    package let rawValue: UInt8

    package init(rawValue: UInt8) { self.rawValue = rawValue }

    /// A health check says so.
    package static let down = Marks(rawValue: 1)
    /// Connections to it failed, one after the other.
    package static let ejected = Marks(rawValue: 2)
    /// The operator wants it so: never overruled, however few servers are left.
    package static let drained = Marks(rawValue: 4)
    /// It has no address, so nothing can be sent there.
    package static let unresolved = Marks(rawValue: 8)

    /// What is only believed: with too few servers left, these are tried all the same.
    static let doubted: Marks = [.down, .ejected]
  }

  private final class Version: Sendable {
    let number = Atomic<UInt64>(1)
  }

  /// Connections that are at each server or being dialled to it.
  package private(set) var load = Tally()
  /// By server: its marks in the low byte, above them when the last one was taken off, in
  /// milliseconds; 0 when it never had one.
  private var words = SharedWords()
  private let shared = Version()

  package init(_ count: Int = 0) { grow(to: count) }

  /// Makes room for the numbers below `count`, with servers that are up. Copies of this share all
  /// states with it, but do not know the new numbers.
  package mutating func grow(to count: Int) {
    load.grow(to: count)
    words.grow(to: count)
  }

  /// Moves on with every change of any state; never 0.
  package var version: UInt64 { shared.number.load(ordering: .acquiring) }

  package func marks(_ server: Int) -> Marks {
    Marks(rawValue: UInt8(truncatingIfNeeded: words.load(server)))
  }

  /// When it became usable again; 0 when it always was.
  package func recoveredMs(_ server: Int) -> UInt64 { words.load(server) >> 8 }

  /// - Returns: whether it was usable before.
  @discardableResult
  package func mark(_ server: Int, _ marks: Marks) -> Bool {
    let (before, isChanged) = words.update(server) { word in
      word | UInt64(marks.rawValue) == word ? nil : word | UInt64(marks.rawValue)
    }
    if isChanged { shared.number.wrappingAdd(1, ordering: .releasing) }
    return before & 0xff == 0
  }

  /// Takes marks off. A server that has none left begins its slow start at `nowMs`, the
  /// milliseconds of a clock that is never set.
  ///
  /// - Returns: whether it has become usable.
  @discardableResult
  package func unmark(_ server: Int, _ marks: Marks, nowMs: UInt64) -> Bool {
    let (before, isChanged) = words.update(server) { word in
      let left = word & ~UInt64(marks.rawValue)
      guard left != word else { return nil }
      return left & 0xff == 0 ? max(nowMs, 1) << 8 : left
    }
    if isChanged { shared.number.wrappingAdd(1, ordering: .releasing) }
    return isChanged && UInt8(truncatingIfNeeded: before) & ~marks.rawValue == 0
  }

  /// The number stands for another server from now on. No connection may be at it.
  package func reset(_ server: Int) {
    words.store(0, at: server)
    shared.number.wrappingAdd(1, ordering: .releasing)
  }
}

/// What all workers keep together of servers, backends and listeners, by series number. It outlives
/// route tables: a copy shares all there is with the one it was made from.
package struct SharedLoad: Sendable {
  package private(set) var servers = ServerStates()
  /// Connections that a backend has.
  package private(set) var backends = Tally()
  /// Connections that came in by a listener.
  package private(set) var listeners = Tally()

  package init() {}

  /// Makes room for all numbers of a plan; its fresh servers are up.
  package mutating func prepare(for plan: SeriesPlan) {
    servers.grow(to: (plan.servers.max() ?? -1) + 1)
    backends.grow(to: (plan.backends.max() ?? -1) + 1)
    listeners.grow(to: (plan.listeners.max() ?? -1) + 1)
    for server in plan.fresh.servers { servers.reset(server) }
  }
}
