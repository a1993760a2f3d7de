import Glibc
import System

/// Port numbers that no other test, of this run or of another on the same machine, is given.
///
/// They lie below the range from which the kernel picks ports of outgoing connections, and each is
/// reserved by an abstract Unix socket bound to its name, which goes when this program ends.
package enum ReservedPort {
  private static let next = Guarded<UInt16>(12_000 + UInt16(UInt32(bitPattern: getpid()) % 15_000))

  package static func take() -> UInt16 {
    for _ in 0..<20_000 {
      let port = next.withLock { next in
        next = next >= 31_999 ? 12_000 : next + 1
        return next
      }
      if reserve(port) && isFree(port) { return port }
    }
    preconditionFailure("no free port between 12000 and 31999")
  }

  /// The first of `count` free ports in a row.
  package static func takeBlock(_ count: UInt16) -> UInt16 {
    var first = take()
    var last = first
    while last - first + 1 < count {
      let port = take()
      if port != last + 1 { first = port }
      last = port
    }
    return first
  }

  private static func reserve(_ port: UInt16) -> Bool {
    let descriptor = socket(AF_UNIX, StreamSocket.kind, 0)
    guard descriptor >= 0 else { return false }
    // Kept open on purpose: it is the reservation.
    if Endpoint.unix("@sluice-test-port-\(port)").withSockaddr({ bind(descriptor, $0, $1) }) == 0 {
      return true
    }
    close(descriptor)
    return false
  }

  private static func isFree(_ port: UInt16) -> Bool {
    ["0.0.0.0", "::"].allSatisfy { host in
      guard let trial = try? ListeningSocket(.inet(host, port), backlog: 1) else { return false }
      trial.close()
      return true
    }
  }
}
