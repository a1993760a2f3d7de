import Routing
import Wire

/// What listeners take of the PROXY protocol, and what backends get of it.
extension Reader {
  // MARK: Listeners

  /// Nil when no list can be made out. One that lost some of its items has been reported.
  mutating func networks(
    _ key: some SchemaKey, _ node: Tree.Node
  ) -> Located<[NetworkDraft]>? {
    let items = items(key, node, Scalar.network)
    let drafts = items.map { NetworkDraft(text: $0.text, network: $0.value) }
    return Located(value: drafts, position: node.position)
  }

  mutating func proxyProtocol(_ node: Tree.Node, _ path: String) -> ProxyProtocolDraft? {
    var draft = ProxyProtocolDraft(position: node.position)
    switch node.value {
    case .scalar("off", _):
      draft.isOff = true
      return draft
    case .scalar(let text, _) where !text.isEmpty:
      let key = ListenerKey.proxyProtocol
      let hint = ["no", "false", "none"].contains(text) ? ", did you mean \"off\"?" : ""
      diagnostics.error(
        node.position,
        "\(key.rawValue): \"\(text)\" is neither off nor a mapping of settings\(hint)")
      return nil
    case .scalar, .sequence, .mapping: break
    }
    guard let fields = knownFields(of: node, ProxyProtocolKey.allCases, path: path) else {
      return nil
    }
    for (key, node) in fields {
      switch key {
      case .sources:
        let sources = nodes(key, node).compactMap {
          source($0, "\(path).sources")
        }
        draft.sources = Located(value: sources, position: node.position)
      case .inherit: draft.inherit = located(key, node, Scalar.truth)
      case .maxHeader:
        draft.headerLimit = located(key, node) { text throws(Unreadable) in
          try Scalar.headerLimit(text, atLeast: ProxyV2.prefixLength)
        }
      case .unknown:
        draft.acceptsUnknown = value(key, node) { text throws(Unreadable) in
          try Scalar.choice(text, of: ["accept": true, "reject": false], takes: key.takes)
        }
      }
    }
    return draft
  }

  private mutating func source(_ node: Tree.Node, _ path: String) -> SourceDraft? {
    guard let fields = knownFields(of: node, SourceKey.allCases, path: path) else { return nil }
    var networks: [NetworkDraft]?
    var header: Located<HeaderRule>?
    for (key, node) in fields {
      switch key {
      case .networks: networks = self.networks(key, node)?.value
      case .header: header = located(key, node, Scalar.word)
      }
    }
    requireEach(SourceKey.allCases, in: fields, of: "a source", node)
    guard let networks, let header else { return nil }
    return SourceDraft(networks: networks, header: header)
  }

  /// Reports, at the mapping, keys of it that must be there.
  mutating func requireEach<Key: SchemaKey>(
    _ keys: [Key], in fields: [(Key, Tree.Node)], of noun: String, _ node: Tree.Node
  ) {
    for key in keys where !fields.contains(where: { $0.0 == key }) {
      diagnostics.error(node.position, "\(noun) needs \(key.rawValue); it takes \(key.takes)")
    }
  }

  /// Section 2: "with a minimum of 3 seconds to cover for a TCP retransmit".
  mutating func warn(ofHeaderTimeoutMs milliseconds: UInt32, _ node: Tree.Node) {
    guard milliseconds < Timeouts.proxyHeaderLeastMs else { return }
    diagnostics.warn(
      node.position,
      "proxy-header: less than 3s turns away a client whose first segment is lost and sent again; "
        + "the PROXY protocol asks for 3s at least")
  }

  // MARK: Backends

  mutating func tlvs(
    _ key: BackendKey, _ node: Tree.Node, _ path: String
  ) -> Located<[Located<TLVDraft>]>? {
    var drafts: [Located<TLVDraft>] = []
    for node in nodes(key, node) {
      let draft: TLVDraft?
      switch node.value {
      case .mapping: draft = describedTLV(node, path)
      case .scalar, .sequence: draft = value(key, node, Scalar.tlv)
      }
      if let draft { drafts.append(Located(value: draft, position: node.position)) }
    }
    return Located(value: drafts, position: node.position)
  }

  /// `{ netns: TEXT }` or `{ type: NUMBER, value: TEXT }`.
  private mutating func describedTLV(_ node: Tree.Node, _ path: String) -> TLVDraft? {
    guard let fields = knownFields(of: node, TLVKey.allCases, path: path) else { return nil }
    var namespace: String?
    var type: UInt8?
    var template: [TemplatePart]?
    for (key, node) in fields {
      switch key {
      case .netns: namespace = value(key, node, Scalar.networkNamespace)
      case .type:
        type = value(key, node, Scalar.customType)
        if let type, ProxyTLV.Kind(rawValue: type).space == .experimental {
          diagnostics.warn(
            node.position,
            "type: \(Scalar.hexadecimal(type)) is for experiments only (0xF0 to 0xF7); a type of "
              + "your own is 0xE0 to 0xEF")
        }
      case .value: template = value(key, node, Scalar.template)
      }
    }
    let hasName = fields.contains { $0.0 == .netns }
    guard hasName else {
      requireEach([.type, .value], in: fields, of: "a TLV of your own", node)
      guard let type, let template else { return nil }
      return .custom(CustomTLV(type: type, value: template))
    }
    guard fields.count == 1 else {
      diagnostics.error(
        node.position, "netns is a TLV by itself; give the other one an item of its own")
      return nil
    }
    return namespace.map { .networkNamespace($0) }
  }

  mutating func relayedTypes(_ key: BackendKey, _ node: Tree.Node) -> Located<[Located<UInt8>]>? {
    let types = items(key, node, Scalar.relayedType)
    for (text, type) in types { warn(ofRelayed: type, text) }
    return Located(
      value: types.map { Located(value: $0.value, position: $0.text.position) },
      position: node.position)
  }

  private mutating func warn(ofRelayed type: UInt8, _ text: Located<String>) {
    let kind = ProxyTLV.Kind(rawValue: type)
    if kind == .ssl {
      diagnostics.warn(
        text.position,
        "relay-tlvs: servers believe ssl: Dovecot takes cleartext passwords on its word; every "
          + "network with \"header: require\" must be trusted with that")
      return
    }
    switch kind.space {
    case .registered, .custom: break
    case .experimental:
      diagnostics.warn(
        text.position, "relay-tlvs: \(text.value) is for experiments only (0xF0 to 0xF7)")
    case .unassigned, .future:
      diagnostics.warn(
        text.position, "relay-tlvs: the PROXY protocol has not given \(text.value) a meaning")
    }
  }

  mutating func header(_ node: Tree.Node, _ path: String) -> HeaderDraft {
    var draft = HeaderDraft(position: node.position)
    for (key, node) in fields(of: node, ProxyHeaderKey.allCases, path: path) {
      switch key {
      case .limit:
        draft.limit = located(key, node) { text throws(Unreadable) in
          try Scalar.headerLimit(
            text, atLeast: ProxyV2.maximumLengthWithoutTLVs, mayBeNumber: true)
        }
      case .align:
        draft.alignment = number(key, node).map {
          Located(value: $0, position: node.position)
        }
      }
    }
    return draft
  }
}
