import CSluice
import Glibc
import Synchronization
import System
import TestSupport
import Wire

@testable import DataPlane

/// Where a worker's events come from; tests of the boundary run on each that the kernel allows.
enum Source: CaseIterable, Sendable, CustomStringConvertible {
  case ring
  case epoll

  static let available: [Source] = {
    var error = sluice_error()
    return sluice_ring_probe(&error) ? [.ring, .epoll] : [.epoll]
  }()

  var description: String { self == .ring ? "ring" : "epoll" }
  var raw: sluice_events { self == .ring ? .ring : .epoll }
}

/// One event, copied while it was lent.
struct Seen: @unchecked Sendable {
  let kind: sluice_event_kind
  let id: sluice_id
  let listener: UInt32
  let side: sluice_side
  let final: sluice_final
  let bytes: [UInt8]
  let error: Int32
  let summary: sluice_summary?
  /// The order of arrival in this worker.
  let number: Int

  var brief: String { "\(kind) \(side) \(final) \(text.prefix(40))" }
  var text: String { String(decoding: bytes, as: UTF8.self) }
  /// The ends of a closed event, the first one first.
  var ends: [sluice_end] {
    guard let ends = summary?.ends else { return [] }
    return [0, 8, 16, 24].compactMap { sluice_end(rawValue: UInt8(truncatingIfNeeded: ends >> $0)) }
      .filter { $0 != .none }
  }

  init(_ event: sluice_event, number: Int) {
    kind = event.kind
    id = event.id
    listener = event.listener
    side = event.side
    final = event.final
    bytes = Array(UnsafeBufferPointer(start: event.bytes, count: Int(event.length)))
    error = event.error
    summary = event.summary?.pointee
    self.number = number
  }
}

/// What a script can do; on the worker's thread only.
struct Hands {
  let worker: OpaquePointer

  @discardableResult
  func answer(_ id: sluice_id, _ answer: Answer) -> sluice_result {
    let lent = Lent()
    var raw = sluice_answer()
    raw.up = answer.up.raw
    raw.down = answer.down.raw
    raw.side = answer.side
    raw.consumed = answer.consumed
    raw.hold_ms = answer.holdMs
    raw.park = answer.park
    raw.tls = answer.tls?.raw
    raw.send_client = lent.bytes(answer.sendClient)
    raw.send_upstream = lent.bytes(answer.sendUpstream)
    guard let route = answer.route else { return sluice_worker_answer(worker, id, &raw) }
    var rawRoute = route.lend(lent)
    return withUnsafePointer(to: &rawRoute) { pointer in
      raw.route = pointer
      return withExtendedLifetime(lent) { sluice_worker_answer(worker, id, &raw) }
    }
  }

  @discardableResult
  func reject(_ id: sluice_id, _ reply: [UInt8] = [], reason: UInt32 = 1) -> sluice_result {
    let lent = Lent()
    return withExtendedLifetime(lent) {
      sluice_worker_reject(worker, id, lent.bytes(reply), reason)
    }
  }

  @discardableResult
  func redial(_ id: sluice_id, _ error: Int32) -> sluice_result {
    sluice_worker_redial(worker, id, error)
  }

  @discardableResult
  func release(_ id: sluice_id) -> sluice_result { sluice_worker_release(worker, id) }

  /// What came of a side's TLS.
  func facts(_ id: sluice_id, _ side: sluice_side) -> TLSFacts? {
    var facts = sluice_tls_facts()
    return sluice_worker_tls(worker, id, side, &facts) ? TLSFacts(facts) : nil
  }

  var stats: sluice_stats {
    var stats = sluice_stats()
    sluice_worker_stats(worker, &stats)
    return stats
  }
}

enum Half {
  case keep
  case hold(UInt64)
  case relay(limit: UInt64 = 0)
  case discard

