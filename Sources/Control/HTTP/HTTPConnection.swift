internal import AdminAPI
internal import NIOCore
internal import NIOHTTP1

/// One connection to a server of ours, on the event loop: collects a request, has it answered,
/// writes the answer. One request at a time; everything has a bound and a deadline.
final class HTTPConnection: ChannelDuplexHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias OutboundIn = Never
  typealias OutboundOut = HTTPServerResponsePart

  enum Bounds {
    /// Request line and header fields. `ctl` needs 200 bytes, curl with cookies a few kilobytes.
    static let head = 16 << 10
    static let fields = 100
  }

  private enum State {
    case waiting
    case reading(HTTPRequestHead)
    /// Whether the connection stays open afterwards.
    case answering(keepAlive: Bool)
    case streaming(EventStream)
    case closing
  }

  private let loop: HTTPLoop
  private let caller: any HTTPCaller
  /// Nil until the channel is active, and again when it no longer is.
  private var wire: ChannelHandlerContext?
  private var hasPlace = false
  private var state = State.waiting
  private var body: [UInt8] = []
  /// Of the request in hand.
  private var version = HTTPVersion.http1_1
  /// RFC 9110 section 9.3.2: the answer to HEAD has no content.
  private var isHead = false
  private var deadline: Scheduled<Void>?
  /// The channel wants to read, and is let when the answer is gone.
  private var holdsRead = false
  /// More came than one request, or no more can come.
  private var isLast = false
  /// Bytes of the answer that the loop's account has.
  private var pending = 0

  init(_ loop: HTTPLoop, _ caller: any HTTPCaller) {
    self.loop = loop
    self.caller = caller
  }

  // ---- the life of the connection ----------------------------------------------------------

  func channelActive(context: ChannelHandlerContext) {
    wire = context
    loop.connections[ObjectIdentifier(self)] = self
    hasPlace = caller.enter()
    if hasPlace {
      arm(ms: loop.settings.deadlines.requestMs)
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
    if hasPlace { caller.leave() }
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
  private func finish(_ stream: EventStream) {
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
    loop.pendingBytes -= pending
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
    isHead = head.method == .HEAD
    body = []
    arm(ms: loop.settings.deadlines.requestMs)
    let length = head.headers.first(name: "content-length").flatMap { Int($0) } ?? 0
    if length > loop.settings.bodyMax { return refuseBody() }
    let expectations = head.headers[canonicalForm: "expect"]
    if expectations.contains(where: { $0.lowercased() == "100-continue" }) {
      send(.head(HTTPResponseHead(version: .http1_1, status: .continue)), flush: true)
    }
  }

  private func collect(_ more: ByteBuffer) {
    guard body.count + more.readableBytes <= loop.settings.bodyMax else { return refuseBody() }
    body.append(contentsOf: more.readableBytesView)
  }

  private func refuseBody() {
    refuse(Failure(.tooLarge, "the body is longer than \(loop.settings.bodyMax) bytes"))
  }

  private func take(_ head: HTTPRequestHead) {
    deadline?.cancel()
    state = .answering(keepAlive: head.isKeepAlive)
    guard let wire else { return }
    let request = HTTPRequest(
      method: head.method.rawValue, target: head.uri, hosts: head.headers["host"], body: body)
    body = []
    let bound = NIOLoopBound(self, eventLoop: wire.eventLoop)
    let reply = caller.ask(request) { [gate = loop.gate] answer in
      gate.execute { bound.value.write(answer) }
    }
    switch reply {
    case .answer(let answer): write(answer)
    case .later: break
    case .events(let hub): stream(hub)
    }
  }

  // ---- the answer --------------------------------------------------------------------------

  /// The last answer of a connection, to what was no whole request.
  private func refuse(_ failure: Failure, status: Int? = nil) {
    state = .answering(keepAlive: false)
    var answer = caller.refusal(failure)
    if let status { answer.status = status }
    write(answer)
  }

  private func write(_ answer: HTTPAnswer) {
    guard let wire, case .answering(let wanted) = state else { return }
    var answer = answer
    if loop.pendingBytes + answer.body.count > HTTPLoop.pendingBytesMax {
      answer = caller.refusal(
        Failure(.unavailable, "too many answers were not taken yet; try again"))
    }
    pending = answer.body.count
    loop.pendingBytes += pending
    arm(ms: loop.settings.deadlines.takeMs)
    var head = head(of: answer.status, answer.contentType, keepAlive: wanted && !isLast)
    head.headers.add(name: "content-length", value: "\(answer.body.count)")
    if let allow = answer.allow { head.headers.add(name: "allow", value: allow) }
    send(.head(head))
    if !isHead { send(.body(.byteBuffer(wire.channel.allocator.buffer(bytes: answer.body)))) }
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
    isHead = false
    arm(ms: loop.settings.deadlines.idleMs)
    readOn()
  }

  private func stream(_ hub: EventHub) {
    guard let wire else { return }
    send(.head(head(of: 200, "application/x-ndjson", keepAlive: false)))
    let bound = NIOLoopBound(self, eventLoop: wire.eventLoop)
    let stream = EventStream(
      hub, wire.channel, loop.gate, heartbeatMs: loop.settings.deadlines.heartbeatMs,
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
    headers.add(contentsOf: loop.settings.fields)
    if !keepAlive { headers.add(name: "connection", value: "close") }
    return HTTPResponseHead(
      version: version, status: HTTPResponseStatus(statusCode: status), headers: headers)
  }
}
