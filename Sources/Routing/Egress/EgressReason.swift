/// Why a forward proxy does not do what it was asked for. The raw value is the word in log lines,
/// metric labels and documentation.
package enum EgressReason: String, CaseIterable, Hashable, Sendable {
  /// A rule says `deny`.
  case rule = "egress.rule"
  /// No rule takes it.
  case noRule = "egress.no-rule"
  /// Every address that it would be dialled to is one that the guard keeps clients from.
  case guarded = "egress.guard"
  /// CONNECT to a port that is not among `connect-ports`.
  case connectPort = "egress.connect-port"
  /// A plain request to a port that is not among `ports`.
  case plainPort = "egress.port"
  /// The host is a number that only some take for an address.
  case numericHost = "egress.numeric-host"
  /// No credentials, where there must be some.
  case noCredentials = "egress.no-credentials"
  /// Credentials of nobody.
  case badCredentials = "egress.bad-credentials"
  /// The source has sent too many of those.
  case throttled = "egress.throttled"
  /// The user has as many tunnels as one may.
  case userLimit = "egress.user-limit"
  /// The source has as many tunnels as one may.
  case sourceLimit = "egress.source-limit"
  /// The host's name does not resolve.
  case unresolved = "egress.unresolved"
  case resolveTimeout = "egress.resolve-timeout"
  /// A parent refused, in its own words.
  case parentRefused = "egress.parent-refused"
  /// A parent's reply is no reply.
  case parentFault = "egress.parent-fault"
  /// More names or passwords wait to be looked at than may.
  case busy = "egress.busy"
}
