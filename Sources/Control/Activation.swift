internal import Config
internal import System
internal import Wire

/// Which listeners get the sockets that a service manager opened for them.
///
/// A socket under a listener's name is that listener's, whatever its address; the listener then has
/// these sockets only, so the service manager alone decides where it is. Any other socket is used
/// in place of the `bind` that has its address.
struct Activation: Sendable {
  /// The snapshot with the addresses of sockets under a listener's name in place of its `bind`.
  private(set) var snapshot: Snapshot
  /// Sentences: any of these and the snapshot cannot be served.
  private(set) var errors: [String] = []
  /// Sentences about sockets that nobody takes connections from.
  private(set) var warnings: [String] = []
  /// Sentences about addresses that differ from those of the file.
  private(set) var notes: [String] = []

  init(_ configured: Snapshot, _ inherited: InheritedSockets) {
    snapshot = configured
    for index in snapshot.listeners.indices { adopt(inherited.listening, by: index) }
    for socket in inherited.listening { look(at: socket) }
    for other in inherited.others {
      warnings.append(
        Activation.words(other.descriptor, other.name)
          + " was handed over, but is no listening stream socket")
    }
  }

  private mutating func adopt(_ sockets: [InheritedSocket], by index: Int) {
    let listener = snapshot.listeners[index]
    let own = sockets.filter { $0.name == listener.name }.map(\.address)
    guard !own.isEmpty else { return }
    snapshot.listeners[index].binds = own
    let left = listener.binds.filter { bind in
      !sockets.contains { $0.name == listener.name && $0.serves(bind) }
    }
    if !left.isEmpty {
      notes.append(
        "listener \(listener.name): \(Activation.list(own)), handed over under its name, instead "
          + "of \(Activation.list(left))")
    }
  }

  private mutating func look(at socket: InheritedSocket) {
    let users = snapshot.listeners.filter { $0.binds.contains(where: socket.serves) }
    let owner = users.first { $0.name == socket.name }
    for user in users where owner != nil && user.name != socket.name {
      errors.append(
        "listener \(user.name): \(socket.address) was handed over under the name of another "
          + "listener, \(socket.name ?? "")")
    }
    if users.isEmpty {
      warnings.append(
        "\(Activation.words(socket.descriptor, socket.name)), \(socket.address), was handed over "
          + "and belongs to no listener: it has neither the name nor a `bind` of one; whoever "
          + "connects to it waits")
    }
  }

  private static func words(_ descriptor: Int32, _ name: String?) -> String {
    "descriptor \(descriptor)" + (name.map { " (\"\($0)\")" } ?? "")
  }

  private static func list(_ addresses: [SocketAddress]) -> String {
    addresses.map { "\($0)" }.joined(separator: ", ")
  }
}
