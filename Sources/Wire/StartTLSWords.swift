/// What a listener says of itself before TLS. Made once for each configuration; nothing of it comes
/// from outside.
package struct StartTLSWords: Sendable {
  /// What becomes of clients that want anything else than TLS.
  package enum Plaintext: Sendable {
    /// They are told to ask for TLS first, in the protocol's words.
    case refused
    /// They go to a server that speaks with them in plaintext.
    case served
  }

  package let kind: MailProtocol
  package let plaintext: Plaintext
  /// The first thing said.
  package let greeting: [UInt8]
  /// The whole answer to EHLO or CAPA; of the answers to CAPABILITY the part without tag.
  let capabilities: [UInt8]
  let name: [UInt8]

  /// More than any reply has: the capabilities, or an error with a tag of the client's.
  package let replyRoom: Int

  /// The longest text and the most capabilities, in bytes and in number; what is announced before
  /// TLS is meant to be next to nothing.
  package static let textLimit = 200
  package static let capabilitiesLimit = 32
  /// All that is ever said to a client that reads none of it: a buffer of the data plane.
  package static let sayingLimit = 1 << 16

  /// - Parameters:
  ///   - name: what the server calls itself.
  ///   - text: stands in the greeting, behind the name; without it the usual word.
  ///   - capabilities: announced beside STARTTLS, each as a line of the protocol has it; nothing
  ///     else is announced. Printable ASCII.
  /// - Returns: nil for texts that are no printable ASCII, too long or too many; together they may
  ///   have about 2 KB.
  package init?(
    _ kind: MailProtocol, name: HostName, text: String? = nil, capabilities: [String] = [],
    plaintext: Plaintext
  ) {
    let all = capabilities + [text ?? ""]
    guard capabilities.count <= StartTLSWords.capabilitiesLimit,
      !capabilities.contains(""),
      all.allSatisfy({ text in
        text.utf8.count <= StartTLSWords.textLimit
          && text.utf8.allSatisfy { (0x20...0x7e).contains($0) }
      })
    else { return nil }
    self.kind = kind
    self.plaintext = plaintext
    self.name = Array(name.text.utf8)
    let mayLogIn = plaintext == .served
    switch kind {
    case .smtp:
      greeting = Array("220 \(name) \(text ?? "ESMTP")\r\n".utf8)
      let lines = [name.text] + capabilities + ["STARTTLS"]
      self.capabilities = lines.enumerated().flatMap { index, line in
        Array("250\(index + 1 < lines.count ? "-" : " ")\(line)\r\n".utf8)
      }
    case .imap:
      // RFC 9051 section 6.2.3: LOGINDISABLED says that LOGIN is of no use before TLS.
      let words =
        ["IMAP4rev1", "STARTTLS"] + capabilities + (mayLogIn ? [] : ["LOGINDISABLED"])
      let list = "CAPABILITY " + words.joined(separator: " ")
      greeting = Array("* OK [\(list)] \(name) \(text ?? "ready")\r\n".utf8)
      self.capabilities = Array("* \(list)\r\n".utf8)
    case .pop3:
      greeting = Array("+OK \(name) \(text ?? "ready")\r\n".utf8)
      let lines = ["+OK"] + capabilities + ["STLS", "."]
      self.capabilities = lines.flatMap { Array("\($0)\r\n".utf8) }
    case .sieve:
      // RFC 5804 section 1.7: these are always there; no mechanism before TLS unless configured.
      var lines = ["\"IMPLEMENTATION\" \"\(name)\""] + capabilities
      for (key, line) in [("SASL", "\"SASL\" \"\""), ("SIEVE", "\"SIEVE\" \"\"")]
      where !capabilities.contains(where: { $0.uppercased().hasPrefix("\"\(key)\"") }) {
        lines.append(line)
      }
      lines += ["\"STARTTLS\"", "\"VERSION\" \"1.0\"", "OK \"\(text ?? "ready")\""]
      self.capabilities = lines.flatMap { Array("\($0)\r\n".utf8) }
      greeting = self.capabilities
    }
    replyRoom = self.capabilities.count + kind.commandLimit + StartTLSWords.textLimit
    // One more is that there were too many, and room for one is asked for before each.
    let most = greeting.count + (StartTLSServer.commandsLimit + 2) * replyRoom
    guard most <= StartTLSWords.sayingLimit else { return nil }
  }
}
