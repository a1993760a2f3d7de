import Wire

/// What one file says, before its parts are held against each other: everything that could be
/// read, with its place. A part that could not be read is nil or missing, and already reported.
struct Draft: Sendable {
  var root: Position
  var workers = WorkerCount.auto
  var events = EventsChoice.auto
  var log = LogSettings()
  var limits = Limits()
  var timeouts = TimeoutOverrides()
  var drainMs = Timeouts.drainDefaultMs
  /// Nil when the file has none.
  var listeners: [ListenerDraft]?
  var backends: [BackendDraft]?
}

struct ListenerDraft: Sendable {
  var name: Located<String>
  var binds: [BindDraft] = []
  var type = ListenerType.tcp
  /// The backend's name; nil when missing or unreadable.
  var backend: Located<String>?
  var timeouts = TimeoutOverrides()
  var congestion: String?
  var backlog: Int?
}

/// One item of `bind`: as written, and the sockets it asks for.
struct BindDraft: Sendable {
  var text: Located<String>
  var addresses: [SocketAddress]
}

struct BackendDraft: Sendable {
  var name: Located<String>
  var servers: [Located<Server>] = []
  var sendProxy: Located<SendProxy>?
  var balance = Balance.roundRobin
  var retries: Int?
  var timeouts = TimeoutOverrides()
  var source: Located<SocketAddress>?
  var splice: Located<SpliceChoice>?
  var congestion: String?
}
