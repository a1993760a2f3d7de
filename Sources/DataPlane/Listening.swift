internal import CSluice
internal import System
package import Wire

/// An address to accept from, and what its sockets get.
package struct ListenAddress: Sendable {
  /// Index into the route table's listeners.
  package let listener: Int
  package let address: SocketAddress
  package let backlog: Int
  /// Empty: the system's. tcp(7), TCP_CONGESTION
  package let congestion: String
  /// Permission bits of a Unix socket's file.
  package let mode: UInt32
  /// An open socket to use instead of a new one; it is taken over.
  package let inherited: Int32?

  package init(
    listener: Int, address: SocketAddress, backlog: Int, congestion: String = "",
    mode: UInt32 = 0o666, inherited: Int32? = nil
  ) {
    self.listener = listener
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
  let listener: Int
  /// Whether one worker alone accepts from it.
  let isExclusive: Bool
  let address: SocketAddress

  /// Takes over an open descriptor.
  init(
    owning descriptor: Int32, listener: Int, isExclusive: Bool, address: SocketAddress
  ) {
    self.address = address
    self.descriptor = descriptor
    self.listener = listener
    self.isExclusive = isExclusive
  }

  deinit { _ = Descriptor(owning: descriptor) }
}

/// Opens the sockets of all addresses: one per worker for TCP (SO_REUSEPORT), one for all workers
/// for Unix and inherited ones. An address of a family that this machine does not have is left out.
///
/// - Returns: the sockets of each worker.
func openListeners(
  _ addresses: [ListenAddress], workers: Int
) throws(ListenError) -> [[ListeningSocket]] {
  var sockets = [[ListeningSocket]](repeating: [], count: workers)
  for address in addresses {
    if address.isShared {
      let socket = try open(address, isExclusive: workers == 1)
      guard let socket else { continue }
      for index in sockets.indices { sockets[index].append(socket) }
    } else {
      for index in sockets.indices {
        guard let socket = try open(address, isExclusive: true) else { continue }
        sockets[index].append(socket)
      }
    }
  }
  return sockets
}

private let familyNotSupported: Int32 = 97  // EAFNOSUPPORT

private func open(
  _ address: ListenAddress, isExclusive: Bool
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
      owning: descriptor, listener: address.listener, isExclusive: isExclusive,
      address: address.address)
  }
  if error.number == familyNotSupported { return nil }
  throw ListenError(address: address, error: StartError(error))
}

/// An address that could not be opened.
package struct ListenError: Error, Sendable {
  package let address: ListenAddress
  package let error: StartError
}
