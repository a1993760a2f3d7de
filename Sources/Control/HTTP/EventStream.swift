internal import AdminAPI
internal import NIOCore
internal import Synchronization
internal import System

/// Events to one reader, on the event loop. Takes from the hub only what the reader has room for: a
/// slow one loses events, is told how many, and is cut when it takes nothing for too long.
final class EventStream {
  /// Without taking anything for so many heartbeats a reader is cut.
  private static let patience = 2
  /// Lines that are written at once, so that one reader's backlog does not keep the loop.
  private static let batch = 64

  private let hub: EventHub
  private let channel: any Channel
  private let gate: LoopGate
  private let heartbeatMs: Int64
  private let write: ([UInt8]) -> Void
  private let cut: () -> Void
  private var next: UInt64 = 0
  private var subscription: Int?
  private var heartbeat: RepeatedTask?
  private var missed = 0
  /// Set while a call of `pump` is on its way to the loop, so that a burst of events is one.
  private let isWoken = Woken()

  private final class Woken: Sendable {
    let flag = Atomic(false)
  }

  init(
    _ hub: EventHub, _ channel: any Channel, _ gate: LoopGate, heartbeatMs: Int64,
    write: @escaping ([UInt8]) -> Void, cut: @escaping () -> Void
  ) {
    self.hub = hub
    self.channel = channel
    self.gate = gate
    self.heartbeatMs = heartbeatMs
    self.write = write
    self.cut = cut
  }

  func begin() {
    next = hub.next
    let loop = channel.eventLoop
    let bound = NIOLoopBound(self, eventLoop: loop)
    subscription = hub.subscribe { [isWoken, gate] in
      if isWoken.flag.exchange(true, ordering: .acquiringAndReleasing) { return }
      gate.execute { bound.value.pump() }
    }
    heartbeat = loop.scheduleRepeatedTask(
      initialDelay: .milliseconds(heartbeatMs), delay: .milliseconds(heartbeatMs)
    ) { _ in bound.value.beat() }
    put([event("heartbeat", "events follow")])
  }

  func end() {
    if let subscription { hub.unsubscribe(subscription) }
    subscription = nil
    heartbeat?.cancel()
    heartbeat = nil
  }

  /// Writes what is there, while the reader takes it.
  func pump() {
    isWoken.flag.store(false, ordering: .releasing)
    guard subscription != nil, channel.isWritable else { return }
    let (events, _, lost) = hub.events(from: next)
    next += lost
    var lines: [Event] = []
    if lost > 0 {
      lines.append(event("lost", "\(lost) events were not read in time", ["count": "\(lost)"]))
    }
    let taken = events.prefix(EventStream.batch)
    next += UInt64(taken.count)
    lines += taken
    guard !lines.isEmpty else { return }
    put(lines)
    guard taken.count < events.count else { return }
    let bound = NIOLoopBound(self, eventLoop: channel.eventLoop)
    channel.eventLoop.execute { bound.value.pump() }
  }

  private func beat() {
    if channel.isWritable {
      missed = 0
      put([event("heartbeat", "")])
      return
    }
    missed += 1
    if missed >= EventStream.patience { cut() }
  }

  private func put(_ events: [Event]) {
    write(events.flatMap { AdminJSON.encode($0) + [UInt8(ascii: "\n")] })
  }

  private func event(_ kind: String, _ message: String, _ fields: [String: String] = [:]) -> Event {
    Event(time: Clock.timestamp, kind: kind, message: message, fields: fields)
  }
}
