internal import Config
internal import Routing

/// What was removed from the configuration and still has connections, which may finish until a
/// deadline. Pure: times and counts come in, what is due goes out.
struct RemovalDrains: Sendable, Equatable {
  enum Thing: Hashable, Comparable, Sendable, CustomStringConvertible {
    case listener(String)
    case server(ServerName)

    /// As changes and progress name it.
    var description: String {
      switch self {
      case .listener(let name): "listener \(name)"
      case .server(let name): "server \(name)"
      }
    }
  }

  struct Entry: Sendable, Equatable {
    let sinceNs: UInt64
    let untilNs: UInt64
    /// Its connections were told to end.
    var isCut = false
  }

  private(set) var entries: [Thing: Entry] = [:]

  /// A listener that is closed may still bring those who wait in its queue; nothing has ended
  /// before.
  static let leastNs: UInt64 = 100_000_000

  var isEmpty: Bool { entries.isEmpty }

  /// From one snapshot to another: what is gone begins to drain, what is back is left alone.
  mutating func follow(
    from former: Snapshot, to snapshot: Snapshot, nowNs: UInt64
  ) -> (begun: [Thing], cancelled: [Thing]) {
    let there = RemovalDrains.things(in: snapshot)
    let cancelled = entries.keys.filter { there.contains($0) }.sorted()
    for thing in cancelled { entries[thing] = nil }
    let begun = RemovalDrains.things(in: former).subtracting(there).sorted()
    let untilNs = nowNs + UInt64(snapshot.drainMs) * 1_000_000
    for thing in begun where entries[thing] == nil {
      entries[thing] = Entry(sinceNs: nowNs, untilNs: untilNs)
    }
    return (begun, cancelled)
  }

  private static func things(in snapshot: Snapshot) -> Set<Thing> {
    Set(snapshot.listeners.map { Thing.listener($0.name) })
      .union(snapshot.serverNames.map { Thing.server($0) })
  }

  /// - Parameter live: how many connections each still has; a thing that is not there is not known
  ///   of, and is kept.
  /// - Returns: what has no connections left, and what has some to be ended now, each once.
  mutating func look(
    nowNs: UInt64, live: [Thing: Int]
  ) -> (finished: [Thing], due: [Thing]) {
    let finished = entries.filter { entry in
      live[entry.key] == 0 && nowNs >= entry.value.sinceNs + RemovalDrains.leastNs
    }.keys.sorted()
    for thing in finished { entries[thing] = nil }
    let due = entries.filter { nowNs >= $0.value.untilNs && !$0.value.isCut }.keys.sorted()
    for thing in due { entries[thing]?.isCut = true }
    return (finished, due)
  }
}
