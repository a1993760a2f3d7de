/// Where things are counted: small numbers that stand for names, the same in every route table as
/// long as the name exists, so that counters are plain arrays and outlive a table.
///
/// Whoever builds tables keeps the book of names. A number is given to another name only when no
/// worker has a table any more that means the former one.
package struct SeriesPlan: Hashable, Sendable {
  /// Which table this is: each one's is greater than those of all tables before it.
  package var serial: UInt64
  /// By listener, backend and server, in the table's order.
  package var listeners: [Int]
  package var backends: [Int]
  package var servers: [Int]
  /// By listener, and by rule in its order.
  package var rules: [[Int]]
  /// Numbers that stand for another name than in the table before, or for none before: they begin
  /// at zero.
  package var fresh: Fresh
  /// How many of the busiest clients can be told; 0 keeps no track of clients.
  package var topClients: Int

  package struct Fresh: Hashable, Sendable {
    package var listeners: [Int]
    package var backends: [Int]
    package var servers: [Int]
    package var rules: [Int]

    package init(
      listeners: [Int] = [], backends: [Int] = [], servers: [Int] = [], rules: [Int] = []
    ) {
      self.rules = rules
      self.listeners = listeners
      self.backends = backends
      self.servers = servers
    }
  }

  package init(
    serial: UInt64, listeners: [Int], backends: [Int], servers: [Int], rules: [[Int]] = [],
    fresh: Fresh = Fresh(), topClients: Int = 0
  ) {
    self.rules = rules
    self.serial = serial
    self.listeners = listeners
    self.backends = backends
    self.servers = servers
    self.fresh = fresh
    self.topClients = topClients
  }

  /// Numbers that follow the order of the table; for tables that no other one follows.
  ///
  /// - Parameter rules: how many each listener has.
  package init(listeners: Int, backends: Int, servers: Int, rules: [Int] = []) {
    var first = 0
    let numbers = rules.map { count in
      defer { first += count }
      return Array(first..<(first + count))
    }
    self.init(
      serial: 0, listeners: Array(0..<listeners), backends: Array(0..<backends),
      servers: Array(0..<servers), rules: numbers)
  }

  /// Nil for a rule that is not counted.
  package func rule(_ rule: Int, of listener: Int) -> Int? {
    guard rules.indices.contains(listener), rules[listener].indices.contains(rule) else {
      return nil
    }
    return rules[listener][rule]
  }
}
