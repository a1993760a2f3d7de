/// The file's `admin`: where the admin socket is, and who may do what over it.
package struct AdminSettings: Hashable, Sendable {
  package static let socketDefault = "/run/sluice/admin.sock"
  package static let modeDefault: UInt32 = 0o660

  /// An absolute path of at most 107 bytes. Cannot be changed at run time.
  package var socket: String
  /// Permission bits of the socket's file; write permission is what connecting takes, unix(7).
  package var mode: UInt32
  /// The group of the socket's file; nil leaves the process's own.
  package var group: String?
  /// Who may change things, beside root and the user that the server runs as, who always may.
  package var operate: [Account]
  /// Who may look; whoever may change things may look too.
  package var view: [Account]

  /// A user by name or number, or everybody in a group.
  package enum Account: Hashable, Sendable, CustomStringConvertible {
    case user(String)
    case group(String)

    /// `root`, `1000`, `@adm`; nil for an empty name.
    package init?(_ text: String) {
      let isGroup = text.hasPrefix("@")
      let name = isGroup ? String(text.dropFirst()) : text
      guard !name.isEmpty else { return nil }
      self = isGroup ? .group(name) : .user(name)
    }

    package var description: String {
      switch self {
      case .user(let name): name
      case .group(let name): "@\(name)"
      }
    }
  }

  package init(
    socket: String = AdminSettings.socketDefault, mode: UInt32 = AdminSettings.modeDefault,
    group: String? = nil, operate: [Account] = [.user("root")], view: [Account] = []
  ) {
    self.socket = socket
    self.mode = mode
    self.group = group
    self.operate = operate
    self.view = view
  }
}
