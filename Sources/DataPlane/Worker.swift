internal import CSluice
internal import System
internal import Wire

/// The Swift face of one C worker. Made, used and destroyed on the thread that owns it.
@safe struct Worker: ~Copyable {
  private let raw: OpaquePointer

  /// - Throws: what the kernel refuses: memory, io_uring, epoll.
  init(_ options: sluice_options) throws(StartError) {
    var options = options
    var error = sluice_error()
    guard let raw = unsafe sluice_worker_create(&options, &error) else {
      throw StartError(error)
    }
    unsafe self.raw = raw
  }

  deinit { unsafe sluice_worker_destroy(raw) }

  var source: EventSource {
    unsafe sluice_worker_source(raw) == .epoll ? .epoll : .ring
  }

  /// One turn; the only call that blocks. Returns how many events there are.
  mutating func turn(waitingAtMostMs: Int32) -> Int {
    Int(unsafe sluice_worker_turn(raw, waitingAtMostMs))
  }

  /// The events of the last turn. The borrow keeps the next turn away.
  @_lifetime(borrow self)
  func events(_ count: Int) -> Span<sluice_event> {
    unsafe _overrideLifetime(
      Span(_unsafeStart: sluice_worker_events(raw), count: count), borrowing: self)
  }

  func answer(_ id: sluice_id, _ answer: inout sluice_answer) -> sluice_result {
    unsafe sluice_worker_answer(raw, id, &answer)
  }

  /// Relays both halves to the end by `route`, after `consumed` of the client's held bytes.
  ///
  /// - Parameter holding: instead of relaying them, hold the client's next bytes up to so many and
  ///   ask; the upstream's flow meanwhile.
  func relay(
    _ id: sluice_id, by route: inout sluice_route, consuming consumed: Int, holding: Int?
  ) -> sluice_result {
    unsafe withUnsafePointer(to: &route) { pointer in
      var answer = sluice_answer()
      answer.up.mode = holding == nil ? .relay : .hold
      answer.up.limit = UInt64(holding ?? 0)
      answer.down.mode = .relay
      answer.consumed = UInt32(consumed)
      unsafe answer.route = unsafe pointer
      return unsafe sluice_worker_answer(raw, id, &answer)
    }
  }

  /// Dials a second server beside the one that is slow.
  func race(_ id: sluice_id, by route: inout sluice_route) -> sluice_result {
    unsafe sluice_worker_race(raw, id, &route)
  }

  /// What the second server, which goes on alone, is told first.
  func settle(_ id: sluice_id, saying first: sluice_bytes) -> sluice_result {
    unsafe sluice_worker_settle(raw, id, first)
  }

  /// Dials by `route`, and lets neither side hear of the other: all the client says is held, behind
  /// the `consumed` bytes of those in hand, and the server's words are asked about.
  func converse(
    _ id: sluice_id, by route: inout sluice_route, consuming consumed: Int
  ) -> sluice_result {
    unsafe withUnsafePointer(to: &route) { pointer in
      var answer = sluice_answer()
      answer.up.mode = .hold
      answer.down.mode = .hold
      // One byte more than is listened to.
      answer.down.limit = UInt64(StartTLSClient.hearingLimit + 1)
      answer.consumed = UInt32(consumed)
      unsafe answer.route = unsafe pointer
      return unsafe sluice_worker_answer(raw, id, &answer)
    }
  }

  /// Says something to the client, and holds what it answers as `hold` does.
  func say(
    _ said: sluice_bytes, to id: sluice_id, holding limit: Int, withinMs: UInt32?,
    consuming consumed: Int
  ) -> sluice_result {
    var answer = sluice_answer()
    answer.up.mode = .hold
    answer.up.limit = UInt64(limit)
    answer.consumed = UInt32(consumed)
    answer.hold_ms = withinMs ?? 0
    answer.send_client = said
    return unsafe sluice_worker_answer(raw, id, &answer)
  }

