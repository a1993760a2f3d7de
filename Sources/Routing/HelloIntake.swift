package import Wire

/// Where a client goes that gives nothing to choose by.
package enum HelloFallback: Hashable, Sendable, CaseIterable {
  /// By the rules that ask for no name and no protocol, or to the listener's backend.
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

/// What a ClientHello says, as far as routing goes by it. With an encrypted one inside, it is the
/// outer hello that is meant: nobody else can read the other.
package struct HelloFacts: Sendable, Equatable {
  package enum Form: Sendable, Equatable {
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

  package let form: Form
  /// Empty unless the form is `named`.
  package let name: HelloName
  /// The protocols that it offers and the listener's rules ask for, as bits of those rules.
  package let protocols: UInt64

  package init(_ form: Form, name: HelloName = HelloName(), protocols: UInt64 = 0) {
    self.form = form
    self.name = name
    self.protocols = protocols
  }

  /// - Parameters:
  ///   - bytes: those that the hello was read from.
  ///   - rules: of the listener that is asked about; nil has none.
  package init(_ hello: ClientHello, in bytes: Span<UInt8>, for rules: RuleTable?) {
    form = Form(hello)
    name = HelloName(hello.serverName, in: bytes)
    protocols = rules?.offered(hello, in: bytes) ?? 0
  }

  package static func noHello(_ reason: RejectReason) -> HelloFacts {
    HelloFacts(.noHello(reason))
  }
}
