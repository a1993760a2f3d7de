/// What a listener's clients speak, where we have something to say to them in it.
package enum SpokenProtocol: String, Sendable, Hashable, CaseIterable {
  case smtp
  case imap
  case pop3
  case sieve

  /// What a client that is turned away hears in place of the server's greeting; nil when the fault
  /// is its own and it is told nothing, or when the server may have greeted it already.
  ///
  /// Each is a temporary refusal in the words of its protocol: RFC 5321 section 3.8 (421) with
  /// RFC 3463's 4.3.2 ("system not accepting network messages") or 4.7.0 for what is about the
  /// client (and of 4.7.1, "delivery not authorized", for what a rule turns away); RFC 9051 section
  /// 7.1.5 (`* BYE` in place of a greeting) with RFC 5530's UNAVAILABLE;
  /// RFC 1939 section 4 (`-ERR`) with RFC 3206's SYS/TEMP; RFC 5804 section 1.3 (BYE) with
  /// TRYLATER.
  package func reply(to reason: RejectReason) -> StaticString? {
    switch reason {
    case .sourceFull, .sourceRate: tooManyOfYours
    case .noServer, .backendFull, .listenerFull, .queueFull, .queueTimeout, .dialRefused,
      .dialTimeout, .dialUnreachable, .dialNoLocalAddress, .dialReset, .dialFailed, .noBuffers,
      .consentTimeout, .noConsent, .consent, .dialTLS, .parent:
      notNow
    case .ruleRejected, .noRoute: notHere
    case .preambleTimeout: tooSlow
    case .ruleClosed, .banned, .proxyNoAddress, .clientGone, .headerTimeout, .headerUntrusted,
      .headerUnknown, .helloProbe, .helloTimeout, .helloUnnamed, .helloMisnamed, .preambleQuit,
      .preamble, .tlsTimeout, .tlsFailed, .egress, .http, .requestTimeout, .badResponse,
      .responseTimeout, .parser:
      nil
    }
  }

  private var notNow: StaticString {
    switch self {
    case .smtp: "421 4.3.2 Service not available, try again later\r\n"
    case .imap: "* BYE [UNAVAILABLE] Service not available, try again later\r\n"
    case .pop3: "-ERR [SYS/TEMP] Service not available, try again later\r\n"
    case .sieve: "BYE (TRYLATER) \"Service not available, try again later\"\r\n"
    }
  }

  private var notHere: StaticString {
    switch self {
    case .smtp: "421 4.7.1 Not served here\r\n"
    case .imap: "* BYE Not served here\r\n"
    case .pop3: "-ERR [SYS/PERM] Not served here\r\n"
    case .sieve: "BYE \"Not served here\"\r\n"
    }
  }

  /// RFC 3463's 4.4.2 is a "bad connection"; RFC 3501 section 5.4 and RFC 1939 section 3 have a
  /// server that logs an idle client out say so, or say nothing.
  private var tooSlow: StaticString {
    switch self {
    case .smtp: "421 4.4.2 Timeout, closing the connection\r\n"
    case .imap: "* BYE Timeout, closing the connection\r\n"
    case .pop3: "-ERR Timeout, closing the connection\r\n"
    case .sieve: "BYE \"Timeout, closing the connection\"\r\n"
    }
  }

  private var tooManyOfYours: StaticString {
    switch self {
    case .smtp: "421 4.7.0 Too many connections from your address, try again later\r\n"
    case .imap: "* BYE [UNAVAILABLE] Too many connections from your address\r\n"
    case .pop3: "-ERR [SYS/TEMP] Too many connections from your address\r\n"
    case .sieve: "BYE (TRYLATER) \"Too many connections from your address\"\r\n"
    }
  }
}
