import Glibc
import System
import TestLaunch

/// How a stream ended for its reader.
package enum Ending: Hashable, Sendable { case fin, reset }

/// One end of a connection. Non-blocking underneath; every call waits until a deadline at most.
/// Closed at the latest when the last reference goes.
package final class StreamSocket: Sendable {
  private let state: Guarded<Int32>

  /// The other end's address at the time of connecting, and our own.
  package let remote: Endpoint
  package let local: Endpoint

  /// -1 once closed.
  package var descriptor: Int32 { state.withLock { $0 } }

  static var kind: Int32 {
    [SOCK_STREAM, SOCK_NONBLOCK, SOCK_CLOEXEC].reduce(0) { $0 | Int32($1.rawValue) }
  }

  /// Takes over a connected, non-blocking descriptor.
  init(adopting descriptor: Int32) {
    state = Guarded(descriptor)
    remote = Endpoint.read { getpeername(descriptor, $0, $1) }.endpoint
    local = Endpoint.read { getsockname(descriptor, $0, $1) }.endpoint
    if local.family != AF_UNIX { setOption(IPPROTO_TCP.asInt32, TCP_NODELAY, 1) }
  }

  deinit { close() }

  // MARK: Connecting

  /// Connects from `source` (an address, as a second loopback address is); `port` 0 is any.
  /// `receiveBuffer` is SO_RCVBUF in bytes, set before connecting so that it bounds the window too.
  package static func connect(
    to endpoint: Endpoint, from source: String? = nil, port: UInt16 = 0,
    receiveBuffer: Int32? = nil, until deadline: Deadline = .generous
  ) throws -> StreamSocket {
    let descriptor = try startConnecting(
      to: endpoint, from: source, port: port, receiveBuffer: receiveBuffer)
    var ready = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
    while poll(&ready, 1, deadline.remainingMs) < 0 && errno == EINTR {}
    var code: Int32 = ETIMEDOUT
    var length = socklen_t(4)
    if ready.revents != 0 { getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &code, &length) }
    guard code == 0 else {
      Glibc.close(descriptor)
      throw ConnectFailure(endpoint: endpoint, code: code)
    }
    return StreamSocket(adopting: descriptor)
  }

  /// The errno of a connect that failed.
  package struct ConnectFailure: Error, CustomStringConvertible {
    package let endpoint: Endpoint
    package let code: Int32
    package var description: String { "connect to \(endpoint): \(errorText(code))" }
  }

  /// A non-blocking connect under way, as a bare descriptor: for filling accept queues, too.
  static func startConnecting(
    to endpoint: Endpoint, from source: String? = nil, port: UInt16 = 0,
    receiveBuffer: Int32? = nil
  ) throws -> Int32 {
    let descriptor = socket(endpoint.family, kind, 0)
    guard descriptor >= 0 else { throw ConnectFailure(endpoint: endpoint, code: errno) }
    if var receiveBuffer {
      setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &receiveBuffer, 4)
    }
    if let source {
      // Without this a bind to port 0 takes a port number for all destinations, ip(7).
      var on: Int32 = 1
      setsockopt(descriptor, IPPROTO_IP.asInt32, IP_BIND_ADDRESS_NO_PORT, &on, 4)
      let bound = Endpoint.inet(source, port).withSockaddr { bind(descriptor, $0, $1) }
      if bound != 0 {
        let code = errno
        Glibc.close(descriptor)
        throw ConnectFailure(endpoint: .inet(source, port), code: code)
      }
    }
    let result = endpoint.withSockaddr { Glibc.connect(descriptor, $0, $1) }
    if result != 0 && errno != EINPROGRESS {
      let code = errno
      Glibc.close(descriptor)
      throw ConnectFailure(endpoint: endpoint, code: code)
    }
    return descriptor
  }

  // MARK: Reading

  /// What one receive call gave.
  package enum Received: Sendable {
    case bytes([UInt8])
    case ended(Ending)
  }

  /// Waits for bytes or the end of the stream; at most `limit` bytes at once.
  package func receive(atMost limit: Int, until deadline: Deadline = .generous) throws -> Received {
    while true {
      var count = 0
      let bytes = [UInt8](unsafeUninitializedCapacity: limit) { buffer, used in
        count = recv(descriptor, buffer.baseAddress, limit, 0)
        used = max(0, count)
      }
      if count > 0 { return .bytes(bytes) }
      if count == 0 { return .ended(.fin) }
      switch errno {
      case EAGAIN: try waitReady(POLLIN, "bytes from \(remote) at \(local)", deadline)
      case EINTR: continue
      case ECONNRESET, EPIPE: return .ended(.reset)
      default: throw TestFailure("recv from \(remote): \(errorText(errno))")
      }
    }
  }

  package func readExactly(_ count: Int, until deadline: Deadline = .generous) throws -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(count)
    while bytes.count < count {
      switch try receive(atMost: count - bytes.count, until: deadline) {
      case .bytes(let more): bytes += more
      case .ended(let ending):
        throw TestFailure("\(ending) from \(remote) after \(bytes.count) of \(count) bytes")
      }
    }
    return bytes
  }

  /// Everything up to the end of the stream.
  package func readToEnd(
    until deadline: Deadline = .generous
  ) throws -> (bytes: [UInt8], ending: Ending) {
    var bytes: [UInt8] = []
    while true {
      switch try receive(atMost: 65536, until: deadline) {
      case .bytes(let more): bytes += more
      case .ended(let ending): return (bytes, ending)
      }
    }
  }

  /// The first thing to read within `ms` milliseconds, or nil when there is nothing.
  package func receive(withinMs ms: Int) throws -> Received? {
    var ready = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    guard poll(&ready, 1, Int32(ms)) > 0 else { return nil }
    return try receive(atMost: 65536)
  }

  // MARK: Writing

  /// Throws `WriteFailure` when the connection is gone.
  package func write(_ bytes: [UInt8], until deadline: Deadline = .generous) throws {
    try bytes.withUnsafeBytes { try write($0, until: deadline) }
  }

  package func write(_ text: String, until deadline: Deadline = .generous) throws {
    try write(Array(text.utf8), until: deadline)
  }

  package struct WriteFailure: Error, CustomStringConvertible {
    package let code: Int32
    package var description: String { "send: \(errorText(code))" }
  }

  package func write(_ bytes: UnsafeRawBufferPointer, until deadline: Deadline) throws {
    var sent = 0
    while sent < bytes.count {
      let count = Glibc.send(
        descriptor, bytes.baseAddress.map { $0 + sent }, bytes.count - sent,
        Int32(MSG_NOSIGNAL))
      if count >= 0 {
        sent += count
      } else if errno == EAGAIN {
        try waitReady(POLLOUT, "room to send to \(remote) from \(local)", deadline)
      } else if errno != EINTR {
        throw WriteFailure(code: errno)
      }
    }
  }

  /// Sends FIN; reading goes on. shutdown(2).
  package func finish() { shutdown(descriptor, Int32(SHUT_WR)) }

  /// Waits until the other end's kernel has acknowledged everything written.
  package func waitUntilAcknowledged(until deadline: Deadline = .generous) throws {
    try wait(for: "\(remote) to take what \(local) sent", until: deadline) {
      launch_unsent_bytes(descriptor) <= 0
    }
  }

  // MARK: Ending

  /// Closes with RST whatever has been sent or not: SO_LINGER with 0 seconds, socket(7).
  package func reset() {
    var linger = linger(l_onoff: 1, l_linger: 0)
    setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout<linger>.size))
    close()
  }

  /// An ordinary close; the kernel turns it into RST when there is unread input.
  package func close() {
    let old = state.withLock { descriptor in
      defer { descriptor = -1 }
      return descriptor
    }
    if old >= 0 { Glibc.close(old) }
  }

  package func setOption(_ level: Int32, _ option: Int32, _ value: Int32) {
    var value = value
    setsockopt(descriptor, level, option, &value, 4)
  }

  private func waitReady(_ events: Int32, _ what: String, _ deadline: Deadline) throws {
    var ready = pollfd(fd: descriptor, events: Int16(events), revents: 0)
    let count = poll(&ready, 1, deadline.remainingMs)
    if count == 0 { throw TestFailure("no \(what) in time") }
  }
}

extension Int {
  /// Glibc's protocol numbers are Int in Swift, and system calls want Int32.
  var asInt32: Int32 { Int32(self) }
}