  /// Says something to the upstream; `converse` goes on.
  func say(_ said: sluice_bytes, toUpstreamOf id: sluice_id) -> sluice_result {
    var answer = sluice_answer()
    answer.side = .upstream
    answer.send_upstream = said
    return unsafe sluice_worker_answer(raw, id, &answer)
  }

  /// Ends `converse`: what the client says is relayed, and so is what the upstream says behind the
  /// `consumed` bytes, or is asked about first.
  func letGo(_ id: sluice_id, consuming consumed: Int, asking: Bool) {
    var answer = sluice_answer()
    answer.side = .upstream
    answer.up.mode = .relay
    answer.down.mode = asking ? .hold : .relay
    answer.consumed = UInt32(consumed)
    _ = unsafe sluice_worker_answer(raw, id, &answer)
  }

  /// Gives up an upstream that has got nothing of the client's: another dial may follow.
  func redial(_ id: sluice_id, _ error: Int32) { _ = unsafe sluice_worker_redial(raw, id, error) }

  /// Dials by `route`, and says something first, in the upstream's TLS if that has it; what the
  /// upstream says is held, and the client's half does as `up` says.
  func dial(
    _ id: sluice_id, by route: inout sluice_route, saying said: sluice_bytes,
    up: sluice_half_answer, consuming: UInt32
  ) -> sluice_result {
    unsafe withUnsafePointer(to: &route) { pointer in
      var answer = sluice_answer()
      answer.up = up
      answer.down = .held
      answer.consumed = consuming
      answer.send_upstream = said
      unsafe answer.route = unsafe pointer
      return unsafe sluice_worker_answer(raw, id, &answer)
    }
  }

  /// Lets go of an upstream between two exchanges: a redial event without an error follows.
  func release(_ id: sluice_id) -> Bool { unsafe sluice_worker_release(raw, id) == .done }

  /// As `redial`, and says whether one follows.
  func giveUp(_ id: sluice_id, _ error: Int32) -> Bool {
    unsafe sluice_worker_redial(raw, id, error) == .done
  }

  /// Holds the client's bytes behind the `consumed` ones, up to `limit`, and asks at each arrival.
  /// `withinMs` sets the deadline; nil leaves it as it is.
  func hold(_ id: sluice_id, limit: Int, withinMs: UInt32?, consuming consumed: Int = 0) {
    var answer = sluice_answer()
    answer.up.mode = .hold
    answer.up.limit = UInt64(limit)
    answer.consumed = UInt32(consumed)
    answer.hold_ms = withinMs ?? 0
    _ = unsafe sluice_worker_answer(raw, id, &answer)
  }

  /// Lets the connection wait, its bytes behind the `consumed` ones kept, until it is called; asks
  /// at the latest after `withinMs`.
  func park(_ id: sluice_id, withinMs: UInt32, consuming consumed: Int) {
    var answer = sluice_answer()
    answer.up.mode = .hold
    answer.consumed = UInt32(consumed)
    answer.hold_ms = withinMs
    answer.park = true
    _ = unsafe sluice_worker_answer(raw, id, &answer)
  }

  /// A connection that waits is asked about again; nothing happens to one that does not.
  func fact(_ id: sluice_id) { _ = unsafe sluice_worker_fact(raw, id) }

  /// Relays what the client sends from now on, and what of it is held.
  func relayUp(_ id: sluice_id) {
    var answer = sluice_answer()
    answer.up.mode = .relay
    _ = unsafe sluice_worker_answer(raw, id, &answer)
  }

  /// - Parameter reply: sent to the client before it is closed.
  func reject(_ id: sluice_id, reason: UInt32, sending reply: Span<UInt8>) {
    unsafe reply.withUnsafeBufferPointer { buffer in
      var bytes = sluice_bytes()
      unsafe bytes.start = buffer.baseAddress
      bytes.length = UInt32(buffer.count)
      _ = unsafe sluice_worker_reject(raw, id, bytes, reason)
    }
  }

