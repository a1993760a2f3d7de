import Routing
import Wire

/// Who may speak for a client, and what headers carry, held against each other.
extension Checks {
  // MARK: What they come to

  /// The global networks, whose header is required.
  static func globalSources(of draft: Draft) -> [TrustedSource] {
    distinct(sources(draft.trusted?.value ?? [], .require, .global))
  }

  /// What the listener takes, with the global networks where they belong.
  func receiving(_ listener: ListenerDraft) -> ProxyReceiving {
    let settings = listener.proxyProtocol
    var receiving = ProxyReceiving(isOff: settings?.isOff ?? false)
    if let limit = settings?.headerLimit { receiving.headerLimit = limit.value }
    if let acceptsUnknown = settings?.acceptsUnknown { receiving.acceptsUnknown = acceptsUnknown }
    guard !receiving.isOff else { return receiving }
    guard let own = ownSources(listener) else {
      receiving.sources = globalSources
      return receiving
    }
    let inherits = (settings?.sources == nil ? listener.inherit : settings?.inherit)?.value ?? false
    let inherited = globalSources.map {
      TrustedSource(network: $0.network, rule: $0.rule, origin: .inherited)
    }
    receiving.sources = Checks.distinct(own + (inherits ? inherited : []))
    return receiving
  }

  func tlvPlan(_ backend: BackendDraft) -> TLVPlan {
    var plan = TLVPlan(relay: (backend.relay?.value ?? []).map(\.value))
    if let limit = backend.header?.limit { plan.limit = limit.value }
    if let alignment = backend.header?.alignment { plan.alignment = alignment.value }
    for tlv in backend.tlvs?.value ?? [] {
      switch tlv.value {
      case .uniqueID: plan.uniqueID = true
      case .checksum: plan.checksum = true
      case .authority: plan.authority = true
      case .alpn: plan.alpn = true
      case .ssl: plan.ssl = true
      // It stands inside the other.
      case .clientCertificate: (plan.ssl, plan.clientCertificate) = (true, true)
      case .networkNamespace(let name): plan.networkNamespace = name
      case .custom(let custom): plan.custom.append(custom)
      }
    }
    return plan
  }

  /// Nil when the listener names no networks itself.
  private func ownSources(_ listener: ListenerDraft) -> [TrustedSource]? {
    if let sources = listener.proxyProtocol?.sources {
      return sources.value.flatMap { Checks.sources($0.networks, $0.header.value, .own) }
    }
    return listener.trusted.map { Checks.sources($0.value, .require, .own) }
  }

  private static func sources(
    _ networks: [NetworkDraft], _ rule: HeaderRule, _ origin: TrustedSource.Origin
  ) -> [TrustedSource] {
    networks.map { TrustedSource(network: $0.network, rule: rule, origin: origin) }
  }

  /// Of several for one network the first: a listener's own wins over what it inherits.
  private static func distinct(_ sources: [TrustedSource]) -> [TrustedSource] {
    var seen = Set<Network>(minimumCapacity: sources.count)
    return sources.filter { seen.insert($0.network).inserted }
  }

  // MARK: Listeners

  mutating func checkTrust() {
    if let trusted = draft.trusted {
      checkNetworks(
        [SourceDraft(networks: trusted.value, header: required(trusted.position))],
        "trusted-networks")
    }
    for listener in listeners {
      checkForms(of: listener)
      checkInheritance(of: listener)
      if let trusted = listener.trusted {
        checkNetworks(
          [SourceDraft(networks: trusted.value, header: required(trusted.position))],
          "trusted-networks")
      }
      if let sources = listener.proxyProtocol?.sources {
        checkNetworks(sources.value, "networks")
        checkAccept(listener, sources.value)
      }
      warnOfUnix(listener)
      warnOfSmallLimit(listener)
    }
  }

  private func required(_ position: Position) -> Located<HeaderRule> {
    Located(value: .require, position: position)
  }

  /// One listener says in one way who is trusted.
  private mutating func checkForms(of listener: ListenerDraft) {
    guard let settings = listener.proxyProtocol, let trusted = listener.trusted else { return }
    if settings.isOff {
      diagnostics.error(
        trusted.position,
        "trusted-networks: with \"proxy-protocol: off\" at \(settings.position) nobody is trusted")
    } else if let sources = settings.sources {
      let later = max(trusted.position, sources.position)
      let (first, second) =
        trusted.position < sources.position
        ? ("trusted-networks at \(trusted.position)", "proxy-protocol.sources")
        : ("proxy-protocol.sources at \(sources.position)", "trusted-networks")
      diagnostics.error(
        later,
        "\(second) beside \(first): use one of them; trusted-networks means \"header: require\"")
    }
  }

