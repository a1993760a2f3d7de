internal import Config
internal import DataPlane
internal import Routing
internal import System
internal import Wire

/// A listening socket that a snapshot asks for.
struct Binding: Sendable, Equatable {
  /// Index into the snapshot's listeners.
  let listener: Int
  let address: SocketAddress
  let backlog: Int
  /// Empty: the system's.
  let congestion: String
  /// A socket that was handed over, to be used instead of one of our own.
  let inherited: Int32?

  /// The one address that connections reach here, if it is one. Of a socket that was handed over
  /// nobody knows: TPROXY brings connections to others.
  fileprivate var reached: SocketAddress? {
    if case .unix = address { return address }
    return address.isWildcard || address.port == 0 || inherited != nil ? nil : address
  }
}

/// Which listening sockets stand where. A socket is known by its address and keeps its tag as long
/// as any snapshot asks for that address; so it outlives reloads, whichever listener has it.
///
/// A value: a reload works on a copy, and keeps it when it succeeds.
struct SocketBook: Sendable {
  private struct Standing: Sendable {
    let tag: UInt32
    let backlog: Int
    let congestion: String
    let isInherited: Bool
  }

  private var standing: [SocketAddress: Standing] = [:]
  private var nextTag: UInt32 = 0

  /// From the sockets that stand to those that are wanted.
  struct Step: Sendable {
    var opened: [ListenAddress] = []
    /// Tags of sockets that are wanted no more, and the files of those that have one.
    var retired: [UInt32] = []
    var retiredPaths: [String] = []
    /// Addresses of sockets that were handed over and are wanted no more.
    var retiredInherited: Set<SocketAddress> = []
    /// Kept sockets that get something else from now on.
    var tuned: [ListenAddress] = []
    /// All that stand afterwards.
    var entries: [SocketEntry] = []
  }

  var addresses: [SocketAddress] { Array(standing.keys) }

  mutating func step(to bindings: [Binding]) -> Step {
    var step = Step()
    let wanted = Set(bindings.map(\.address))
    for (address, socket) in standing where !wanted.contains(address) {
      step.retired.append(socket.tag)
      if socket.isInherited {
        step.retiredInherited.insert(address)
      } else if let path = address.file {
        step.retiredPaths.append(path)
      }
      standing[address] = nil
    }
    for binding in bindings {
      let before = standing[binding.address]
      let tag = before?.tag ?? nextTag
      if before == nil { nextTag += 1 }
      let address = ListenAddress(
        tag: tag, address: binding.address, backlog: binding.backlog,
        congestion: binding.congestion, inherited: binding.inherited)
      if let before {
        let isSame = (before.backlog, before.congestion) == (binding.backlog, binding.congestion)
        if !isSame { step.tuned.append(address) }
      } else {
        step.opened.append(address)
      }
      standing[binding.address] = Standing(
        tag: tag, backlog: binding.backlog, congestion: binding.congestion,
        isInherited: before?.isInherited ?? (binding.inherited != nil))
      step.entries.append(
        SocketEntry(
          tag: tag, listener: binding.listener,
          local: binding.reached))
    }
    return step
  }
}

extension SocketAddress {
  /// The path of the file that a Unix listener makes; nil for all others.
  var file: String? {
    guard case .unix(let path) = self, !path.isEmpty, path.utf8.first != 0 else { return nil }
    return path
  }
}