  /// - Parameter reply: said to the client before it is closed.
  func reject(_ id: sluice_id, reason: UInt32, reply bytes: sluice_bytes) {
    _ = unsafe sluice_worker_reject(raw, id, bytes, reason)
  }

  /// The same with a reply of ours.
  func reject(_ id: sluice_id, reason: UInt32, reply: StaticString? = nil) {
    var bytes = sluice_bytes()
    if let reply {
      unsafe bytes.start = unsafe reply.utf8Start
      bytes.length = UInt32(reply.utf8CodeUnitCount)
    }
    _ = unsafe sluice_worker_reject(raw, id, bytes, reason)
  }

  func kill(_ id: sluice_id, _ end: sluice_end) -> Bool {
    unsafe sluice_worker_kill(raw, id, end) == .done
  }

  /// Ends up to `most` connections from `cursor` on; returns how many.
  func killAll(_ end: sluice_end, cursor: inout UInt32, most: UInt32) -> Int {
    Int(unsafe sluice_worker_kill_all(raw, UInt32.max, end, &cursor, most))
  }

  /// The client's address and the one it reached; nil when it is gone already. `known` spares the
  /// question for the latter.
  func endpoints(
    _ id: sluice_id, reached known: SocketAddress? = nil
  ) -> (client: SocketAddress, local: SocketAddress)? {
    var client = sluice_endpoint()
    if let known {
      guard unsafe sluice_worker_endpoints(raw, id, &client, nil) == .done else { return nil }
      return (SocketAddress(client), known)
    }
    var local = sluice_endpoint()
    guard unsafe sluice_worker_endpoints(raw, id, &client, &local) == .done else { return nil }
    return (SocketAddress(client), SocketAddress(local))
  }

  /// What came of a side's TLS; nil when it speaks none. Lent until the next turn.
  func tls(_ id: sluice_id, _ side: sluice_side) -> sluice_tls_facts? {
    var facts = sluice_tls_facts()
    return unsafe sluice_worker_tls(raw, id, side, &facts) ? facts : nil
  }

  /// What this side remembers of a connection; nil when it is gone.
  func memory(_ id: sluice_id) -> ConnectionMemory? {
    guard let record = unsafe sluice_worker_record(raw, id) else { return nil }
    return unsafe record.load(as: ConnectionMemory.self)
  }

  func remember(_ memory: ConnectionMemory, of id: sluice_id) {
    guard let record = unsafe sluice_worker_record(raw, id) else { return }
    unsafe record.storeBytes(of: memory, as: ConnectionMemory.self)
  }

  func listen(_ descriptor: Int32, tag: UInt32, exclusive: Bool) -> Bool {
    unsafe sluice_worker_listen(raw, descriptor, tag, exclusive)
  }

  /// Hands new connections over to workers of the same version, and takes theirs; 0: it does not.
  func share(as place: Int, version: UInt64) {
    unsafe sluice_worker_share(raw, UInt32(place), version)
  }

  func unlisten(tag: UInt32) { unsafe sluice_worker_unlisten(raw, tag) }

  /// False once a listener that was let go of may be closed.
  func isListening(tag: UInt32) -> Bool { unsafe sluice_worker_listening(raw, tag) }

  /// Whether summaries say what the kernel knows of both sides' paths.
  func measure(_ wanted: Bool) { unsafe sluice_worker_measure(raw, wanted) }

  var stats: sluice_stats {
    var stats = sluice_stats()
    unsafe sluice_worker_stats(raw, &stats)
    return stats
  }

  /// Up to `most` live connections from `cursor` on.
  func sessions(cursor: inout UInt32, most: Int) -> [sluice_session] {
    var sessions = [sluice_session](repeating: sluice_session(), count: most)
    let count = unsafe sessions.withUnsafeMutableBufferPointer { buffer in
      guard let start = buffer.baseAddress else { return 0 }
      return Int(unsafe sluice_worker_list(raw, &cursor, start, UInt32(most)))
    }
    sessions.removeLast(most - count)
    return sessions
  }