  var raw: sluice_half_answer {
    switch self {
    case .keep: sluice_half_answer(limit: 0, mode: .keep)
    case .hold(let cap): sluice_half_answer(limit: cap, mode: .hold)
    case .relay(let limit): sluice_half_answer(limit: limit, mode: .relay)
    case .discard: sluice_half_answer(limit: 0, mode: .discard)
    }
  }
}

struct Answer {
  var up = Half.keep
  var down = Half.keep
  var side = sluice_side.client
  var consumed: UInt32 = 0
  var holdMs: UInt32 = 0
  var park = false
  var route: Route?
  /// The client's side speaks TLS from here on.
  var tls: TLSServerSetup?
  var sendClient: [UInt8] = []
  var sendUpstream: [UInt8] = []

  /// Both halves, to the end.
  static func relay(_ route: Route? = nil, consumed: UInt32 = 0) -> Answer {
    Answer(up: .relay(), down: .relay(), consumed: consumed, route: route)
  }

  static func hold(_ cap: UInt64 = 4096, ms: UInt32 = 10_000, consumed: UInt32 = 0) -> Answer {
    Answer(up: .hold(cap), consumed: consumed, holdMs: ms)
  }
}

struct Route: Sendable {
  var to: Endpoint
  var source: Endpoint?
  var prefix: [UInt8] = []
  var congestion = ""
  var connectMs: UInt32 = 5000
  var idleMs: UInt32 = 0
  var halfClosedMs: UInt32 = 0
  var maxAgeMs: UInt32 = 0
  var splice = sluice_splice.inline
  var redialsReset = false
  var holdMs: UInt32 = 0
  var asksOpen = false
  var isOutlived = false
  /// The server is spoken to in TLS, by this name.
  var tls: TLSClientSetup?
  var tlsName = "a.example"

  fileprivate func lend(_ lent: Lent) -> sluice_route {
    var route = sluice_route()
    route.address = lent.endpoint(to)
    if let source { route.source = lent.endpoint(source) }
    route.prefix = lent.bytes(prefix)
    route.congestion = lent.bytes(Array(congestion.utf8))
    route.connect_ms = connectMs
    route.idle_ms = idleMs
    route.half_closed_ms = halfClosedMs
    route.max_age_ms = maxAgeMs
    route.splice = splice
    route.redial_reset = redialsReset
    route.hold_ms = holdMs
    route.ask_open = asksOpen
    route.outlived = isOutlived
    route.tls = tls?.raw
    if tls != nil { route.tls_name = lent.bytes(Array(tlsName.utf8)) }
    return route
  }
}

/// Keeps what is lent to C until the call is over.
final class Lent {
  private var buffers: [UnsafeMutableBufferPointer<UInt8>] = []

  func bytes(_ bytes: [UInt8]) -> sluice_bytes {
    let buffer = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: max(1, bytes.count))
    _ = buffer.initialize(from: bytes)
    buffers.append(buffer)
    return sluice_bytes(start: UnsafePointer(buffer.baseAddress), length: UInt32(bytes.count))
  }

  func endpoint(_ endpoint: Endpoint) -> sluice_endpoint {
    var raw = sluice_endpoint()
    guard let address = SocketAddress("\(endpoint)") else { preconditionFailure("\(endpoint)") }
    switch address {
    case .ipv4(let bits, let port):
      (raw.family, raw.low, raw.port) = (.ipv4, UInt64(bits), port)
    case .ipv6(let high, let low, let port, let scope):
      (raw.family, raw.high, raw.low, raw.port) = (.ipv6, high, low, port)
      raw.scope = scope
    case .unix(let path):
      let lent = bytes(Array(path.utf8))
      raw.family = .unix
      raw.path = UnsafeRawPointer(lent.start)?.assumingMemoryBound(to: CChar.self)
      raw.path_length = lent.length
    }
    return raw
  }

  deinit { for buffer in buffers { buffer.deallocate() } }
}

/// A descriptor that is closed when nobody needs it any more.
final class OpenListener: Sendable {
  let descriptor: Int32
  let endpoint: Endpoint

