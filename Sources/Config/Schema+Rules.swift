import Routing

/// The keys of one item of a listener's `rules`.
enum RuleKey: String, SchemaKey {
  case name, sni, alpn
  case clientCertificate = "client-certificate"
  case from
  case toAddress = "to-address"
  case toPort = "to-port"
  case backend, action

  /// The ports of one rule: those of a mail server, all of them several times.
  static let portsMax = 64
  static let ports = 1...65_535

  var type: ValueType {
    switch self {
    case .name: .text("a name for the log and the metrics", pattern: Scalar.namePattern)
    case .sni:
      .list(
        of: .text("a host name"),
        takes:
          "host names such as mail.example.com, \"*.example.com\" (one label) or .example.com "
          + "(all beneath)",
        atMost: Reader.namesMax)
    case .alpn:
      .list(
        of: .text("a protocol"), takes: "protocols of ALPN such as imap",
        atMost: RuleTable.protocolsMax)
    case .clientCertificate:
      .list(
        of: .text("a name"),
        takes:
          "names in certificates such as client.example.com, \"*.example.com\" or "
          + "\"*@example.com\"",
        atMost: RuleConditions.certificatesMax)
    case .from:
      .list(of: .text("a network"), takes: ValueType.networks.takes, atMost: Reader.networksMax)
    case .toAddress:
      .list(
        of: .text("an address"), takes: "addresses such as 192.0.2.25, or networks",
        atMost: Reader.bindsMax)
    case .toPort:
      .list(of: .number(RuleKey.ports), takes: "ports from 1 to 65535", atMost: RuleKey.portsMax)
    case .backend: .name
    case .action: .words(RuleVerb.words)
    }
  }

  var defaultText: String? { nil }
}