  /// What other threads need to end a wait.
  var waker: Waker { unsafe Waker(raw) }
}

/// Ends the wait of a worker from any thread; to be used only while the worker lives.
@safe struct Waker: @unchecked Sendable {
  private let raw: OpaquePointer

  fileprivate init(_ raw: OpaquePointer) { unsafe self.raw = raw }

  func wake() { unsafe sluice_worker_wake(raw) }
}

/// The counts that all workers keep together; outlives them.
@safe final class SharedCounts: @unchecked Sendable {
  let raw: OpaquePointer
  let identities: SharedTable
  let room = WaitingRoom()
  let desk = CredentialDesk()

  /// Sources counted at once, for each connection there may be: with a quarter of the entries in
  /// use, no bucket overflows. 68 bytes each, of address space first; a page that no source ever
  /// falls into costs nothing.
  private static let entriesPerConnection = 4
  /// 1 MiB.
  private static let entriesLeast = 16384

  /// - Parameters:
  ///   - descriptors: how many all workers may open, pipes included.
  ///   - connections: how many there may be at once.
  init(descriptors: Int, connections: Int) throws(StartError) {
    let wanted = max(
      SharedCounts.entriesLeast, connections * SharedCounts.entriesPerConnection)
    // The power of two that is not below.
    let bits = Int.bitWidth - (wanted - 1).leadingZeroBitCount
    identities = try SharedTable(entries: 1 << UInt32(bits))
    let made = unsafe sluice_shared_create(
      UInt32(clamping: descriptors), UInt32(clamping: connections))
    guard let made = unsafe made else { throw StartError(call: "aligned_alloc", number: 12) }
    unsafe raw = made
  }

  deinit { unsafe sluice_shared_destroy(raw) }

  var connections: Int { Int(unsafe sluice_shared_connections(raw)) }

  func pause(_ wanted: Bool) { unsafe sluice_shared_pause(raw, wanted) }

  func spin(_ wanted: Bool) { unsafe sluice_shared_spin(raw, wanted) }

  var pauses: AcceptPauses {
    var pauses = sluice_pauses()
    unsafe sluice_shared_pauses(raw, &pauses)
    return AcceptPauses(
      connections: pauses.connections, descriptors: pauses.descriptors, memory: pauses.memory,
      buffers: pauses.buffers, workers: Int(pauses.workers))
  }
}

/// How often workers stopped accepting since the start, by what was wanting.
package struct AcceptPauses: Hashable, Sendable {
  /// As many as the process may have.
  package var connections: UInt64
  /// What is left of them is kept back.
  package var descriptors: UInt64
  package var memory: UInt64
  /// Nearly all are in use.
  package var buffers: UInt64
  /// Those that do not accept now.
  package var workers: Int

  package init(
    connections: UInt64 = 0, descriptors: UInt64 = 0, memory: UInt64 = 0, buffers: UInt64 = 0,
    workers: Int = 0
  ) {
    self.connections = connections
    self.descriptors = descriptors
    self.memory = memory
    self.buffers = buffers
    self.workers = workers
  }
}

/// Which event source a worker got.
package enum EventSource: Sendable, Equatable {
  case ring
  case epoll
}

/// What the kernel refused at the start of the data plane.
package struct StartError: Error, Sendable, Equatable {
  /// The call that failed.
  package let call: String
  /// Its errno.
  package let number: Int32

  init(call: String, number: Int32) {
    self.call = call
    self.number = number
  }

  init(_ error: SystemError) {
    call = "\(error.operation)"
    number = error.code.rawValue
  }

  init(_ error: sluice_error) {
    call = unsafe error.call.map { unsafe String(cString: $0) } ?? "start"
    number = error.number
  }
}
