internal import CSluice
package import Routing
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

  package init(
    events: EventSource? = nil, workers: Int, cpus: [Int] = [], maxConnections: Int,
    descriptors: Int
  ) {
    self.events = events
    self.workers = workers
    self.cpus = cpus
    self.maxConnections = maxConnections
    self.descriptors = descriptors
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
    _ settings: PoolSettings, table: RouteTable, listening addresses: [ListenAddress],
    sink: (@Sendable (Int) -> any RecordSink)?
  ) throws(Failure) {
    let shared: SharedCounts
    let sockets: [[ListeningSocket]]
    do throws(StartError) {
      shared = try SharedCounts(
        descriptors: settings.descriptors, connections: settings.maxConnections)
    } catch { throw .worker(error) }
    do throws(ListenError) {
      sockets = try openListeners(addresses, workers: settings.workers)
    } catch { throw .listen(error) }

    var started: [Member] = []
    var source: EventSource?
    for index in 0..<settings.workers {
      do throws(StartError) {
        let (member, got) = try WorkerPool.start(
          settings, index, shared, table, sockets[index], sink)
        started.append(member)
        source = source ?? got
      } catch {
        WorkerPool.stop(started)
        throw .worker(error)
      }
    }
    members = started
    self.shared = shared
    self.source = source ?? .epoll
  }

  private static func start(
    _ settings: PoolSettings, _ index: Int, _ shared: SharedCounts, _ table: RouteTable,
    _ sockets: [ListeningSocket], _ sink: (@Sendable (Int) -> any RecordSink)?
  ) throws(StartError) -> (Member, EventSource) {
    let mailbox = Mailbox()
    let started: Reply<Result<EventSource, StartError>>
    let thread: Thread
    do throws(SystemError) {
      let reply = try Reply<Result<EventSource, StartError>>()
      let cpu = settings.cpus.indices.contains(index) ? settings.cpus[index] : nil
      let handedOver = HandedOver(sockets)
      thread = try Thread(name: "worker-\(index)", cpu: cpu) {
        do throws(StartError) {
          var loop = try WorkerPool.loop(
            settings, index, shared, table, handedOver.take(), mailbox, sink)
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
    _ settings: PoolSettings, _ index: Int, _ shared: SharedCounts, _ table: RouteTable,
    _ sockets: [ListeningSocket], _ mailbox: Mailbox, _ sink: (@Sendable (Int) -> any RecordSink)?
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
    do throws(SystemError) {
      return try WorkerLoop(
        worker, table: table, sockets: sockets, index: index, mailbox: mailbox,
        identities: shared.identities, sink: sink?(index))
    } catch { throw StartError(error) }
  }

  private static func stop(_ members: [Member]) {
    for member in members { _ = member.mailbox.post(.stop) }
    for member in members { member.thread.join() }
  }

  // ---- what the control plane asks ---------------------------------------------------------

  /// Connections open now.
  package var liveConnections: Int { shared.connections }

  /// Connections that are at this server now or being dialled to it, over all workers, whatever
  /// snapshot and backend sent them there.
  package func inFlight(server: SocketAddress) -> Int {
    shared.identities.inFlight(Identity(server: server))
  }

  /// From now on new connections are routed by this table. False: a worker's mailbox is full.
  package func install(_ table: RouteTable) -> Bool { post(.install(table)) }

  /// Stops accepting; live connections go on.
  @discardableResult
  package func drain() -> Bool { post(.drain) }

  /// Ends what still lives.
  @discardableResult
  package func endAll(_ why: EndAll) -> Bool { post(.endAll(why)) }

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

  /// A page of a worker's live connections; nil when it did not answer in time. Workers are
  /// looked at one after the other, so the whole is no picture of one instant.
  package func sessions(worker: Int, from cursor: UInt32, limit: Int) -> SessionPage? {
    guard members.indices.contains(worker), let reply = try? Reply<SessionPage>(),
      members[worker].mailbox.post(.list(from: cursor, limit: limit, reply: reply))
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

  package func stopAndJoin() { WorkerPool.stop(members) }
}

/// The sockets on their way to a worker's thread. The thread's body lives as long as the thread
/// and keeps what it captured, so it must not capture the sockets: the worker closes them in a
/// drain by letting go.
private final class HandedOver: Sendable {
  private let sockets: Guarded<[ListeningSocket]>

  init(_ sockets: [ListeningSocket]) { self.sockets = Guarded(sockets) }

  func take() -> [ListeningSocket] {
    sockets.withLock { sockets in
      defer { sockets = [] }
      return sockets
    }
  }
}
