internal import Wire

/// What the data plane ends or begins TLS with. Only the data plane knows what is inside.
package protocol TransportSetup: AnyObject, Sendable {}

/// How a listener ends TLS: which setup, with its certificates, which client gets.
package final class TLSPlan: Sendable {
  /// For clients that name no host, or one that none of the others is for.
  package let fallback: any TransportSetup
  private let setups: [any TransportSetup]
  /// By how closely they match: one name, one label below a name, anything below it.
  private let tables: [NameTable]

  /// - Parameter named: of two with the same pattern the first counts; of two that match a name,
  ///   the one whose pattern is closer to it.
  package init(
    fallback: any TransportSetup,
    named: [(patterns: [NamePattern], setup: any TransportSetup)] = []
  ) {
    self.fallback = fallback
    setups = named.map(\.setup)
    let all = named.enumerated().flatMap { index, entry in
      entry.patterns.map { (pattern: $0, number: UInt32(index)) }
    }
    tables = NamePattern.Kind.allCases.map { kind in
      NameTable(all.filter { $0.pattern.kind == kind })
    }
  }

  /// Allocates nothing.
  package func setup(for name: HelloName) -> any TransportSetup {
    guard name.count > 0 else { return fallback }
    for table in tables {
      if let number = table.first(for: name.bytes) { return setups[Int(number)] }
    }
    return fallback
  }
}

/// How the servers of a backend are spoken to in TLS.
package final class BackendTLS: Sendable {
  package let setup: any TransportSetup
  /// Of each of its servers, in their order: what it is called, and whose certificate it must
  /// have. A host name is sent as SNI; an address is not (RFC 6066 section 3). Empty is neither,
  /// for servers that are not verified.
  package let names: [String]

  package init(setup: any TransportSetup, names: [String]) {
    self.setup = setup
    self.names = names
  }
}