  private mutating func checkInheritance(of listener: ListenerDraft) {
    let settings = listener.proxyProtocol
    if let inherit = listener.inherit, inherit.value {
      if settings?.isOff ?? false {
        diagnostics.error(
          inherit.position, "inherit: with \"proxy-protocol: off\" nobody is trusted")
      } else if settings?.sources != nil {
        diagnostics.error(
          inherit.position, "inherit: beside sources it stands inside proxy-protocol")
      } else {
        checkInherited(inherit.position, hasOwn: listener.trusted != nil, "trusted-networks")
      }
    }
    guard let inherit = settings?.inherit, inherit.value else { return }
    if settings?.sources == nil, listener.trusted != nil {
      diagnostics.error(
        inherit.position, "inherit: beside trusted-networks it stands outside proxy-protocol")
    } else {
      checkInherited(inherit.position, hasOwn: settings?.sources != nil, "sources")
    }
  }

  private mutating func checkInherited(_ position: Position, hasOwn: Bool, _ key: String) {
    if !hasOwn {
      diagnostics.warn(
        position,
        "inherit: without \(key) there is nothing to add to; the global trusted-networks count "
          + "as they are")
    } else if draft.trusted == nil {
      diagnostics.warn(
        position, "inherit: there are no trusted-networks at the top level to add")
    }
  }

  /// One list, over all of its sources.
  private mutating func checkNetworks(_ sources: [SourceDraft], _ key: String) {
    var seen: [Network: (position: Position, rule: HeaderRule)] = [:]
    seen.reserveCapacity(sources.reduce(0) { $0 + $1.networks.count })
    for source in sources {
      let rule = source.header.value
      for item in source.networks {
        if let first = seen[item.network] {
          if first.rule == rule {
            diagnostics.warn(
              item.text.position,
              "\(key): \(item.network) is listed twice, first at \(first.position)")
          } else {
            diagnostics.error(
              item.text.position,
              "\(key): \(item.network) is \"\(rule)\" here and \"\(first.rule)\" at "
                + "\(first.position)")
          }
          continue
        }
        seen[item.network] = (item.text.position, rule)
        guard rule != .forbid, Checks.isWide(item.network) else { continue }
        diagnostics.warn(
          item.text.position,
          "\(key): every host in \(item.network) could pose as any client; name the proxies in "
            + "front, as narrowly as can be")
      }
    }
  }

  /// Wider than one organisation's: the largest IPv4 networks given to one are /8, and no proxy
  /// needs a good part of IPv6.
  private static func isWide(_ network: Network) -> Bool {
    switch network {
    case .ipv4(_, let prefix): prefix < 8
    case .ipv6(_, _, let prefix): prefix < 16
    case .unix: false
    }
  }

  /// Waiting for a header that need not come would stall every client that waits for its server,
  /// and not waiting would let anyone forge one with the bytes that come first.
  private mutating func checkAccept(_ listener: ListenerDraft, _ sources: [SourceDraft]) {
    guard !listener.isClientFirst else { return }
    for source in sources where source.header.value == .accept {
      diagnostics.error(
        source.header.position,
        "header: a client of a \(listener.type.word) listener may wait for its server's first "
          + "bytes, so a header that may be missing cannot be waited for; use require or forbid")
    }
  }

  /// A client of a Unix socket has no network, and others do not come over one.
  private mutating func warnOfUnix(_ listener: ListenerDraft) {
    let sources = listener.proxyProtocol?.sources?.value ?? []
    let own = (listener.trusted?.value ?? []) + sources.flatMap(\.networks)
    guard let unix = own.first(where: { $0.network == .unix }), !listener.binds.isEmpty else {
      return
    }
    let bindsUnix = listener.binds.contains { bind in
      bind.addresses.contains { if case .unix = $0 { true } else { false } }
    }
    guard !bindsUnix else { return }
    diagnostics.warn(
      unix.text.position,
      "nobody comes over a Unix socket: listener \"\(listener.name.value)\" binds none")
  }

  /// Two IPv6 addresses and their ports, after the first 16 bytes.
  private static let ipv6HeaderLength = ProxyV2.prefixLength + 36

  private mutating func warnOfSmallLimit(_ listener: ListenerDraft) {
    guard let limit = listener.proxyProtocol?.headerLimit, limit.value < Checks.ipv6HeaderLength
    else { return }
    diagnostics.warn(
      limit.position,
      "max-header: a version 2 header with IPv6 addresses has \(Checks.ipv6HeaderLength) bytes, "
        + "and would be refused")
  }

  // MARK: Backends

  mutating func checkTLVs(of backend: BackendDraft) {
    checkVersion(of: backend)
    checkRepeats(in: backend)
    let plan = tlvPlan(backend)
    if let alignment = backend.header?.alignment, alignment.value > plan.limit {
      diagnostics.error(
        alignment.position,
        "align: \(alignment.value) is more than the limit of \(plan.limit) bytes")
    }
    for tlv in backend.tlvs?.value ?? [] {
      let length = Checks.ipv4HeaderLength + tlv.value.leastLength
      guard length > plan.limit else { continue }
      diagnostics.error(
        tlv.position,
        "proxy-tlvs: with this the header has \(length) bytes at least, and its limit is "
          + "\(plan.limit); it would never be sent")
    }
    warnOfPassing(backend)
  }

