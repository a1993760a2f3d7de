internal import CSluice
internal import System
package import Wire

/// An address to accept from, and what its sockets get.
package struct ListenAddress: Sendable {
  /// The tag of all its sockets. `SocketEntry.tag`
  package let tag: UInt32
  package let address: SocketAddress
  package let backlog: Int
  /// Empty: the system's. tcp(7), TCP_CONGESTION
  package let congestion: String
  /// Permission bits of a Unix socket's file.
  package let mode: UInt32
  /// An open socket to use instead of a new one; it is taken over.
  package let inherited: Int32?

  package init(
    tag: UInt32, address: SocketAddress, backlog: Int, congestion: String = "",
    mode: UInt32 = 0o666, inherited: Int32? = nil
  ) {
    self.tag = tag
    self.address = address
    self.backlog = backlog
    self.congestion = congestion
    self.mode = mode
    self.inherited = inherited
  }

  /// Whether all workers accept from one socket.
  fileprivate var isShared: Bool {
    if case .unix = address { return true }
    return inherited != nil
  }
}

/// A listening socket. Closed when the last worker has let go of it.
final class ListeningSocket: Sendable {
  let descriptor: Int32
  let tag: UInt32
  /// Whether one worker alone accepts from it.
  let isExclusive: Bool
  private let address: SocketAddress
  private let register: SocketRegister

  /// Takes over an open descriptor.
  init(
    owning descriptor: Int32, _ address: ListenAddress, isExclusive: Bool,
    _ register: SocketRegister
  ) {
    self.descriptor = descriptor
    self.isExclusive = isExclusive
    self.register = register
    tag = address.tag
    self.address = address.address
    register.add(self.address)
  }

  func tune(_ wanted: ListenAddress) {
    wanted.congestion.withBytes { congestion in
      var options = sluice_listen_options()
      options.backlog = UInt32(clamping: wanted.backlog)
      options.congestion = congestion
      unsafe sluice_listener_tune(descriptor, family, &options)
    }
  }

  private var family: sluice_family { address.withEndpoint { $0.family } }

  deinit {
    _ = Descriptor(owning: descriptor)
    register.remove(address)
  }
}

/// Which addresses the data plane listens at, sockets that are about to be closed included.
final class SocketRegister: Sendable {
  private let open: Guarded<[SocketAddress: Int]> = Guarded([:])

  func add(_ address: SocketAddress) { open.withLock { $0[address, default: 0] += 1 } }

  func remove(_ address: SocketAddress) {
    open.withLock { open in
      open[address, default: 1] -= 1
      if open[address] == 0 { open[address] = nil }
    }
  }

  /// Sockets, not addresses: each worker has its own.
  var count: Int { open.withLock { $0.values.reduce(0, +) } }

  var addresses: [SocketAddress] { open.withLock { Array($0.keys) } }
}

/// Open sockets that no worker has yet. Closed when it is let go of before anybody took them.
package final class OpenedSockets: Sendable {
  /// By worker.
  let sockets: [[ListeningSocket]]

  fileprivate init(_ sockets: [[ListeningSocket]]) { self.sockets = sockets }

  /// None.
  package init(workers: Int) { sockets = [[ListeningSocket]](repeating: [], count: workers) }
}

/// Opens the sockets of all addresses: one per worker for TCP (SO_REUSEPORT), one for all workers
/// for Unix and inherited ones. An address of a family that this machine does not have is left out.
///
/// - Returns: the sockets of each worker.
func openListeners(
  _ addresses: [ListenAddress], workers: Int, _ register: SocketRegister
) throws(ListenError) -> OpenedSockets {
  var sockets = [[ListeningSocket]](repeating: [], count: workers)
  for address in addresses {
    if address.isShared {
      let socket = try open(address, isExclusive: workers == 1, register)
      guard let socket else { continue }
      for index in sockets.indices { sockets[index].append(socket) }
    } else {
      for index in sockets.indices {
        guard let socket = try open(address, isExclusive: true, register) else { continue }
        sockets[index].append(socket)
      }
    }
  }
  return OpenedSockets(sockets)
}

private let familyNotSupported: Int32 = 97  // EAFNOSUPPORT

private func open(
  _ address: ListenAddress, isExclusive: Bool, _ register: SocketRegister
) throws(ListenError) -> ListeningSocket? {
  var options = sluice_listen_options()
  options.backlog = UInt32(clamping: address.backlog)
  options.mode = address.mode
  options.shared_port = true
  var error = sluice_error()
  let descriptor = address.address.withEndpoint { endpoint in
    address.congestion.withBytes { congestion in
      var endpoint = endpoint
      options.congestion = congestion
      guard let inherited = address.inherited else {
        return unsafe sluice_listener_open(&endpoint, &options, &error)
      }
      let adopted = unsafe sluice_listener_adopt(inherited, endpoint.family, &options, &error)
      return adopted ? inherited : -1
    }
  }
  if descriptor >= 0 {
    return ListeningSocket(
      owning: descriptor, address, isExclusive: isExclusive, register)
  }
  if error.number == familyNotSupported { return nil }
  throw ListenError(address: address, error: StartError(error))
}

/// An address that could not be opened.
package struct ListenError: Error, Sendable {
  package let address: ListenAddress
  package let error: StartError
}
