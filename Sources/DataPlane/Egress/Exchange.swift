internal import CSluice
internal import Routing
internal import Wire

/// What is kept of a connection of a forward proxy: where its current request stands. A client may
/// send one request after the other, each to another host, until one makes it a tunnel.
struct Exchange {
  enum Stage: Equatable {
    /// The client's next request is waited for.
    case head
    /// Parked: somebody else checks the credentials, or looks the name up.
    case verifying
    case resolving
    /// The upstream of the request before is let go of; then this request's is dialled.
    case releasing
    /// A tunnel's upstream is dialled.
    case dialling
    /// A parent was asked for a tunnel.
    case asking
    /// The client was told that the tunnel stands; the origin has not said anything.
    case opening
    /// Bytes both ways, to the end.
    case tunnel
    /// A request is on its way, or its response.
    case serving
    /// The same, and the connection ends with the response.
    case last
  }

  /// What has yet to pass of a message.
  enum Body: Equatable {
    case none
    /// A limited relay is under way, and nothing follows it.
    case passing
    case chunked(ChunkedBody)
  }

  /// Who stands at the other end of the upstream connection.
  enum Reached: Equatable {
    case nobody
    case origin(EgressTarget)
    /// The server of this number.
    case parent(Int)
  }

  /// Of its user and its source, in the table of identities.
  struct Entries {
    var user: UInt32?
    var source: UInt32?
  }

  var stage = Stage.head
  var scan = HTTPHeadScan()
  var responseScan = HTTPHeadScan()

  // The request.
  var request: EgressRequest?
  /// What came with it, until it is checked; nil for none that can be.
  var credentials: HTTPCredentials?
  var isTunnel = false
  /// How many of the client's held bytes its head takes up; 0 once they were consumed.
  var headLength = 0
  /// The head as it goes on. Kept for as long as it may have to be sent again.
  var onward: [UInt8] = []
  /// What of the client's bytes behind the head goes with it.
  var upAnswer = sluice_half_answer()
  var up = Body.none
  /// Nothing else is to be expected of the client behind it.
  var isLast = false
  var answersHead = false
  var offersUpgrade = false
  /// It may be sent once more to an upstream that has ended without a word.
  var mayRepeat = false
  /// The rule that took it.
  var rule: Int?
  var isReported = false
  /// Why it was denied: by the guard, or for what the last parent did.
  var range: GuardRange?
  var fault: RejectReason?

  // The way.
  /// Vetted, in the order in which they are tried.
  var addresses: [SocketAddress] = []
  var tried = 0
  /// Being dialled, or reached; and what is dialled beside it.
  var address: SocketAddress?
  var rival: SocketAddress?
  /// Until when this stage may take.
  var untilNs: UInt64 = 0
  var reached = Reached.nobody
  /// The upstream had a request before this one.
  var isReused = false
  var isDirect = true

  // The response.
  var didAnswer = false
  var down = Body.none
  /// The upstream may get another request behind it.
  var keepsUpstream = false
  var status = 0

  // The client.
  var requests = 0
  /// When the last one was over, in milliseconds since 1970.
  var endedWallMs: UInt64 = 0
  var didBegin = false
  /// Bytes of its next request are held.
  var hasMore = false
  var hasEnded = false
  var entries = Entries()

  /// It is over, and the next one is waited for.
  mutating func finish() {
    stage = .head
    scan = HTTPHeadScan()
    responseScan = HTTPHeadScan()
    onward = []
    addresses = []
    up = .none
    down = .none
    didAnswer = false
    didBegin = false
    isReused = true
  }
}

/// What is told of a request, and all that is kept of a connection that has become a tunnel, which
/// may stand for days: an object, so that the table of them is small however many there may be.
final class Tunnel {
  let entries: Exchange.Entries
  /// The rule that took it.
  let rule: Int?
  let isDirect: Bool
  private let isReported: Bool
  private let port: UInt16
  private let status: UInt16
  private let requests: UInt32
  private let user: String?
  private let method: String
  private let host: String
  private let address: SocketAddress?

  /// Nil before the first request.
  init?(_ exchange: Exchange) {
    guard let request = exchange.request else { return nil }
    (entries, rule, isDirect) = (exchange.entries, exchange.rule, exchange.isDirect)
    (isReported, port) = (exchange.isReported, request.target.port)
    (status, requests) = (UInt16(exchange.status), UInt32(clamping: exchange.requests))
    (user, method, host) = (request.user, request.method, "\(request.target.host)")
    address = exchange.address
  }

  /// All but what the table knows: rule and parent.
  var told: ConnectionRecord.Egress {
    ConnectionRecord.Egress(
      method: method, host: host, port: port, user: user, address: address,
      isReported: isReported, requests: Int(requests), status: Int(status))
  }
}

/// A question about a connection of a forward proxy, with what it is answered by.
struct EgressAsk {
  let event: sluice_event
  let ending: Ending
  let plan: EgressPlan
  let listener: ListenerEntry
  let table: RouteTable
  /// Where the client is.
  let client: SocketAddress?

  var id: sluice_id { event.id }

  var limits: HTTPLimits {
    HTTPLimits(head: plan.settings.headBytes, fields: plan.settings.headFields)
  }
}

extension sluice_half_answer {
  static let kept = sluice_half_answer()
  static let relayed = sluice_half_answer(limit: 0, mode: .relay)
  static let discarded = sluice_half_answer(limit: 0, mode: .discard)
  /// As much as fits one buffer.
  static let held = sluice_half_answer(limit: 0, mode: .hold)

  /// - Parameter count: 1 at least, since 0 would have no limit.
  static func relayed(_ count: UInt64) -> sluice_half_answer {
    precondition(count > 0)
    return sluice_half_answer(limit: count, mode: .relay)
  }
}