  /// Opened by the data plane, with all the options that it sets.
  init(
    _ wanted: Endpoint = .loopback(0), congestion: String = "", sharedPort: Bool = false,
    mode: UInt32 = 0o600
  ) throws {
    let lent = Lent()
    var options = sluice_listen_options()
    options.backlog = 1024
    options.mode = mode
    options.shared_port = sharedPort
    options.congestion = lent.bytes(Array(congestion.utf8))
    var address = lent.endpoint(wanted)
    var error = sluice_error()
    let opened = withExtendedLifetime(lent) { sluice_listener_open(&address, &options, &error) }
    descriptor = opened
    guard opened >= 0 else {
      endpoint = wanted
      throw OpenFailure(call: error.call.map { String(cString: $0) } ?? "", number: error.number)
    }
    var name = sockaddr_storage()
    var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
    withUnsafeMutablePointer(to: &name) {
      _ = $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        getsockname(opened, $0, &length)
      }
    }
    let port = withUnsafeBytes(of: &name) { UInt16($0[2]) << 8 | UInt16($0[3]) }
    switch wanted {
    case .inet(let host, _): endpoint = .inet(host, port)
    case .unix: endpoint = wanted
    }
  }

  struct OpenFailure: Error {
    let call: String
    let number: Int32
  }

  deinit {
    guard descriptor >= 0 else { return }
    close(descriptor)
    if case .unix(let path) = endpoint, !path.hasPrefix("@") { unlink(path) }
  }
}

/// The counts that workers share.
final class SharedTotals: @unchecked Sendable {
  let raw: OpaquePointer

  init(descriptors: UInt32 = 100_000, connections: UInt32 = 100_000) {
    raw = sluice_shared_create(descriptors, connections)!
  }

  var connections: UInt32 { sluice_shared_connections(raw) }

  deinit { sluice_shared_destroy(raw) }
}

struct WorkerOptions: Sendable {
  var slots: UInt32 = 20_000
  var buffers: UInt32 = 64
  var pipes: UInt32 = 16
  var workers: UInt32 = 1
}

/// A C worker on a thread of its own, whose questions a closure answers. Every wait has a deadline.
final class ScriptedWorker: Sendable {
  typealias Script = @Sendable (Hands, Seen) -> Void

  private let state: State
  private let thread: Job<Void>
  let shared: SharedTotals
  private let listeners = Guarded<[OpenListener]>([])

  init(
    _ source: Source, _ options: WorkerOptions = WorkerOptions(), shared: SharedTotals? = nil,
    script: @escaping Script
  ) throws {
    let shared = shared ?? SharedTotals()
    let state = State(script)
    self.shared = shared
    self.state = state
    thread = Job("worker") { try state.run(source, options, shared) }
    try wait(for: "the worker to start") { state.isReady }
  }

  deinit { stop() }

  /// Ends the worker and what still lives in it.
  func stop() {
    state.stop()
    try? thread.value()
  }

  // MARK: listeners

  @discardableResult
  func listen(
    _ listener: OpenListener, tag: UInt32 = 7, exclusive: Bool = true
  ) throws -> Endpoint {
    let taken = try perform { hands in
      sluice_worker_listen(hands.worker, listener.descriptor, tag, exclusive)
    }
    guard taken else { throw TestFailure("no room for a listener") }
    listeners.withLock { $0.append(listener) }
    return listener.endpoint
  }

  /// A TCP listener on a port of the kernel's choice.
  func listen(tag: UInt32 = 7) throws -> Endpoint { try listen(OpenListener(), tag: tag) }

  // MARK: on the worker's thread

  /// Between two turns.
  func perform<Value: Sendable>(_ body: @escaping @Sendable (Hands) -> Value) throws -> Value {
    let box = Box<Value>()
    state.post { hands in box.value.withLock { $0 = body(hands) } }
    var result: Value?
    try until("the worker to do it") {
      result = box.value.withLock { $0 }
      return result != nil
    }
    return result!
  }

  /// Ends the wait of a turn, from the calling thread.
  func wake() { state.wake() }

