internal import AdminAPI
internal import NIOCore
internal import NIOHTTP1
internal import System

/// One connection to the admin socket, on the event loop: collects a request, has it answered
/// elsewhere, writes the answer. One request at a time; everything has a bound and a deadline.
final class AdminConnection: ChannelDuplexHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias OutboundIn = Never
  typealias OutboundOut = HTTPServerResponsePart

  enum Bounds {
    /// Request line and header fields. `ctl` needs 200 bytes, curl with cookies a few kilobytes.
    static let head = 16 << 10
    static let fields = 100
    /// The longest request is a ban with a reason.
    static let body = 64 << 10
  }

  private enum State {
    case waiting
    case reading(HTTPRequestHead)
    /// Whether the connection stays open afterwards.
    case answering(keepAlive: Bool)
    case streaming(AdminStream)
    case closing
  }

  private let desk: AdminDesk
  private let loop: AdminLoop
  private let caller: LocalSockets.Caller
  /// The role it was counted with; roles change at a reload, counts must not.
  private let countedAs: AdminRole?
  /// Nil until the channel is active, and again when it no longer is.
  private var wire: ChannelHandlerContext?
  private var isCounted = false
  private var state = State.waiting
  private var body: [UInt8] = []
  /// Of the request in hand.
  private var version = HTTPVersion.http1_1
  private var deadline: Scheduled<Void>?
  /// The channel wants to read, and is let when the answer is gone.
  private var holdsRead = false
  /// More came than one request, or no more can come.
  private var isLast = false
  /// Bytes of the answer that the loop's account has.
  private var pending = 0

  init(_ desk: AdminDesk, _ loop: AdminLoop, _ caller: LocalSockets.Caller) {
    self.desk = desk
    self.loop = loop
    self.caller = caller
    countedAs = desk.role(of: caller)
  }

  // ---- the life of the connection ----------------------------------------------------------

  func channelActive(context: ChannelHandlerContext) {
    wire = context
    loop.connections[ObjectIdentifier(self)] = self
    isCounted = loop.crowd.enter(user: caller.user, role: countedAs)
    if isCounted {
      arm(ms: loop.deadlines.requestMs)
    } else {
      refuse(Failure(.unavailable, "too many connections; try again"))
    }
    context.fireChannelActive()
  }

  func channelInactive(context: ChannelHandlerContext) {
    if case .streaming(let stream) = state { stream.end() }
    state = .closing
    deadline?.cancel()
    settle()
    wire = nil
    if isCounted { loop.crowd.leave(user: caller.user, role: countedAs) }
    loop.forget(self)
    context.fireChannelInactive()
  }

  /// Nothing is read while an answer is on its way: who sends more waits in the kernel.
  func read(context: ChannelHandlerContext) {
    switch state {
    case .waiting, .reading, .streaming: context.read()
    case .answering, .closing: holdsRead = true
    }
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    guard case ChannelEvent.inputClosed? = event as? ChannelEvent else {
      return context.fireUserInboundEventTriggered(event)
    }
    switch state {
    case .waiting, .reading: close()
    case .answering: isLast = true
    case .streaming, .closing: break
    }
  }

  func channelWritabilityChanged(context: ChannelHandlerContext) {
    if case .streaming(let stream) = state { stream.pump() }
    context.fireChannelWritabilityChanged()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    switch state {
    case .waiting, .reading:
      guard let fault = error as? HTTPParserError else { return close() }
      switch fault {
      case .headerOverflow:
        refuse(Failure(.tooLarge, "the head is longer than \(Bounds.head) bytes"), status: 431)
      case .invalidEOFState, .closedConnection:
        close()
      default:
        refuse(Failure(.invalid, "this is not HTTP/1.1"))
      }
    case .answering:
      // What follows the request is no request; this answer is the last.
      isLast = true
    case .streaming, .closing:
      close()
    }
  }

  /// The server ends: at once, or when the answer that is on its way is gone.
  func stop() {
    switch state {
    case .answering: isLast = true
    case .streaming(let stream): finish(stream)
    case .waiting, .reading, .closing: close()
    }
  }

  /// Tells the reader of a stream that this was the last of it.
  private func finish(_ stream: AdminStream) {
    stream.end()
    state = .closing
    guard let wire else { return }
    let written = wire.eventLoop.makePromise(of: Void.self)
    let bound = NIOLoopBound(self, eventLoop: wire.eventLoop)
    written.futureResult.whenComplete { _ in bound.value.close() }
    send(.end(nil), flush: true, written)
  }

  func close() {
    if case .streaming(let stream) = state { stream.end() }
    state = .closing
    wire?.close(promise: nil)
  }

  private func arm(ms: Int64) {
    deadline?.cancel()
    guard let wire else { return }
    let bound = NIOLoopBound(self, eventLoop: wire.eventLoop)
    deadline = wire.eventLoop.scheduleTask(in: .milliseconds(ms)) { bound.value.close() }
  }

  private func settle() {
    loop.crowd.pendingBytes -= pending
    pending = 0
  }

  private func readOn() {
    guard holdsRead else { return }
    holdsRead = false
    wire?.read()
  }

  // ---- the request -------------------------------------------------------------------------

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch (unwrapInboundIn(data), state) {
    case (.head(let head), .waiting): begin(head)
    case (.body(let more), .reading): collect(more)
    case (.end, .reading(let head)): take(head)
    case (.head, .answering), (.body, .answering), (.end, .answering):
      // Sent without waiting for the answer: not carried out, and the caller sees the end.
      isLast = true
    case (.body, .waiting), (.end, .waiting), (.head, .reading), (_, .streaming), (_, .closing):
      break
    }
  }

  private func begin(_ head: HTTPRequestHead) {
    state = .reading(head)
    version = head.version
    body = []
    arm(ms: loop.deadlines.requestMs)
    let length = head.headers.first(name: "content-length").flatMap { Int($0) } ?? 0
    if length > Bounds.body { return refuseBody() }
    let expectations = head.headers[canonicalForm: "expect"]
    if expectations.contains(where: { $0.lowercased() == "100-continue" }) {
      send(.head(HTTPResponseHead(version: .http1_1, status: .continue)), flush: true)
    }
  }

  private func collect(_ more: ByteBuffer) {
    guard body.count + more.readableBytes <= Bounds.body else { return refuseBody() }
    body.append(contentsOf: more.readableBytesView)
  }

  private func refuseBody() {
    refuse(Failure(.tooLarge, "the body is longer than \(Bounds.body) bytes"))
  }

  private func take(_ head: HTTPRequestHead) {
    deadline?.cancel()
    state = .answering(keepAlive: head.isKeepAlive)
    let request: AdminRequest
    do throws(Failure) {
      request = try AdminRequest(
        method: head.method.rawValue, target: head.uri, body: body, caller: caller)
    } catch {
      return write(.failure(error))
    }
    body = []
    if desk.mayStream(request) { return stream() }
    guard let wire else { return }
    let bound = NIOLoopBound(self, eventLoop: wire.eventLoop)
    let isTaken = desk.submit(request) { [gate = loop.gate] answer in
      gate.execute { bound.value.write(answer) }
    }
    if !isTaken { write(.failure(Failure(.unavailable, "too many requests wait; try again"))) }
  }

  // ---- the answer --------------------------------------------------------------------------

  /// The last answer of a connection, to what was no whole request.
  private func refuse(_ failure: Failure, status: Int? = nil) {
    state = .answering(keepAlive: false)
    var answer = AdminAnswer.failure(failure)
    if let status { answer.status = status }
    write(answer)
  }

  private func write(_ answer: AdminAnswer) {
    guard let wire, case .answering(let wanted) = state else { return }
    var answer = answer
    if loop.crowd.pendingBytes + answer.body.count > AdminCrowd.pendingBytesMax {
      answer = .failure(Failure(.unavailable, "too many answers were not taken yet; try again"))
    }
    pending = answer.body.count
    loop.crowd.pendingBytes += pending
    arm(ms: loop.deadlines.takeMs)
    var head = head(of: answer.status, answer.contentType, keepAlive: wanted && !isLast)
    head.headers.add(name: "content-length", value: "\(answer.body.count)")
    if let allow = answer.allow { head.headers.add(name: "allow", value: allow) }
    send(.head(head))
    send(.body(.byteBuffer(wire.channel.allocator.buffer(bytes: answer.body))))
    let written = wire.eventLoop.makePromise(of: Void.self)
    let bound = NIOLoopBound(self, eventLoop: wire.eventLoop)
    written.futureResult.whenComplete { result in
      if case .success = result { bound.value.rest(keepAlive: wanted) } else { bound.value.close() }
    }
    send(.end(nil), flush: true, written)
  }

  /// Ready for the next request, or the end.
  private func rest(keepAlive: Bool) {
    settle()
    guard case .answering = state else { return }
    if !keepAlive || isLast { return close() }
    state = .waiting
    arm(ms: loop.deadlines.idleMs)
    readOn()
  }

  private func stream() {
    guard let wire else { return }
    send(.head(head(of: 200, "application/x-ndjson", keepAlive: false)))
    let bound = NIOLoopBound(self, eventLoop: wire.eventLoop)
    let stream = AdminStream(
      desk.operations.events, wire.channel, loop.gate, heartbeatMs: loop.deadlines.heartbeatMs,
      write: { lines in bound.value.write(lines: lines) }, cut: { bound.value.close() })
    state = .streaming(stream)
    stream.begin()
    readOn()
  }

  private func write(lines: [UInt8]) {
    guard let wire else { return }
    send(.body(.byteBuffer(wire.channel.allocator.buffer(bytes: lines))), flush: true)
  }

  private func send(
    _ part: HTTPServerResponsePart, flush: Bool = false, _ promise: EventLoopPromise<Void>? = nil
  ) {
    wire?.write(wrapOutboundOut(part), promise: promise)
    if flush { wire?.flush() }
  }

  /// In the version of the request: who speaks 1.0 knows no chunks.
  private func head(of status: Int, _ contentType: String, keepAlive: Bool) -> HTTPResponseHead {
    var headers = HTTPHeaders([("content-type", contentType), ("cache-control", "no-store")])
    if !keepAlive { headers.add(name: "connection", value: "close") }
    return HTTPResponseHead(
      version: version, status: HTTPResponseStatus(statusCode: status), headers: headers)
  }
}
