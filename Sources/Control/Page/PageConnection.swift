internal import NIOCore
internal import NIOHTTP1

/// One connection to the page's server, on the event loop: a request, its answer, the next one.
/// Reads only, and everything has a bound.
final class PageConnection: ChannelInboundHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias OutboundOut = HTTPServerResponsePart

  enum Bounds {
    /// Request line and header fields.
    static let head = 16 << 10
    static let fields = 100
    /// Connections at once; browsers take six each.
    static let connections = 128
    /// From connecting, or from the answer before, to the end of a request; and for taking an
    /// answer.
    static let seconds: Int64 = 20
  }

  /// What connections share, on the event loop only.
  final class Crowd {
    var count = 0
  }

  private let desk: PageDesk
  private let crowd: Crowd
  private var wire: ChannelHandlerContext?
  private var head: HTTPRequestHead?
  private var deadline: Scheduled<Void>?

  init(_ desk: PageDesk, _ crowd: Crowd) {
    self.desk = desk
    self.crowd = crowd
  }

  func channelActive(context: ChannelHandlerContext) {
    wire = context
    crowd.count += 1
    if crowd.count > Bounds.connections { return context.close(promise: nil) }
    arm()
  }

  func channelInactive(context: ChannelHandlerContext) {
    crowd.count -= 1
    deadline?.cancel()
    wire = nil
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    context.close(promise: nil)
  }

  private func arm() {
    deadline?.cancel()
    guard let wire else { return }
    let bound = NIOLoopBound(self, eventLoop: wire.eventLoop)
    deadline = wire.eventLoop.scheduleTask(in: .seconds(Bounds.seconds)) {
      bound.value.wire?.close(promise: nil)
    }
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch unwrapInboundIn(data) {
    case .head(let head): self.head = head
    case .body:
      // Nothing here takes a body.
      context.close(promise: nil)
    case .end:
      guard let head else { return }
      self.head = nil
      take(head, context.eventLoop)
    }
  }

  private func take(_ head: HTTPRequestHead, _ loop: any EventLoop) {
    guard desk.admits(hosts: head.headers["host"]) else {
      return write(.refusal(421, "this name is not served here; see metrics.hosts"), head)
    }
    guard head.method == .GET || head.method == .HEAD else {
      return write(.refusal(405, "this can only be looked at"), head)
    }
    let path = head.uri.prefix { $0 != "?" }
    let bound = NIOLoopBound(self, eventLoop: loop)
    let answer = desk.answer(String(path)) { answer in
      loop.execute { bound.value.write(answer, head) }
    }
    if let answer { write(answer, head) }
  }

  private func write(_ answer: PageAnswer, _ request: HTTPRequestHead) {
    guard let wire else { return }
    arm()
    var headers = PageConnection.headers
    headers.add(name: "content-type", value: answer.type)
    headers.add(name: "content-length", value: "\(answer.body.count)")
    if answer.status == 405 { headers.add(name: "allow", value: "GET, HEAD") }
    if !request.isKeepAlive { headers.add(name: "connection", value: "close") }
    let head = HTTPResponseHead(
      version: request.version, status: HTTPResponseStatus(statusCode: answer.status),
      headers: headers)
    wire.write(wrapOutboundOut(.head(head)), promise: nil)
    if request.method != .HEAD {
      let body = wire.channel.allocator.buffer(bytes: answer.body)
      wire.write(wrapOutboundOut(.body(.byteBuffer(body))), promise: nil)
    }
    let written = wire.eventLoop.makePromise(of: Void.self)
    if !request.isKeepAlive {
      let bound = NIOLoopBound(self, eventLoop: wire.eventLoop)
      written.futureResult.whenComplete { _ in bound.value.wire?.close(promise: nil) }
    }
    wire.writeAndFlush(wrapOutboundOut(.end(nil)), promise: written)
  }

  /// Nothing of another origin, no frame around it, nothing kept.
  private static let headers: HTTPHeaders = [
    "content-security-policy":
      "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
  ]
}
