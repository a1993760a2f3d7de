internal import CSluice
internal import Routing
internal import System

/// The two servers of a connection that was dialled to both families of one name.
struct FamilyDials {
  let first: Int
  let second: Int
  /// Both dials are under way: the second has a place of its own at its server.
  var isRacing: Bool
  /// See `BalancePlan.another`; nil until both have failed.
  var apart: Int?
}

/// Happy Eyeballs: of a name with both families, the second is dialled beside the first one's dial
/// when that is slow, and instead of it when that fails. RFC 8305
extension WorkerLoop {
  /// RFC 8305 section 5: "One recommended value for a default delay is 250 milliseconds."
  static let attemptDelayMs: UInt32 = 250

  /// After how long C is to tell that a dial is slow; 0 where nothing could be done about it. Each
  /// connection races once.
  func raceMs(_ id: sluice_id, _ memory: ConnectionMemory, _ table: RouteTable) -> UInt32 {
    guard let server = memory.server, table.balance.families.haveOther(than: server),
      memory.tries <= table.backends[table.backend(ofServer: server)].retries,
      families[id.slot] == nil
    else { return 0 }
    return WorkerLoop.attemptDelayMs
  }

  /// The dial is slow: a second one begins beside it, if there is a server for it that has a place.
  mutating func slow(_ event: sluice_event) {
    if !exchanges.isEmpty, exchangeSlow(event) { return }
    guard var memory = worker.memory(event.id), let first = memory.server,
      let table = generations.table(memory.generation),
      let second = router.rival(
        of: first, tries: memory.tries, spread: memory.id.low, under: table)
    else { return }
    let backend = table.backend(ofServer: first)
    // Places are for those who wait for one.
    if table.isLimited(backend: backend),
      room.isWaited(for: .backend(table.series.backends[backend]))
    {
      return
    }
    let limit = table.servers[second].maxConnections
    guard table.load.servers.load.take(table.series.servers[second], limit: limit) else { return }
    counts.arrived(at: second, in: table)
    guard router.mayRace(backend, under: table), race(event, second, backend, table) else {
      return leave(second, table)
    }
    counts.dialled(second, in: table)
    memory.tries += 1
    worker.remember(memory, of: event.id)
    families[event.id.slot] = FamilyDials(first: first, second: second, isRacing: true)
  }

  private func race(
    _ event: sluice_event, _ server: Int, _ backend: Int, _ table: RouteTable
  ) -> Bool {
    let entry = table.backends[backend]
    let listener = table.listeners[table.listener(ofSocket: event.listener)]
    let result = table.servers[server].address.withEndpoint { address in
      entry.congestion.withBytes { congestion in
        var route = sluice_route()
        route.address = address
        route.congestion = congestion
        route.connect_ms = entry.deadlines.connectMs ?? listener.connectMs
        guard let source = entry.source else { return worker.race(event.id, by: &route) }
        return source.withEndpoint { source in
          route.source = source
          return worker.race(event.id, by: &route)
        }
      }
    }
    return result == .done || result == .not_dialled
  }

  /// Of two dials one goes on alone. The other's place is given back; when the second goes on, it
  /// is told what it would have been told as the first.
  mutating func raced(_ event: sluice_event) {
    if !exchanges.isEmpty, exchangeRaced(event) { return }
    guard var memory = worker.memory(event.id), let table = generations.table(memory.generation),
      let dials = families[event.id.slot], dials.isRacing
    else { return }
    families[event.id.slot]?.isRacing = false
    let loser = event.second ? dials.first : dials.second
    if event.error != 0 {
      let error = DialError(event.error)
      counts.dialFailed(error, at: loser, in: table)
      failures?.dialFailed(error, at: loser, in: table)
    } else if event.second {
      failures?.outrun(loser, in: table)
    }
    if event.second {
      memory.server = dials.second
      worker.remember(memory, of: event.id)
      settle(event, memory, table)
    }
    leave(loser, table)
  }

  private mutating func settle(
    _ event: sluice_event, _ memory: ConnectionMemory, _ table: RouteTable
  ) {
    guard let server = memory.server else { return }
    let place = table.listener(ofSocket: event.listener)
    let entry = table.backends[table.backend(ofServer: server)]
    let length = writeHeader(
      event.id.slot, memory, table.listeners[place], entry, table.servers[server])
    guard length != 0 else { return }
    // Without the header the server would take the connection for ours.
    guard let length, worker.settle(event.id, saying: header.bytes(length)) == .done else {
      _ = worker.kill(event.id, .upstream_error)
      return
    }
  }

  /// The connection is over, perhaps while both are dialled.
  mutating func leaveRace(_ slot: UInt32, _ table: RouteTable) {
    guard !families.isEmpty, let dials = families.removeValue(forKey: slot), dials.isRacing
    else { return }
    leave(dials.second, table)
  }

  /// A place that was taken beside that of the connection's own server is given back.
  mutating func leave(_ server: Int, _ table: RouteTable) {
    counts.left(server, in: table)
    table.load.servers.load.give(table.series.servers[server])
    let backend = table.backend(ofServer: server)
    if table.isLimited(backend: backend) { freed(backend: backend, table) }
  }

  /// A connection's dial has failed; of one that went to both families, where it need not go again.
  mutating func apart(_ slot: UInt32, from failed: Int) -> Int? {
    guard !families.isEmpty, let dials = families[slot] else { return nil }
    let apart = dials.apart ?? (failed == dials.first ? dials.second : dials.first)
    families[slot]?.apart = apart
    return apart
  }

  /// Its first dial has failed, and it went on to another server.
  mutating func wentOn(
    _ slot: UInt32, from failed: Int, _ memory: ConnectionMemory, _ table: RouteTable
  ) {
    guard memory.tries == 2, let server = memory.server, server != failed,
      table.balance.families.haveOther(than: failed)
    else { return }
    families[slot] = FamilyDials(first: failed, second: server, isRacing: false)
  }
}
