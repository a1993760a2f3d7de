package import Config
package import Routing

/// Which name each series number stands for, through all configurations since the start.
///
/// A value: preparing a configuration works on a copy, and committing it keeps the copy. A name
/// keeps its number as long as it is in the configuration; after that, the number waits until no
/// worker refers to it any more (`settle`), and is then another name's.
package struct SeriesBook: Sendable {
  package private(set) var listeners = Shelf<String>()
  package private(set) var backends = Shelf<String>()
  package private(set) var servers = Shelf<ServerName>()
  package private(set) var rules = Shelf<RuleName>()
  private var serial: UInt64 = 0

  package struct RuleName: Hashable, Sendable {
    package let listener: String
    package let rule: String
  }

  package init() {}

  /// The numbers for the next table of this configuration. A table that was made and not
  /// installed does no harm when the book is then thrown away with it.
  package mutating func plan(for snapshot: Snapshot) -> SeriesPlan {
    serial += 1
    var plan = SeriesPlan(serial: serial, listeners: [], backends: [], servers: [])
    (plan.listeners, plan.fresh.listeners) = listeners.assign(
      snapshot.listeners.map(\.name), serial)
    (plan.backends, plan.fresh.backends) = backends.assign(
      snapshot.backends.map(\.name), serial)
    (plan.servers, plan.fresh.servers) = servers.assign(snapshot.serverNames, serial)
    let names = snapshot.listeners.flatMap { listener in
      listener.ruleNames(in: snapshot).map { RuleName(listener: listener.name, rule: $0) }
    }
    let (numbers, fresh) = rules.assign(names, serial)
    plan.fresh.rules = fresh
    var rest = numbers[...]
    plan.rules = snapshot.listeners.map { listener in
      let count = listener.ruleNames(in: snapshot).count
      defer { rest = rest.dropFirst(count) }
      return Array(rest.prefix(count))
    }
    // Only the page shows them.
    if let metrics = snapshot.metrics, metrics.hasPage { plan.topClients = metrics.topClients }
    return plan
  }

  /// Frees the numbers of names that were gone before the oldest table that any worker still
  /// refers to. Call it with the oldest of all workers' `oldestSerial`, and not at all when one
  /// did not answer.
  package mutating func settle(oldestSerial: UInt64) {
    listeners.settle(oldestSerial)
    backends.settle(oldestSerial)
    servers.settle(oldestSerial)
    rules.settle(oldestSerial)
  }

  /// The names of one kind, by number.
  package struct Shelf<Name: Hashable & Sendable>: Sendable {
    package struct Entry: Sendable {
      package let name: Name
      /// The first table that had it under this number.
      package let since: UInt64
      /// The first table that had it no more; nil while it is configured.
      package fileprivate(set) var goneSince: UInt64?
    }

    /// Nil where a number is free.
    package private(set) var entries: [Entry?] = []
    private var numbers: [Name: Int] = [:]

    fileprivate mutating func assign(
      _ names: [Name], _ serial: UInt64
    ) -> (numbers: [Int], fresh: [Int]) {
      for (name, number) in numbers where entries[number]?.goneSince == nil {
        _ = name
        entries[number]?.goneSince = serial
      }
      var free = entries.indices.filter { entries[$0] == nil }[...]
      var fresh: [Int] = []
      let assigned = names.map { name in
        if let number = numbers[name] {
          entries[number]?.goneSince = nil
          return number
        }
        let number = free.popFirst() ?? entries.count
        if number == entries.count { entries.append(nil) }
        entries[number] = Entry(name: name, since: serial, goneSince: nil)
        numbers[name] = number
        fresh.append(number)
        return number
      }
      return (assigned, fresh)
    }

    fileprivate mutating func settle(_ oldestSerial: UInt64) {
      for (number, entry) in entries.enumerated() {
        guard let entry, let goneSince = entry.goneSince, goneSince <= oldestSerial else {
          continue
        }
        numbers[entry.name] = nil
        entries[number] = nil
      }
    }
  }
}
