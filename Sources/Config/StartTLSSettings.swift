package import Routing
package import Wire

/// What a `type: starttls` listener says of itself, and whom it serves without TLS.
package struct StartTLSSettings: Hashable, Sendable {
  /// Nil is the machine's host name.
  package var name: HostName?
  /// Stands in the greeting behind the name; nil is the usual word.
  package var greeting: String?
  /// What is announced before TLS beside STARTTLS, each as a line of the protocol has it.
  package var capabilities: [String]
  /// Where clients go that want anything else than TLS; `reject` tells them to ask for it first.
  package var plaintext: HelloFallback

  package init(
    name: HostName? = nil, greeting: String? = nil, capabilities: [String] = [],
    plaintext: HelloFallback = .backend
  ) {
    self.name = name
    self.greeting = greeting
    self.capabilities = capabilities
    self.plaintext = plaintext
  }

  /// Nil when nothing is spoken, or more is to be announced than may be.
  ///
  /// - Parameter machine: the name of the machine, if it has one that is a host name.
  package func words(in spoken: SpokenProtocol?, on machine: HostName?) -> StartTLSWords? {
    guard let spoken, let name = name ?? machine ?? HostName("localhost") else { return nil }
    return StartTLSWords(
      MailProtocol(spoken), name: name, text: greeting, capabilities: capabilities,
      plaintext: plaintext == .backend ? .served : .refused)
  }
}

extension MailProtocol {
  fileprivate init(_ spoken: SpokenProtocol) {
    switch spoken {
    case .smtp: self = .smtp
    case .imap: self = .imap
    case .pop3: self = .pop3
    case .sieve: self = .sieve
    }
  }
}

/// The keys of a listener's `starttls`.
enum StartTLSKey: String, SchemaKey {
  case name, greeting, capabilities, plaintext

  var type: ValueType {
    switch self {
    case .name: .text("a host name")
    case .greeting: .text("a text of printable ASCII")
    case .capabilities:
      .list(
        of: .text("a capability"),
        takes: "capabilities as the protocol writes them, such as \"SIZE 52428800\"",
        atMost: StartTLSWords.capabilitiesLimit, mayBeEmpty: true)
    case .plaintext: .words(HelloFallback.words)
    }
  }

  var defaultText: String? {
    switch self {
    case .name, .greeting: nil
    case .capabilities: "[]"
    case .plaintext: "backend"
    }
  }
}

extension Reader {
  /// Nil when the value is no mapping.
  mutating func startTLS(_ node: Tree.Node, _ path: String) -> Located<StartTLSSettings>? {
    guard let fields = knownFields(of: node, StartTLSKey.allCases, path: path) else { return nil }
    var settings = StartTLSSettings()
    for (key, node) in fields {
      switch key {
      case .name: settings.name = value(key, node, Scalar.hostName)
      case .greeting: settings.greeting = value(key, node, Scalar.announced)
      case .capabilities: settings.capabilities = items(key, node, Scalar.announced).map(\.value)
      case .plaintext: read(key, node, into: &settings.plaintext, Scalar.word)
      }
    }
    return Located(value: settings, position: node.position)
  }
}

extension Scalar {
  /// A text on a line of its own in a mail protocol.
  static func announced(_ text: String) throws(Unreadable) -> String {
    guard !text.isEmpty, text.utf8.allSatisfy({ (0x20...0x7e).contains($0) }) else {
      throw Unreadable("it takes printable ASCII, on one line")
    }
    guard text.utf8.count <= StartTLSWords.textLimit else {
      throw Unreadable("it is longer than \(StartTLSWords.textLimit) bytes")
    }
    return text
  }
}

extension Checks {
  mutating func checkStartTLS(_ listener: ListenerDraft) {
    guard listener.type == .startTLS else {
      guard let settings = listener.startTLS else { return }
      return diagnostics.error(
        settings.position,
        "starttls is for \"type: starttls\"; a \(listener.type.word) listener says nothing itself")
    }
    if let notTLS = listener.notTLS {
      diagnostics.error(
        notTLS.position,
        "not-tls is for \"type: tls\"; who sends something else behind STARTTLS is turned away, "
          + "and who asks for no TLS goes by \"starttls: { plaintext: … }\"")
    }
    guard let spoken = listener.spoken else {
      return diagnostics.error(
        listener.typePosition ?? listener.name.position,
        "a starttls listener needs to know what its clients speak: add \"protocol: smtp\" (or "
          + "imap, pop3, sieve)")
    }
    guard let settings = listener.startTLS,
      settings.value.words(in: spoken, on: nil) == nil
    else { return }
    diagnostics.error(
      settings.position,
      "starttls: the capabilities are too much to announce before TLS, which is about 2 KB; "
        + "servers announce theirs inside TLS")
  }
}
