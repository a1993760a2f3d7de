/// What `GET /v1/explain` is asked: a connection that need not exist. Its fields are the names of
/// the query's parameters; `alpn` has commas between the protocols there.
package struct ExplainQuery: Codable, Hashable, Sendable {
  package var listener: String
  /// The client's address, with or without a port.
  package var from: String
  /// The address it reaches; nil is the listener's own.
  package var to: String?
  /// The name in its ClientHello; nil has none.
  package var sni: String?
  /// The protocols that it offers.
  package var alpn: [String]
  /// The URL that a client of a forward proxy asks for. Then `listener` may be empty, for the only
  /// one there is.
  package var egress: String?
  /// Who has logged in to it; nil for nobody.
  package var user: String?

  /// A client of a forward proxy, where none is named.
  package static let anyClient = "127.0.0.1"

  package init(
    listener: String, from: String, to: String? = nil, sni: String? = nil, alpn: [String] = [],
    egress: String? = nil, user: String? = nil
  ) {
    self.egress = egress
    self.user = user
    self.listener = listener
    self.from = from
    self.to = to
    self.sni = sni
    self.alpn = alpn
  }
}

/// What would become of that connection, and why.
package struct Explanation: Codable, Hashable, Sendable {
  package var listener: String
  /// As the configuration writes it: `tls`.
  package var type: String
  package var client: String
  package var local: String
  package var sni: String?
  package var alpn: [String]
  /// The rules that were asked, in their order, up to the one that decided; of many the last ones.
  package var rules: [Rule]
  /// Rules before these.
  package var omitted: Int
  /// The rule that decided; nil where none did.
  package var rule: String?
  /// Why it would be turned away: a reason code; nil when it would not.
  package var reason: String?
  /// What the client would hear then, in words; nil when nothing.
  package var reply: String?
  package var backend: Backend?
  /// Of a request to a forward proxy.
  package var egress: Egress?
  package var timeouts: Timeouts
  /// What there is to say besides, one sentence each.
  package var notes: [String]

  package struct Rule: Codable, Hashable, Sendable {
    package var name: String
    package var matches: Bool
    /// What it wants that the connection has not; nil when it matches.
    package var why: String?

    package init(name: String, matches: Bool, why: String? = nil) {
      self.name = name
      self.matches = matches
      self.why = why
    }
  }

  package struct Egress: Codable, Hashable, Sendable {
    package var name: String
    package var url: String
    package var user: String?
    /// `allow`, `deny` or `report`: what the rule says, or `deny` where none takes it.
    package var action: String?
    /// Whether it goes past the parents, or there are none; nil where it does not come to that.
    package var isDirect: Bool?
    /// The entry of `no-proxy` that has it go past the parents.
    package var bypass: String?
    /// Why the host's name does not resolve.
    package var resolution: String?
    /// What would be dialled, and what is kept from.
    package var addresses: [Address]

    package struct Address: Codable, Hashable, Sendable {
      package var address: String
      package var isAllowed: Bool
      /// What keeps clients from it: the guard and its range, or a rule.
      package var why: String?

      package init(address: String, isAllowed: Bool, why: String? = nil) {
        self.address = address
        self.isAllowed = isAllowed
        self.why = why
      }
    }

    package init(name: String, url: String, user: String? = nil) {
      self.name = name
      self.url = url
      self.user = user
      addresses = []
    }
  }

  package struct Backend: Codable, Hashable, Sendable {
    package var name: String
    package var balance: String
    package var retries: Int
    package var servers: [Server]
    /// `none`, `v1` or `v2`.
    package var sendProxy: String
    /// The PROXY header that the first server would get, in hexadecimal; nil without one.
    package var header: String?
    package var fields: [Field]

    package init(
      name: String, balance: String, retries: Int, servers: [Server], sendProxy: String,
      header: String? = nil, fields: [Field] = []
    ) {
      self.name = name
      self.balance = balance
      self.retries = retries
      self.servers = servers
      self.sendProxy = sendProxy
      self.header = header
      self.fields = fields
    }
  }

  package struct Server: Codable, Hashable, Sendable {
    package var name: String
    package var weight: Int
    package var isBackup: Bool
    /// As of the running process; nil where only a file was asked.
    package var state: ServerStatus.State?

    package init(name: String, weight: Int, isBackup: Bool, state: ServerStatus.State? = nil) {
      self.name = name
      self.weight = weight
      self.isBackup = isBackup
      self.state = state
    }
  }

  /// One field of a header.
  package struct Field: Codable, Hashable, Sendable {
    package var name: String
    package var value: String
    /// In bytes from the header's start.
    package var offset: Int
    package var length: Int

    package init(name: String, value: String, offset: Int, length: Int) {
      self.name = name
      self.value = value
      self.offset = offset
      self.length = length
    }
  }

  /// Milliseconds; 0 is off.
  package struct Timeouts: Codable, Hashable, Sendable {
    package var prefaceMs: Int
    package var connectMs: Int
    /// Until a server has begun TLS; nil where it is not asked to.
    package var startTLSMs: Int?
    package var idleMs: Int
    package var halfClosedMs: Int
    package var maxAgeMs: Int

    package init(
      prefaceMs: Int, connectMs: Int, startTLSMs: Int? = nil, idleMs: Int, halfClosedMs: Int,
      maxAgeMs: Int
    ) {
      self.prefaceMs = prefaceMs
      self.connectMs = connectMs
      self.startTLSMs = startTLSMs
      self.idleMs = idleMs
      self.halfClosedMs = halfClosedMs
      self.maxAgeMs = maxAgeMs
    }
  }

  package init(
    listener: String, type: String, client: String, local: String, sni: String?, alpn: [String],
    timeouts: Timeouts
  ) {
    self.listener = listener
    self.type = type
    self.client = client
    self.local = local
    self.sni = sni
    self.alpn = alpn
    self.timeouts = timeouts
    rules = []
    omitted = 0
    notes = []
  }
}