  private static let ipv4HeaderLength = ProxyV2.prefixLength + 12

  /// TLVs are version 2's.
  private mutating func checkVersion(of backend: BackendDraft) {
    guard !backend.isSendProxyLost, backend.sendProxy?.value != .v2 else { return }
    let now =
      backend.sendProxy.map { "\"send-proxy: \($0.value)\" at \($0.position)" }
      ?? "no header (send-proxy is none)"
    let uses: [(String, Position?)] = [
      ("proxy-tlvs", backend.tlvs?.position), ("relay-tlvs", backend.relay?.position),
      ("proxy-header", backend.header?.position),
    ]
    for (key, position) in uses {
      guard let position else { continue }
      diagnostics.error(
        position,
        "\(key) is for \"send-proxy: v2\"; backend \"\(backend.name.value)\" gets \(now)")
    }
  }

  private mutating func checkRepeats(in backend: BackendDraft) {
    var made: [UInt8: Position] = [:]
    for tlv in backend.tlvs?.value ?? [] {
      checkRepeat(tlv.value.type, tlv.position, "proxy-tlvs", &made)
    }
    var relayed: [UInt8: Position] = [:]
    for type in backend.relay?.value ?? [] {
      checkRepeat(type.value, type.position, "relay-tlvs", &relayed)
    }
  }

  private mutating func checkRepeat(
    _ type: UInt8, _ position: Position, _ key: String, _ seen: inout [UInt8: Position]
  ) {
    if let first = seen[type] {
      diagnostics.error(
        position, "\(key): \(Scalar.hexadecimal(type)) is listed twice, first at \(first)")
    } else {
      seen[type] = position
    }
  }

  private mutating func warnOfPassing(_ backend: BackendDraft) {
    guard let passes = backend.passesClientHeader, passes.value, !backend.isSendProxyLost else {
      return
    }
    if let sendProxy = backend.sendProxy, sendProxy.value != .none {
      diagnostics.warn(
        passes.position,
        "pass-client-proxy-header is for \"send-proxy: none\"; with \(sendProxy.value) our header "
          + "comes first")
    } else {
      diagnostics.warn(
        passes.position,
        "pass-client-proxy-header: any client can pose as any other towards servers that trust "
          + "this machine")
    }
  }

  /// What is asked for and can never be there. Only when nothing else is wrong: a list that could
  /// not be read may be the one it would come from.
  mutating func warnOfNever() {
    guard !diagnostics.hasErrors else { return }
    for (index, backend) in backends.enumerated() {
      let users = users[index].map { listeners[$0] }
      // A backend without listeners has been warned of.
      guard !users.isEmpty else { continue }
      warnOfNothingToRelay(backend, users)
      guard !users.contains(where: \.readsClientHello) else { continue }
      for tlv in backend.tlvs?.value ?? [] where tlv.value == .authority || tlv.value == .alpn {
        diagnostics.warn(
          tlv.position,
          "proxy-tlvs: \(tlv.value == .alpn ? "alpn" : "authority") comes from a ClientHello, and "
            + "no listener of backend \"\(backend.name.value)\" reads one")
      }
    }
  }

  private mutating func warnOfNothingToRelay(_ backend: BackendDraft, _ users: [ListenerDraft]) {
    guard let relay = backend.relay else { return }
    let isRequired = users.contains { user in
      receiving(user).sources.contains { $0.rule == .require }
    }
    guard !isRequired else { return }
    diagnostics.warn(
      relay.position,
      "relay-tlvs: no listener of backend \"\(backend.name.value)\" requires a header, so "
        + "there is nothing to relay")
  }
}

extension ListenerType {
  var readsClientHello: Bool {
    switch self {
    case .tcp, .serverFirst, .httpProxy: false
    case .tls, .startTLS: true
    }
  }
}

extension TLVDraft {
  fileprivate var type: UInt8 {
    switch self {
    case .uniqueID: ProxyTLV.Kind.uniqueID.rawValue
    case .checksum: ProxyTLV.Kind.crc32c.rawValue
    case .authority: ProxyTLV.Kind.authority.rawValue
    case .alpn: ProxyTLV.Kind.alpn.rawValue
    case .ssl: ProxyTLV.Kind.ssl.rawValue
    case .clientCertificate: ProxyTLV.Kind.sslClientCertificate.rawValue
    case .networkNamespace: ProxyTLV.Kind.netns.rawValue
    case .custom(let custom): custom.type
    }
  }

  /// The bytes it has when all that is not known yet is empty.
  fileprivate var leastLength: Int {
    switch self {
    case .uniqueID, .authority, .alpn, .clientCertificate: ProxyTLV.overhead
    case .ssl: ProxyTLV.overhead + ProxyTLV.sslPrefix
    case .checksum: ProxyTLV.overhead + 4
    case .networkNamespace(let name): ProxyTLV.overhead + name.utf8.count
    case .custom(let custom):
      custom.value.reduce(ProxyTLV.overhead) { length, part in
        if case .text(let bytes) = part { length + bytes.count } else { length }
      }
    }
  }
}