  var stats: sluice_stats { get throws { try perform { Stats($0.stats) }.value } }

  /// Turns begun.
  var turns: Int { state.turns.load(ordering: .acquiring) }

  // MARK: what it saw

  var seen: [Seen] { state.seen.withLock { $0 } }

  /// Waits for an event.
  @discardableResult
  func event(
    _ what: String, in milliseconds: Int = 10_000, _ matches: (Seen) -> Bool
  ) throws -> Seen {
    var found: Seen?
    try until("\(what); saw \(seen.map(\.brief))", milliseconds) {
      found = seen.first(where: matches)
      return found != nil
    }
    return found!
  }

  @discardableResult
  func closed(_ id: sluice_id? = nil) throws -> Seen {
    try event("a closed event") { seen in
      guard let id else { return seen.kind == .closed }
      return seen.kind == .closed && seen.id.slot == id.slot && seen.id.generation == id.generation
    }
  }

  /// Waits until so many have closed.
  func closed(count: Int) throws {
    try until("\(count) closed events") { seen.count { $0.kind == .closed } >= count }
  }

  private struct Stats: @unchecked Sendable {
    let value: sluice_stats
    init(_ value: sluice_stats) { self.value = value }
  }
}

func until(
  _ what: @autoclosure () -> String, _ milliseconds: Int = 10_000, _ condition: () throws -> Bool
) throws {
  let deadline = Deadline(inMs: milliseconds)
  while try !condition() {
    guard !deadline.hasPassed else { throw TestFailure("still waiting for \(what())") }
    usleep(300)
  }
}

private final class Box<Value: Sendable>: Sendable {
  let value = Guarded<Value?>(nil)
}

private final class State: Sendable {
  typealias Command = @Sendable (Hands) -> Void

  private struct Pointer: @unchecked Sendable { let raw: OpaquePointer }

  let seen = Guarded<[Seen]>([])
  let turns = Atomic(0)
  private let script: ScriptedWorker.Script
  private let commands = Guarded<[Command]>([])
  private let pointer = Guarded<Pointer?>(nil)
  private let isStopping = Atomic(false)

  init(_ script: @escaping ScriptedWorker.Script) { self.script = script }

  var isReady: Bool { pointer.withLock { $0 != nil } }

  func run(_ source: Source, _ wanted: WorkerOptions, _ shared: SharedTotals) throws {
    var options = sluice_options(
      shared: shared.raw, slots: wanted.slots, buffers: wanted.buffers, pipes: wanted.pipes,
      workers: wanted.workers, events: source.raw)
    var error = sluice_error()
    guard let raw = sluice_worker_create(&options, &error) else {
      throw TestFailure("no worker: errno \(error.number)")
    }
    pointer.withLock { $0 = Pointer(raw: raw) }
    let hands = Hands(worker: raw)
    while !isStopping.load(ordering: .acquiring) {
      turns.wrappingAdd(1, ordering: .acquiringAndReleasing)
      let count = sluice_worker_turn(raw, 1000)
      for position in 0..<Int(count) { handle(sluice_worker_events(raw)[position], hands) }
      let taken = commands.withLock { commands in
        defer { commands = [] }
        return commands
      }
      for command in taken { command(hands) }
    }
    pointer.withLock { $0 = nil }
    sluice_worker_destroy(raw)
  }

  private func handle(_ event: sluice_event, _ hands: Hands) {
    let event = seen.withLock { seen in
      let event = Seen(event, number: seen.count)
      if event.kind == .closed { seen.append(event) }
      return event
    }
    guard event.kind != .closed else { return }
    script(hands, event)
    // Seen by the test once it is answered, so that a test never overtakes the script.
    seen.withLock { $0.append(event) }
  }

  func post(_ command: @escaping Command) {
    commands.withLock { $0.append(command) }
    wake()
  }

  func wake() {
    pointer.withLock { if let pointer = $0 { sluice_worker_wake(pointer.raw) } }
  }

  func stop() {
    isStopping.store(true, ordering: .releasing)
    wake()
  }
}
