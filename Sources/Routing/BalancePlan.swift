package import Wire

/// How a backend chooses among its servers.
package enum BalanceKind: String, Sendable, Hashable, CaseIterable {
  /// In turn, each as often as its weight says.
  case roundRobin = "round-robin"
  /// The one with the fewest connections for its weight, over all workers.
  case leastConnections = "least-connections"
  /// Of two picked at random the one with fewer connections for its weight.
  case twoChoices = "two-choices"
  /// The same source goes to the same server.
  case sourceHash = "source-hash"
}

/// What balancing has to know of all backends and servers of a route table; immutable.
package struct BalancePlan: Sendable {
  package struct Backend: Sendable {
    /// Places in `servers`.
    package let servers: Range<Int>
    package let kind: BalanceKind
    /// How long a server's share grows after it has come back; 0 is at once.
    package let slowStartMs: UInt32
    /// With a smaller part of the primary servers usable, in percent, those that are only believed
    /// to be down are used as well.
    package let panicPercent: Int
    /// For `sourceHash`: over the primary servers.
    package let maglev: Maglev?
    /// The places of the primary servers, in the order of `maglev`'s members; then the backups.
    let primaries: [Int32]
    let backups: [Int32]
  }

  package struct Server: Sendable {
    /// In `ServerStates`.
    package let number: Int
    /// 0 ... 256.
    package let weight: Int
    /// Gets connections only while no primary server can.
    package let isBackup: Bool
    /// Connections at once over all workers; 0 is no limit.
    package let limit: UInt32
    /// Of its name.
    package let hash: UInt64
    /// How far its turn moves on when it is chosen; the low 16 bits are 0.
    let step: UInt64

    package init(number: Int, weight: Int, isBackup: Bool, limit: UInt32, hash: UInt64) {
      precondition((0...BalancePlan.weightMax).contains(weight))
      self.number = number
      self.weight = weight
      self.isBackup = isBackup
      self.limit = limit
      self.hash = hash
      step = (1 << 40) / UInt64(max(weight, 1)) & ~0xffff
    }
  }

  package static let weightMax = 256
  /// In one backend: places in it are 16 bits wide.
  package static let serversMax = 65_535

  package let backends: [Backend]
  package let servers: [Server]
  package let states: ServerStates
  /// Servers that are addresses of one name.
  package let families: NameFamilies

  /// - Parameters:
  ///   - states: has all the numbers of `servers`.
  ///   - former: a plan whose Maglev tables are taken where nothing about them has changed: to make
  ///     one costs milliseconds.
  init(
    _ backends: [BackendEntry], _ servers: [ServerEntry], _ series: SeriesPlan,
    states: ServerStates, former: BalancePlan?
  ) {
    let rules = zip(servers, series.servers).map { server, number in
      Server(
        number: number, weight: server.weight, isBackup: server.isBackup,
        limit: server.maxConnections, hash: BalancePlan.hash(name: server.name))
    }
    self.init(
      backends, rules, states: states, families: NameFamilies(backends, servers), former: former)
  }

  /// The same, of servers as they are counted.
  package init(
    _ backends: [BackendEntry], _ servers: [Server], states: ServerStates,
    families: NameFamilies = NameFamilies(), former: BalancePlan? = nil
  ) {
    self.servers = servers
    self.families = families
    self.states = states
    var tables: [UInt64: [Maglev]] = [:]
    for backend in former?.backends ?? [] {
      guard let maglev = backend.maglev else { continue }
      tables[maglev.members[0].hash, default: []].append(maglev)
    }
    self.backends = backends.map { backend in
      precondition(backend.servers.count <= BalancePlan.serversMax)
      let primaries = backend.servers.filter { !servers[$0].isBackup }
      var maglev: Maglev?
      let members = primaries.map {
        Maglev.Member(hash: servers[$0].hash, weight: servers[$0].weight)
      }
      if backend.balance == .sourceHash, members.contains(where: { $0.weight > 0 }) {
        maglev =
          tables[members[0].hash]?.first { $0.members == members } ?? Maglev(members)
      }
      return Backend(
        servers: backend.servers, kind: backend.balance, slowStartMs: backend.slowStartMs,
        panicPercent: backend.panicPercent, maglev: maglev,
        primaries: primaries.map { Int32($0) },
        backups: backend.servers.filter { servers[$0].isBackup }.map { Int32($0) })
    }
  }

  /// Another server for a connection whose dial failed, as long as there is one that it was not
  /// dialled to; then a backup; then any. First one of the same name in the other family, if there
  /// is one: what is wrong may be the way there (RFC 8305 section 4). Each connection goes through
  /// the servers at a stride of its own, so that those of a dead server do not all meet its
  /// neighbour.
  ///
  /// - Parameters:
  ///   - tries: dials begun so far.
  ///   - spread: the same for all tries of a connection.
  ///   - apart: of a connection that went to the other family, which of those two servers the way
  ///     from `failed` does not lead around.
  package func another(
    than failed: Int, of backend: Int, tries: Int, spread: UInt64, apart: Int? = nil
  ) -> Balancer.Choice {
    let range = backends[backend].servers
    guard range.contains(failed) else { return .none }
    if tries == 1, let other = otherFamily(than: failed, spread: spread) { return .server(other) }
    let modulus = BalancePlan.prime(atLeast: range.count)
    let stride = 1 + Int(truncatingIfNeeded: spread % UInt64(modulus - 1))
    var primaries = 0
    var (primary, backup, doubted): (Int?, Int?, Int?) = (nil, nil, nil)
    var isAnyFull = false
    var offset = failed - range.lowerBound
    for _ in 0..<modulus {
      offset = (offset + stride) % modulus
      guard offset < range.count else { continue }
      let place = range.lowerBound + offset
      let server = servers[place]
      let marks = states.marks(server.number)
      guard server.weight > 0, marks.isSubset(of: .doubted) else { continue }
      if server.limit > 0, states.load.count(server.number) >= Int(server.limit) {
        isAnyFull = true
        continue
      }
      // The failed one comes last.
      if doubted == nil { doubted = place }
      guard marks.isEmpty else { continue }
      if server.isBackup {
        if backup == nil { backup = place }
      } else {
        primaries += 1
        if primary == nil || (primary == apart && place != failed) { primary = place }
      }
    }
    let found = tries < primaries ? primary : backup ?? primary
    return (found ?? doubted).map { .server($0) } ?? (isAnyFull ? .full : .none)
  }

  /// The least prime that is not below `count`: any stride visits all places modulo a prime.
  private static func prime(atLeast count: Int) -> Int {
    var candidate = max(count, 2)
    while !isPrime(candidate) { candidate += 1 }
    return candidate
  }

  private static func isPrime(_ number: Int) -> Bool {
    var divisor = 2
    while divisor * divisor <= number {
      if number.isMultiple(of: divisor) { return false }
      divisor += 1
    }
    return true
  }

  /// A server's name as a hash, the same in every process. Fowler, Noll and Vo's FNV-1a.
  package static func hash(name: String) -> UInt64 {
    mix(name.utf8.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 })
  }

  /// A client's address as a hash, the same in every process: of an IPv6 address the /64 that one
  /// subscriber has. Nil for a Unix socket. Allocates nothing.
  package static func hash(source: SocketAddress) -> UInt64? {
    switch source {
    case .ipv4(let address, _): mix(UInt64(address))
    case .ipv6(0, let low, _, _) where low >> 32 == 0xffff: mix(low & 0xffff_ffff)
    case .ipv6(let high, _, _, _): mix(high)
    case .unix: nil
    }
  }
}
