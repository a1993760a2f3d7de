import Routing

/// The keys of one entry of `egress`.
enum EgressKey: String, SchemaKey {
  case users, realm, anonymous, rules
  case `guard`
  case connectPorts = "connect-ports"
  case ports, parents
  case parentsCA = "parents-ca"
  case noProxy = "no-proxy"
  case via, limits, timeouts

  /// The word of `no-proxy` that takes the list of the environment.
  static let fromEnvironment = "from-environment"

  var type: ValueType {
    switch self {
    case .users, .parentsCA: .path
    case .realm: .text("a text of printable ASCII without quotes")
    case .anonymous: .networks
    case .rules:
      .list(
        of: .section("egress.NAME.rules"),
        takes: "a list of mappings with conditions and an action", atMost: Reader.rulesMax)
    case .guard: .either([.words(["off"]), .section("egress.NAME.guard")])
    case .connectPorts, .ports: EgressRuleKey.portList
    case .parents: ParentKey.list(of: "egress.NAME.parents")
    case .noProxy:
      .list(
        of: .text("entries"),
        takes: "a list in the form of NO_PROXY, or from-environment", atMost: Reader.bypassMax,
        mayBeEmpty: true)
    case .via: .truth
    case .limits: .section("egress.NAME.limits")
    case .timeouts: .section("egress.NAME.timeouts")
    }
  }

  var defaultText: String? {
    switch self {
    case .users, .anonymous, .rules, .guard, .parents, .parentsCA, .noProxy, .limits, .timeouts:
      nil
    case .realm: EgressSettings().realm
    case .connectPorts: "[443]"
    case .ports: "[80]"
    case .via: "true"
    }
  }
}

/// The keys of one item of `rules`.
enum EgressRuleKey: String, SchemaKey {
  case name, user, from
  case certificate = "client-certificate"
  case host, to, port, method, action

  static let portList = ValueType.list(
    of: .either([.number(RuleKey.ports), .text("a range", pattern: "^[0-9]{1,5}-[0-9]{1,5}$")]),
    takes: "ports, or ranges such as 8000-8010", atMost: RuleKey.portsMax)

  var type: ValueType {
    switch self {
    case .name: RuleKey.name.type
    case .user:
      .list(of: .text("a user"), takes: "names of users", atMost: Reader.networksMax)
    case .from:
      .list(of: .text("a network"), takes: ValueType.networks.takes, atMost: Reader.networksMax)
    case .certificate:
      .list(of: .text("a name"), takes: "names of certificates", atMost: Reader.networksMax)
    case .host: RuleKey.sni.type
    case .to:
      .list(
        of: .text("an address"), takes: "addresses such as 192.0.2.25, or networks",
        atMost: Reader.networksMax)
    case .port: EgressRuleKey.portList
    case .method:
      .list(
        of: .text("a method", pattern: "^[A-Z]+$"), takes: "methods such as CONNECT or GET",
        atMost: RuleKey.portsMax)
    case .action: .words(EgressAction.words)
    }
  }

  var isRequired: Bool { self == .action }
  var defaultText: String? { nil }
}

/// The keys of `guard`, when it is not off.
enum GuardKey: String, SchemaKey {
  case allow, deny

  var type: ValueType {
    .list(
      of: .text("a network"),
      takes: "networks such as 10.0.0.0/8, addresses, or addresses with ports",
      atMost: Reader.networksMax, mayBeEmpty: true)
  }

  var defaultText: String? { nil }
}

/// The keys of one item of `parents`.
enum ParentKey: String, SchemaKey {
  case url, user
  case passwordFile = "password-file"

  /// What `parents` takes whose items have these keys.
  static func list(of section: String) -> ValueType {
    .list(
      of: .either([.text("a URL"), .section(section)]),
      takes: "URLs such as \"http://proxy.example:3128\", or mappings", atMost: Reader.parentsMax)
  }

  var type: ValueType {
    switch self {
    case .url: .text("a URL such as \"http://proxy.example:3128\"")
    case .user: .text("a name")
    case .passwordFile: .path
    }
  }

  var isRequired: Bool { self == .url }
  var defaultText: String? { nil }
}

/// The keys of an egress's `limits`.
enum EgressLimitKey: String, SchemaKey {
  case perUser = "per-user"
  case perSource = "per-source"
  case head, fields

  static let headSizes = 1024...60 << 10

  var type: ValueType {
    switch self {
    case .perUser, .perSource: .limit
    case .head: .size
    case .fields: .number(10...1000)
    }
  }

  var defaultText: String? {
    switch self {
    case .perUser, .perSource: "off"
    case .head: "16KiB"
    case .fields: "100"
    }
  }
}

/// The keys of an egress's `timeouts`.
enum EgressTimeKey: String, SchemaKey {
  case head, auth, resolve, dial, parent, reply

  var type: ValueType { .duration(mayBeOff: false, mayBeZero: false) }

  var defaultText: String? {
    let settings = EgressSettings()
    return Scalar.text(ofDurationMs: settings[self])
  }
}

extension EgressSettings {
  subscript(key: EgressTimeKey) -> UInt32 {
    get {
      switch key {
      case .head: headMs
      case .auth: authMs
      case .resolve: resolveMs
      case .dial: dialMs
      case .parent: parentMs
      case .reply: replyMs
      }
    }
    set {
      switch key {
      case .head: headMs = newValue
      case .auth: authMs = newValue
      case .resolve: resolveMs = newValue
      case .dial: dialMs = newValue
      case .parent: parentMs = newValue
      case .reply: replyMs = newValue
      }
    }
  }
}

extension EgressAction: Word {}
