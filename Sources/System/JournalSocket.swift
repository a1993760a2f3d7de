internal import CLibc
internal import Wire

/// The socket on which the systemd journal takes entries, one datagram each.
/// https://systemd.io/JOURNAL_NATIVE_PROTOCOL/
package enum JournalSocket {
  package static let path = "/run/systemd/journal/socket"

  /// A socket whose sends go to `path` and never block. [connect(2): ENOENT, ECONNREFUSED]
  package static func connect(_ path: String) throws(SystemError) -> Descriptor {
    var raw = try Sockets.rawAddress(.unix(path: path))
    return Descriptor(owning: try checked(unsafe system_datagram_connect(&raw), "connect"))
  }

  /// Sends one datagram, all of it or nothing. [send(2): EAGAIN while the reader is behind;
  /// ECONNREFUSED, ENOTCONN when it is gone; EMSGSIZE]
  package static func send(
    _ bytes: Span<UInt8>, to socket: borrowing Descriptor
  ) throws(SystemError) -> Int {
    let result = unsafe bytes.withUnsafeBufferPointer { buffer -> Int64 in
      guard let start = buffer.baseAddress else { return 0 }
      return unsafe system_datagram_send(socket.number, start, buffer.count)
    }
    return try checked(result, "send")
  }
}
