internal import CSluice
package import Routing
internal import Synchronization
internal import System
package import Wire

/// How the data plane is to be run.
package struct PoolSettings: Sendable {
  /// Which event source: nil is the ring, and epoll where the kernel denies it.
  package var events: EventSource?
  package var workers: Int
  /// The processor of each worker; empty: not pinned.
  package var cpus: [Int]
  /// Connections at once, over all workers.
  package var maxConnections: Int
  /// Descriptors that connections and pipes may take, over all workers.
  package var descriptors: Int
  /// Who hears of servers that fail; nil is nobody.
  package var failures: FailureBoard?
  /// Who knows the addresses of names that clients ask for; nil knows none.
  package var names: (any NameLookup)?

  package init(
    events: EventSource? = nil, workers: Int, cpus: [Int] = [], maxConnections: Int,
    descriptors: Int, failures: FailureBoard? = nil, names: (any NameLookup)? = nil
  ) {
    self.names = names
    self.events = events
    self.workers = workers
    self.cpus = cpus
    self.maxConnections = maxConnections
    self.descriptors = descriptors
    self.failures = failures
  }
}

/// The worker threads.
package final class WorkerPool: Sendable {
  private struct Member: Sendable {
    let mailbox: Mailbox
    let thread: Thread
  }

  private let members: [Member]
  private let shared: SharedCounts
  private let acknowledgements: Acknowledgements
  private let register: SocketRegister
  /// The sockets that workers accept from, by tag, and the number of the last installation. Who
  /// installs has it locked until the workers have answered.
  private let installed: Guarded<(number: UInt64, sockets: [UInt32: [ListeningSocket]])>
  private let isPaused = Atomic(false)
  /// What the workers' events come from.
  package let source: EventSource

  /// Why the pool did not start. Nothing of it runs then.
  package enum Failure: Error, Sendable {
    case listen(ListenError)
    case worker(StartError)
  }

  /// How long a worker may take to start. It makes a ring and reserves memory, no more.
  private static let startMs: Int32 = 10_000
  /// How long an answer from a worker may take; a turn is far shorter.
  private static let replyMs: Int32 = 1_000
  /// Prefaces, PROXY headers of dials under way and remainders of slow readers, of each worker:
  /// 64 KiB of address space each, of which only touched pages cost memory.
  private static let buffersPerWorker: UInt32 = 8192

  /// Opens the listeners and starts the workers.
  ///
  /// - Parameter sink: makes a worker's sink, on the worker's thread; nil logs nothing.
  package init(
    _ settings: PoolSettings, table: RouteTable, bans: BanTable = BanTable(),
    listening addresses: [ListenAddress], sink: (@Sendable (Int) -> any RecordSink)?
  ) throws(Failure) {
    let shared: SharedCounts
    let acknowledgements: Acknowledgements
    do throws(StartError) {
      shared = try SharedCounts(
        descriptors: settings.descriptors, connections: settings.maxConnections)
      acknowledgements = try WorkerPool.acknowledgements()
    } catch { throw .worker(error) }
    let register = SocketRegister()
    let opened: OpenedSockets
    do throws(ListenError) {
      opened = try openListeners(addresses, workers: settings.workers, register)
    } catch { throw .listen(error) }

    var started: [Member] = []
    var source: EventSource?
    for index in 0..<settings.workers {
      do throws(StartError) {
        let outfit = Outfit(table: table, bans: bans, sockets: opened.sockets[index])
        let (member, got) = try WorkerPool.start(
          settings, index, shared, HandedOver(outfit), acknowledgements, sink)
        started.append(member)
        source = source ?? got
      } catch {
        WorkerPool.stop(started)
        throw .worker(error)
      }
    }
    members = started
    self.shared = shared
    self.acknowledgements = acknowledgements
    self.register = register
    installed = Guarded((0, WorkerPool.byTag(opened)))
    self.source = source ?? .epoll
  }

  private static func acknowledgements() throws(StartError) -> Acknowledgements {
    do throws(SystemError) { return try Acknowledgements() } catch { throw StartError(error) }
  }

  private static func byTag(_ opened: OpenedSockets) -> [UInt32: [ListeningSocket]] {
    Dictionary(grouping: opened.sockets.joined(), by: \.tag)
  }

  private static func start(
    _ settings: PoolSettings, _ index: Int, _ shared: SharedCounts, _ outfit: HandedOver,
    _ acknowledgements: Acknowledgements, _ sink: (@Sendable (Int) -> any RecordSink)?
  ) throws(StartError) -> (Member, EventSource) {
    let mailbox = Mailbox(acknowledgements)
    let started: Reply<Result<EventSource, StartError>>
    let thread: Thread
    do throws(SystemError) {
      let reply = try Reply<Result<EventSource, StartError>>()
      let cpu = settings.cpus.indices.contains(index) ? settings.cpus[index] : nil
      thread = try Thread(name: "worker-\(index)", cpu: cpu) {
        do throws(StartError) {
          var loop = try WorkerPool.loop(settings, index, shared, outfit, mailbox, sink)
          reply.send(.success(loop.source))
          loop.run()
        } catch {
          reply.send(.failure(error))
        }
      }
      started = reply
    } catch { throw StartError(error) }
    switch started.wait(atMostMs: startMs) {
    case .success(let source): return (Member(mailbox: mailbox, thread: thread), source)
    case .failure(let error): throw error
    case nil: throw StartError(call: "worker start", number: 110)  // ETIMEDOUT
    }
  }

  private static func loop(
    _ settings: PoolSettings, _ index: Int, _ shared: SharedCounts, _ outfit: HandedOver,
    _ mailbox: Mailbox, _ sink: (@Sendable (Int) -> any RecordSink)?
  ) throws(StartError) -> WorkerLoop {
    var options = unsafe sluice_options(
      shared: shared.raw, slots: UInt32(clamping: settings.maxConnections),
      buffers: buffersPerWorker, pipes: 0, workers: UInt32(settings.workers),
      events: .automatic)
    switch settings.events {
    case .ring: options.events = .ring
    case .epoll: options.events = .epoll
    case nil: options.events = .automatic
    }
    let worker = try Worker(options)
    guard let outfit = outfit.take() else { preconditionFailure("each worker starts once") }
    do throws(SystemError) {
      return try WorkerLoop(
        worker, outfit, index: index, mailbox: mailbox, identities: shared.identities,
        room: shared.room, sink: sink?(index), failures: settings.failures, names: settings.names,
        desk: shared.desk)
    } catch { throw StartError(error) }
  }

  private static func stop(_ members: [Member]) {
    for member in members { _ = member.mailbox.post(.stop) }
    for member in members { member.thread.join() }
  }

  // ---- what the control plane asks ---------------------------------------------------------

  /// Connections open now.
  package var liveConnections: Int { shared.connections }

  /// While it is wanted no worker accepts: memory is scarce.
  package func pauseAccepting(_ wanted: Bool) {
    guard isPaused.exchange(wanted, ordering: .relaxed) != wanted else { return }
    shared.pause(wanted)
    for member in members { member.mailbox.wake() }
  }

  /// While it is wanted, workers look for events for a bounded time before they sleep.
  package func spinBeforeSleep(_ wanted: Bool) { shared.spin(wanted) }

  package var acceptPauses: AcceptPauses { shared.pauses }

  /// Opens further listeners; nobody accepts from them before `install`. ENOSPC stands for more
  /// than a worker can have.
  package func open(_ addresses: [ListenAddress]) throws(ListenError) -> OpenedSockets {
    let room = Int(SLUICE_LISTENERS_MAX) - register.addresses.count
    if let first = addresses.first, addresses.count > room {
      throw ListenError(address: first, error: StartError(call: "listeners", number: 28))
    }
    return try openListeners(addresses, workers: members.count, register)
  }

  /// Where the data plane listens, sockets that are about to be closed included.
  package var openAddresses: [SocketAddress] { register.addresses }

  /// How many tables live connections still refer to, at most in any worker.
  package var tablesLive: Int { members.map(\.mailbox.tablesLive).max() ?? 0 }
  /// More than these cannot be told apart.
  package static let tablesLimit = Generations.limit

  /// From now on new connections come in by `opened`, no longer by the sockets of `retired` (whose
  /// queues are emptied first, under the former table), and are routed by `table`. Cannot fail.
  ///
  /// - Returns: the workers that had not carried it out after a second; they will.
  package func install(
    _ table: RouteTable, opening opened: OpenedSockets? = nil, retiring retired: [UInt32] = []
  ) -> [Int] {
    installed.withLock { installed in
      installed.number += 1
      // Let go of here, so that each closes when its worker has let go of it too.
      for tag in retired { installed.sockets[tag] = nil }
      if let opened {
        installed.sockets.merge(WorkerPool.byTag(opened)) { _, newer in newer }
      }
      for (index, member) in members.enumerated() {
        _ = member.mailbox.post(
          Installation(
            number: installed.number, table: table, opened: opened?.sockets[index] ?? [],
            retired: retired))
      }
      return slowWorkers(installed.number)
    }
  }

  /// From now on these are turned away; the table stays. Cannot fail either.
  @discardableResult
  package func install(_ bans: BanTable) -> [Int] {
    installed.withLock { installed in
      installed.number += 1
      for member in members {
        _ = member.mailbox.post(Installation(number: installed.number, bans: bans))
      }
      return slowWorkers(installed.number)
    }
  }

  private func slowWorkers(_ number: UInt64) -> [Int] {
    let deadlineNs = Clock.monotonicNs + UInt64(WorkerPool.replyMs) * 1_000_000
    while true {
      acknowledgements.arrived.clear()
      let slow = members.indices.filter { members[$0].mailbox.acknowledged < number }
      let now = Clock.monotonicNs
      if slow.isEmpty || now >= deadlineNs { return slow }
      _ = try? Readiness.reading(
        acknowledgements.arrived.number,
        waitingAtMostMs: Int32((deadlineNs - now) / 1_000_000 + 1))
    }
  }

  /// What a kept socket gets from now on: a queue of another length, another congestion control.
  /// The latter was tried before; if it fails now, the former one stays.
  package func tune(_ address: ListenAddress) {
    let sockets = installed.withLock { $0.sockets[address.tag] ?? [] }
    for socket in sockets { socket.tune(address) }
  }

  /// Stops accepting; live connections go on. What waits in the listeners' queues is accepted
  /// before they are closed.
  @discardableResult
  package func drain() -> Bool {
    installed.withLock { $0.sockets = [:] }
    return post(.drain)
  }

  /// Ends what still lives.
  @discardableResult
  package func endAll(_ why: EndAll) -> Bool { post(.end(nil, why, reply: nil)) }

  /// Ends those that are meant.
  ///
  /// - Returns: how many, and the workers that did not say so in time; they will end theirs too.
  package func end(_ filter: SessionFilter, _ why: EndAll) -> (ended: Int, silent: [Int]) {
    let replies = members.map { member -> Reply<Int>? in
      guard let reply = try? Reply<Int>(),
        member.mailbox.post(.end(filter, why, reply: reply))
      else { return nil }
      return reply
    }
    let ended = replies.map { $0?.wait(atMostMs: WorkerPool.replyMs) }
    return (ended.reduce(0) { $0 + ($1 ?? 0) }, ended.indices.filter { ended[$0] == nil })
  }

  private func post(_ command: Command) -> Bool {
    var posted = true
    for member in members where !member.mailbox.post(command) { posted = false }
    return posted
  }

  /// Ends one connection. False when it is gone or its worker did not answer in time.
  package func kill(_ id: ConnectionID) -> Bool {
    guard members.indices.contains(id.worker), let reply = try? Reply<Bool>(),
      members[id.worker].mailbox.post(.kill(id, reply: reply))
    else { return false }
    return reply.wait(atMostMs: WorkerPool.replyMs) ?? false
  }

  package var workers: Int { members.count }

  /// Up to `limit` of a worker's live connections that are meant, in the order of slots; fewer, or
  /// none, when that took long enough, and then there is a next page all the same. Nil when it did
  /// not answer in time. Workers are looked at one after the other, so the whole is no picture of
  /// one instant.
  package func sessions(
    worker: Int, from cursor: UInt32, limit: Int, _ filter: SessionFilter = SessionFilter()
  ) -> SessionPage? {
    guard members.indices.contains(worker), let reply = try? Reply<SessionPage>(),
      members[worker].mailbox.post(
        .list(from: cursor, limit: limit, filter: filter, reply: reply))
    else { return nil }
    return reply.wait(atMostMs: WorkerPool.replyMs)
  }

  /// The counts of each worker; nil for one that did not answer in time.
  package func stats() -> [WorkerStats?] {
    let replies = members.map { member -> Reply<WorkerStats>? in
      guard let reply = try? Reply<WorkerStats>(), member.mailbox.post(.stats(reply: reply))
      else { return nil }
      return reply
    }
    return replies.map { $0?.wait(atMostMs: WorkerPool.replyMs) }
  }

  /// What each worker has counted by series; nil for one that did not answer in time.
  package func counts() -> [WorkerCounts?] {
    let replies = members.map { member -> Reply<WorkerCounts>? in
      guard let reply = try? Reply<WorkerCounts>(), member.mailbox.post(.counts(reply: reply))
      else { return nil }
      return reply
    }
    return replies.map { $0?.wait(atMostMs: WorkerPool.replyMs) }
  }

  package func stopAndJoin() {
    WorkerPool.stop(members)
    shared.desk.stop()
  }
}

/// What a worker starts with.
struct Outfit: Sendable {
  let table: RouteTable
  let bans: BanTable
  let sockets: [ListeningSocket]
}

/// An outfit on its way to a worker's thread. The thread's body lives as long as the thread and
/// keeps what it captured, so it must not capture the sockets, which the worker closes by letting
/// go, nor the table, which is soon an old one.
private final class HandedOver: Sendable {
  private let outfit: Guarded<Outfit?>

  init(_ outfit: Outfit) { self.outfit = Guarded(outfit) }

  func take() -> Outfit? { outfit.withLock { outfit in outfit.take() } }
}
