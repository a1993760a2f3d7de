import Glibc

/// The service manager's end of sd_notify(3): hears what a program says of itself, in order.
package final class NotifySocket: Sendable {
  /// What NOTIFY_SOCKET is to be.
  package let place: String
  private let descriptor: Int32

  /// - Parameter place: an absolute path, or `@name` in the abstract namespace.
  package init(_ place: String) throws {
    self.place = place
    descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard descriptor >= 0,
      Endpoint.unix(place).withSockaddr({ bind(descriptor, $0, $1) }) == 0
    else { throw TestFailure("a datagram socket at \(place): \(errorText(errno))") }
  }

  deinit { close(descriptor) }

  /// The lines of the next datagram.
  package func next(until deadline: Deadline = .generous) throws -> [String] {
    guard let lines = hear(waitingAtMostMs: deadline.remainingMs) else {
      throw TestFailure("nothing more was said at \(place)")
    }
    return lines
  }

  /// The next datagram that has a line for which this holds.
  package func next(
    until deadline: Deadline = .generous, where holds: (String) -> Bool
  ) throws -> [String] {
    while true {
      let lines = try next(until: deadline)
      if lines.contains(where: holds) { return lines }
    }
  }

  /// The lines of a datagram that is there already, or nil.
  package func waiting() -> [String]? { hear(waitingAtMostMs: 0) }

  private func hear(waitingAtMostMs ms: Int32) -> [String]? {
    var ready = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    guard poll(&ready, 1, ms) > 0 else { return nil }
    let bytes = [UInt8](unsafeUninitializedCapacity: 4096) { buffer, count in
      count = max(0, recv(descriptor, buffer.baseAddress, 4096, 0))
    }
    return String(decoding: bytes, as: UTF8.self).split(
      separator: "\n", omittingEmptySubsequences: false
    ).map(String.init)
  }
}
