import Wire

/// How server names are resolved.
extension Reader {
  /// c-ares has a socket or two for each; resolv.conf may name three.
  static let nameServersMax = 8

  mutating func readResolver(_ node: Tree.Node, into resolver: inout ResolverSettings) {
    var floor: Located<UInt32>?
    for (key, node) in fields(of: node, ResolverKey.allCases, path: "resolver") {
      switch key {
      case .servers:
        let servers = items(key, node, Endpoint.nameServer)
        if !servers.isEmpty { resolver.servers = servers.map(\.value) }
      case .minTTL:
        floor = located(key, node, Reader.resolverTime)
        if let floor { resolver.minTTLMs = floor.value }
      case .maxTTL: read(key, node, into: &resolver.maxTTLMs, Reader.resolverTime)
      case .timeout: read(key, node, into: &resolver.timeoutMs, Reader.resolverTime)
      case .attempts: readNumber(key, node, into: &resolver.attempts)
      }
    }
    if let floor, resolver.maxTTLMs < floor.value {
      diagnostics.error(floor.position, "min-ttl: it is more than max-ttl")
    }
  }

  /// Nobody is asked for the same name more than ten times a second.
  private static func resolverTime(_ text: String) throws(Unreadable) -> UInt32 {
    let milliseconds = try Scalar.duration(text, mayBeOff: false)
    guard milliseconds >= 100 else { throw Unreadable("\(text) is less than 100ms") }
    return milliseconds
  }
}

enum ResolverKey: String, SchemaKey {
  case servers
  case minTTL = "min-ttl"
  case maxTTL = "max-ttl"
  case timeout, attempts

  var type: ValueType {
    switch self {
    case .servers:
      .list(
        of: .text("an address"),
        takes: "addresses of name servers such as 192.0.2.53 or \"192.0.2.53:5353\"",
        atMost: Reader.nameServersMax)
    case .minTTL, .maxTTL, .timeout: .duration(mayBeOff: false, mayBeZero: false)
    case .attempts: .number(1...10)
    }
  }

  var defaultText: String? {
    switch self {
    case .servers: nil
    case .minTTL: "1s"
    case .maxTTL: "5m"
    case .timeout: "2s"
    case .attempts: "2"
    }
  }
}
