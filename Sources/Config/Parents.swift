package import Routing

/// A proxy that connections go through.
package struct ParentProxy: Hashable, Sendable {
  /// `proxy.example:3128`, as logs and metrics name it.
  package var name: String
  package var target: ServerTarget
  /// Whether the connection to it begins with TLS.
  package var isTLS: Bool
  /// Empty sends no credentials.
  package var user: String
  /// Nothing prints it.
  package var password: String
  /// Where the password was read; nil when it stands in the URL.
  package var passwordFile: String?

  package init(
    name: String, target: ServerTarget, isTLS: Bool = false, user: String = "",
    password: String = "", passwordFile: String? = nil
  ) {
    self.name = name
    self.target = target
    self.isTLS = isTLS
    self.user = user
    self.password = password
    self.passwordFile = passwordFile
  }

  /// As the file may write it, without its secret.
  package var redactedURL: String {
    let secret = passwordFile == nil && !password.isEmpty ? ":***" : ""
    let login = user.isEmpty ? "" : "\(Percent.encoded(user))\(secret)@"
    return "\(isTLS ? "https" : "http")://\(login)\(name)"
  }

  /// The value of `Proxy-Authorization` (RFC 7617); empty without credentials.
  package var authorization: String {
    guard !user.isEmpty else { return "" }
    return "Basic \(Base64.encoded(Array("\(user):\(password)".utf8)))"
  }
}

extension Snapshot {
  /// The parents that an egress goes through; nil without any.
  package func parents(of egress: Egress) -> ParentPlan? {
    plan(of: egress.parents, named: egress.backendName)
  }

  /// The parents that a backend is reached through; nil for one whose servers are dialled.
  package func parents(of backend: Backend) -> ParentPlan? {
    plan(
      of: backend.parents, named: backend.parentsName,
      targets: backend.servers.map(\.target.description))
  }

  private func plan(
    of parents: [ParentProxy], named name: String, targets: [String] = []
  ) -> ParentPlan? {
    guard !parents.isEmpty,
      let place = backends.firstIndex(where: { $0.isParents && $0.name == name })
    else { return nil }
    return ParentPlan(
      backend: place,
      parents: parents.map { parent in
        ParentPlan.Parent(
          server: parent.name, isTLS: parent.isTLS, authorization: parent.authorization)
      }, targets: targets)
  }
}

extension Backend {
  /// Parents as the servers of a backend: the first is used while it can be. Nil without any.
  init?(parents: [ParentProxy], ca: String?, name: String) {
    guard let first = parents.first else { return nil }
    self.init(
      name: name,
      servers: parents.enumerated().map { place, parent in
        Server(name: parent.name, target: parent.target, isBackup: place > 0)
      }, retries: Backend.tries(of: parents) - 1)
    isParents = true
    if first.isTLS { tls = UpstreamTLS(ca: ca, alpn: ["http/1.1"]) }
    retryPercent = 100
  }

  /// One for each parent, and another for those that a name stands for more than one of.
  static func tries(of parents: [ParentProxy]) -> Int { min(parents.count + 1, triesMost) }

  private static let triesMost = 4

  /// The name of the backend that its parents are the servers of. No backend of a file can have it.
  package var parentsName: String { "parents:\(name)" }

  /// That one; nil for a backend whose servers are dialled. They are dialled as its servers would
  /// be.
  var parentsBackend: Backend? {
    guard var made = Backend(parents: parents, ca: parentsCA, name: parentsName) else {
      return nil
    }
    (made.source, made.congestion) = (source, congestion)
    return made
  }

  /// Whether a server can get connections as it stands here: names behind parents are theirs to
  /// resolve.
  package func canReach(_ server: Server) -> Bool { server.address != nil || !parents.isEmpty }
}
