internal import CLibc
internal import Wire

/// Tells the service manager that started this process how it fares: the protocol of sd_notify(3),
/// which is a datagram of `NAME=value` lines to the Unix socket that NOTIFY_SOCKET names.
package struct ServiceNotifier: ~Copyable, Sendable {
  /// One line of a datagram.
  package enum Message: Sendable, Equatable {
    /// The start, or a reload, is over.
    case ready
    /// A reload begins, at this time of CLOCK_MONOTONIC in microseconds: `Type=notify-reload`
    /// tells by it that the reload it asked for is meant.
    case reloading(monotonicUs: UInt64)
    case stopping
    /// One line for people; `systemctl status` prints it.
    case status(String)
    /// A sign of life.
    case watchdog
    /// What goes on, the start or the end, may take this long from now on.
    case extendTimeout(us: UInt64)
  }

  private let socket: Descriptor
  private let address: SocketAddress
  /// The service manager ends this process when no `watchdog` comes for this many microseconds;
  /// nil when it does not wait for one.
  package let watchdogUs: UInt64?

  /// A send waits this long for a service manager that does not read.
  private static let sendMs: UInt32 = 1_000

  /// Who to tell, out of the environment, which no longer has it then; nil when nobody wants to
  /// know. To be called once, before other threads start.
  /// [EINVAL: the socket is neither a path nor an abstract name; ENAMETOOLONG; EMFILE]
  package static func take() throws(SystemError) -> ServiceNotifier? {
    let place = EnvironmentVariable.take("NOTIFY_SOCKET")
    let us = EnvironmentVariable.take("WATCHDOG_USEC").flatMap { UInt64($0) }
    let process = EnvironmentVariable.take("WATCHDOG_PID")
    guard let place else { return nil }
    // WATCHDOG_PID absent means whoever has WATCHDOG_USEC. sd_watchdog_enabled(3)
    let isMeant = process == nil || process.flatMap { Int32($0) } == Privileges.processID
    return try ServiceNotifier(place, watchdogUs: isMeant ? us : nil)
  }

  /// - Parameter place: an absolute path, or `@name` in the abstract namespace.
  package init(_ place: String, watchdogUs: UInt64? = nil) throws(SystemError) {
    guard place.hasPrefix("/") || place.hasPrefix("@"), place.utf8.count > 1 else {
      throw SystemError("NOTIFY_SOCKET", .invalid)
    }
    let address = SocketAddress.unix(
      path: place.hasPrefix("@") ? "\0" + place.dropFirst() : place)
    _ = try Sockets.rawAddress(address)
    let number = try checked(system_notify_open(ServiceNotifier.sendMs), "socket")
    self.address = address
    socket = Descriptor(owning: number)
    self.watchdogUs = watchdogUs.flatMap { $0 > 0 ? $0 : nil }
  }

  /// Sends all of it in one datagram.
  /// [EAGAIN: no room within a second; ENOENT, ECONNREFUSED: nobody is there]
  package func send(_ messages: [Message]) throws(SystemError) {
    let text = messages.map(\.line).joined(separator: "\n")
    let bytes = Array(text.utf8)
    var raw = try Sockets.rawAddress(address)
    _ = try checked(
      unsafe system_notify_send(socket.number, &raw, bytes, bytes.count), "sendto")
  }
}

extension ServiceNotifier.Message {
  var line: String {
    switch self {
    case .ready: "READY=1"
    case .reloading(let us): "RELOADING=1\nMONOTONIC_USEC=\(us)"
    case .stopping: "STOPPING=1"
    // A line feed would begin another variable.
    case .status(let text): "STATUS=" + text.map { $0.isNewline ? " " : String($0) }.joined()
    case .watchdog: "WATCHDOG=1"
    case .extendTimeout(let us): "EXTEND_TIMEOUT_USEC=\(us)"
    }
  }
}
