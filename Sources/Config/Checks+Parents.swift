import Routing
import Wire

/// Parents, held against each other and against the backends that are reached through them.
extension Checks {
  /// - Parameter owner: `egress` or `backend`.
  mutating func checkParents(
    _ parents: [Located<ParentProxy>], _ authorities: Located<String>?, of owner: String
  ) {
    if let authorities, !parents.contains(where: \.value.isTLS) {
      diagnostics.warn(authorities.position, "parents-ca: no parent is an https one")
    }
    guard let first = parents.first else { return }
    var places: [String: Position] = [:]
    for parent in parents {
      if parent.value.isTLS != first.value.isTLS {
        diagnostics.error(
          parent.position, "parents: all of one \(owner) are http ones, or all are https ones")
      }
      if let before = places[parent.value.name] {
        diagnostics.error(
          parent.position, "parent \(parent.value.name) is there already, at \(before)")
      }
      places[parent.value.name] = places[parent.value.name] ?? parent.position
    }
  }

  mutating func checkParents(of backend: BackendDraft) {
    checkParents(backend.parents, backend.parentsCA, of: "backend")
    guard let first = backend.parents.first else { return }
    if let tls = backend.tls, let secure = backend.parents.first(where: \.value.isTLS) {
      diagnostics.error(
        tls.position,
        "tls: parent \(secure.value.name) at \(secure.position) is an https one, and TLS inside of "
          + "TLS cannot be had; use an http parent, or leave tls out")
    }
    for server in backend.servers {
      switch server.value.target {
      case .service:
        diagnostics.error(
          server.position,
          "server \(server.value.name): behind parents (\(first.position)) names are theirs to "
            + "resolve, and they know no services; name its servers")
      case .address(.unix):
        diagnostics.error(
          server.position,
          "server \(server.value.name): no parent (\(first.position)) can reach a Unix socket of "
            + "this machine")
      case .address, .host: break
      }
    }
  }
}

extension BackendDraft {
  /// What connections of it are really dialled to.
  var dialled: [(target: ServerTarget, what: String, position: Position)] {
    parents.isEmpty
      ? servers.map { ($0.value.target, "server \($0.value.name)", $0.position) }
      : parents.map { ($0.value.target, "parent \($0.value.name)", $0.position) }
  }
}
