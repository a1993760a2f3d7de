import Glibc
import System
import TestLaunch

/// A backend's listening socket. Closed, and its Unix path removed, when the last reference goes.
package final class ListeningSocket: Sendable {
  private let state: Guarded<Int32>
  package let endpoint: Endpoint

  package var descriptor: Int32 { state.withLock { $0 } }
  package var port: UInt16 { endpoint.port }

  /// `receiveBuffer` is SO_RCVBUF in bytes, which accepted connections inherit.
  package init(
    _ wanted: Endpoint = .loopback(0), backlog: Int32 = 4096, receiveBuffer: Int32? = nil
  ) throws {
    let descriptor = socket(wanted.family, StreamSocket.kind, 0)
    guard descriptor >= 0 else { throw TestFailure("socket: \(errorText(errno))") }
    var on: Int32 = 1
    setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, 4)
    if var receiveBuffer { setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &receiveBuffer, 4) }
    let bound = wanted.withSockaddr { bind(descriptor, $0, $1) }
    guard bound == 0, listen(descriptor, backlog) == 0 else {
      let code = errno
      Glibc.close(descriptor)
      throw TestFailure("listen at \(wanted): \(errorText(code))")
    }
    state = Guarded(descriptor)
    endpoint = Endpoint.read { getsockname(descriptor, $0, $1) }.endpoint
  }

  deinit { close() }

  package func accept(until deadline: Deadline = .generous) throws -> StreamSocket {
    while true {
      let descriptor = descriptor
      let accepted = launch_accept(descriptor)
      if accepted >= 0 { return StreamSocket(adopting: accepted) }
      let code = errno
      guard code == EAGAIN || code == EINTR || code == ECONNABORTED else {
        throw TestFailure("accept at \(endpoint): \(errorText(code))")
      }
      var ready = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
      if poll(&ready, 1, deadline.remainingMs) == 0 {
        throw TestFailure("no connection to \(endpoint) in time")
      }
    }
  }

  /// A connection that comes within `ms` milliseconds, or nil.
  package func accept(withinMs ms: Int) throws -> StreamSocket? {
    var ready = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    return poll(&ready, 1, Int32(ms)) > 0 ? try accept() : nil
  }

  package func close() {
    let old = state.withLock { descriptor in
      defer { descriptor = -1 }
      return descriptor
    }
    guard old >= 0 else { return }
    Glibc.close(old)
    if case .unix(let path) = endpoint, !path.hasPrefix("@") { unlink(path) }
  }
}

/// A listener that is there and never takes a connection: its accept queue (backlog 0 holds one) is
/// full, so Linux drops every further SYN, as a firewall or a hung machine does.
package final class BlackHole: Sendable {
  private let listening: ListeningSocket
  private let filling: Guarded<[Int32]>
  package var endpoint: Endpoint { listening.endpoint }

  package init(at endpoint: Endpoint = .loopback(0)) throws {
    listening = try ListeningSocket(endpoint, backlog: 0)
    var descriptors: [Int32] = []
    // The queue is full when a connect stays under way; a SYN on loopback is answered at once.
    for _ in 0..<8 {
      let descriptor = try StreamSocket.startConnecting(to: listening.endpoint)
      descriptors.append(descriptor)
      var ready = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
      if poll(&ready, 1, 100) == 0 { break }
    }
    filling = Guarded(descriptors)
  }

  /// Empties the queue and takes what comes from now on; SYNs sent again get through.
  package func open() -> ListeningSocket {
    filling.withLock { descriptors in
      for descriptor in descriptors { Glibc.close(descriptor) }
      descriptors = []
    }
    return listening
  }

  deinit { _ = open() }
}
