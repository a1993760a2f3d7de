package import Wire

/// Where a client goes that gives nothing to choose by.
package enum HelloFallback: Hashable, Sendable, CaseIterable {
  /// To the listener's backend, as if it had not been looked at.
  case backend
  case reject
}

/// What a listener that reads the ClientHello does about clients that leave it nothing to read.
package struct HelloPolicy: Hashable, Sendable {
  /// A hello without a host name: none at all, or one that is none, such as an address.
  package var withoutName: HelloFallback
  /// No hello: plaintext, SSL 2, malformed, too long, or not whole in time.
  package var notTLS: HelloFallback

  package init(withoutName: HelloFallback = .backend, notTLS: HelloFallback = .reject) {
    self.withoutName = withoutName
    self.notTLS = notTLS
  }
}

/// What is made of the first bytes of a client that should begin with a ClientHello.
package enum HelloVerdict: Sendable, Equatable {
  case needMore
  case hello(ClientHello)
  /// It is none, and no further byte makes it one.
  case noHello(RejectReason)
}

/// Waits for a ClientHello and judges it. Nothing of it is answered or changed.
package enum HelloIntake {
  /// How much of a client's bytes is held: one buffer of the data plane.
  package static let holdLimit = 1 << 16
  /// The longest hello, record headers not counted: as much as fits into the four records it takes
  /// at least (RFC 8446 section 5.1: 2^14 bytes each) when these fill the buffer. In more records,
  /// whose headers take room as well, it is as much less.
  package static let helloLimit = holdLimit - 4 * 5

  /// Looks at all bytes held so far. Allocates nothing.
  package static func decide(_ bytes: Span<UInt8>, _ ending: Ending) -> HelloVerdict {
    switch ClientHello.decode(bytes, limit: helloLimit, ended: ending == .halfClosed) {
    case .done(let hello, _): return .hello(hello)
    // Nothing is wrong with no bytes but their end.
    case .invalid where bytes.isEmpty: return .noHello(.helloProbe)
    case .invalid(let reason): return .noHello(.parser(reason.code))
    case .needMore:
      switch ending {
      case .no, .halfClosed: return .needMore
      case .timedOut: return .noHello(.helloTimeout)
      case .full: return .noHello(.parser(.tlsTooLong))
      }
    }
  }
}

/// What a ClientHello says, as far as routing goes by it.
package enum HelloFacts: Sendable, Equatable {
  /// It names a host.
  case named
  /// There is no host name in it.
  case unnamed
  /// What it has for a name is none: an address literal, or bytes that no host name has.
  case misnamed
  /// There is no hello, and why.
  case noHello(RejectReason)

  package init(_ hello: ClientHello) {
    switch hello.serverName?.form {
    case nil, .empty: self = .unnamed
    case .hostName, .trailingDot: self = .named
    case .addressLiteral, .badCharacter, .badForm: self = .misnamed
    }
  }
}
