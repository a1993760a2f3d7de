internal import CLibc
package import Wire

/// Waits for many non-blocking sockets at once. epoll(7), edge by edge.
package final class Poller: Sendable {
  private let descriptor: Descriptor

  /// [EMFILE, ENFILE, ENOMEM]
  package init() throws(SystemError) {
    descriptor = Descriptor(owning: try checked(system_poller_open(), "epoll_create1"))
  }

  package struct Ready: Sendable, Equatable {
    package let token: UInt64
    /// Both when the socket has failed.
    package let isReadable: Bool
    package let isWritable: Bool
  }

  /// Reports each change of `number` to readable or writable under this token, until it is closed.
  /// [ENOMEM, ENOSPC: epoll_ctl(2)]
  package func watch(_ number: Int32, token: UInt64) throws(SystemError) {
    _ = try checked(system_poller_watch(descriptor.number, number, token), "epoll_ctl")
  }

  /// At most 128 of them; none when interrupted. A nil time waits for ever.
  package func wait(atMostMs: Int32?) throws(SystemError) -> [Ready] {
    var ready = [system_ready](repeating: system_ready(), count: Poller.mostReady)
    let count = unsafe system_poller_wait(
      descriptor.number, &ready, Int32(Poller.mostReady), atMostMs ?? -1)
    return ready.prefix(Int(try checked(count, "epoll_wait"))).map {
      Ready(token: $0.token, isReadable: $0.is_readable, isWritable: $0.is_writable)
    }
  }

  private static let mostReady = 128
}

/// Non-blocking stream sockets.
extension Sockets {
  /// Begins to connect; the socket is writable once it is connected, or has failed (`failure`).
  /// A Unix socket connects at once, or fails with EAGAIN when its queue is full.
  /// [ECONNREFUSED, ENETUNREACH, EADDRNOTAVAIL, EMFILE, …: socket(2), bind(2), connect(2)]
  ///
  /// - Parameter source: the address to connect from, with port 0.
  package static func startConnecting(
    to address: SocketAddress, from source: SocketAddress? = nil
  ) throws(SystemError) -> Descriptor {
    var raw = try rawAddress(address)
    var number: Int32 = -1
    if let source {
      var rawSource = try rawAddress(source)
      _ = try checked(unsafe system_connect_start(&raw, &rawSource, &number), "connect")
    } else {
      _ = try checked(unsafe system_connect_start(&raw, nil, &number), "connect")
    }
    return Descriptor(owning: number)
  }

  /// Why a socket has failed, and nil when it has not. The kernel tells it once. [SO_ERROR]
  package static func failure(of number: Int32) -> SystemError.Code? {
    let result = system_socket_error(number)
    return result < 0 ? SystemError.Code(rawValue: -result) : nil
  }

  /// Sends what the kernel takes at once, without SIGPIPE. [EAGAIN, EPIPE, ECONNRESET: send(2)]
  package static func sendSome(
    _ bytes: ArraySlice<UInt8>, over number: Int32
  ) throws(SystemError) -> Int {
    let result = unsafe bytes.withUnsafeBufferPointer { buffer -> Int64 in
      guard let start = buffer.baseAddress else { return 0 }
      return unsafe system_send(number, start, buffer.count)
    }
    return try checked(result, "send")
  }

  /// Appends at most `limit` bytes; 0 is the end. [EAGAIN, ECONNRESET: read(2)]
  package static func receiveSome(
    atMost limit: Int, appendingTo bytes: inout [UInt8], from number: Int32
  ) throws(SystemError) -> Int {
    let before = bytes.count
    bytes.append(contentsOf: repeatElement(0, count: limit))
    let result = unsafe bytes.withUnsafeMutableBufferPointer { buffer -> Int64 in
      guard let start = buffer.baseAddress else { return 0 }
      return unsafe system_read(number, start + before, limit)
    }
    bytes.removeLast(limit - max(0, Int(result)))
    return try checked(result, "read")
  }

  /// getsockname(2)
  package static func localAddress(ofNumber number: Int32) throws(SystemError) -> SocketAddress {
    var raw = system_address()
    _ = try checked(unsafe system_local_address(number, &raw), "getsockname")
    return socketAddress(raw)
  }
}
