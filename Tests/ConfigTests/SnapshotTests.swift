import Config
import Routing
import Testing
import Wire

/// Good files, and exactly what they mean.
@Suite struct SnapshotTests {
  static let full = """
    # Every key there is.
    workers: 4
    events: epoll
    latency: low
    admin:
      socket: /run/x.sock
      mode: 600
      group: adm
      operate: [root, "@wheel"]
      view: "1000"
    metrics:
      bind: [":9180", "[::1]:9181"]
      page: true
      hosts: [Edge.Example.NET.]
      top-clients: off
    log:
      connections: /var/log/sluice/connections.log
      format: text
      fields: [client, peer_id, time]
      level: debug
    state-directory: /srv/sluice
    limits:
      max-connections: 5000
      exceptions:
        - { networks: 10.0.0.0/8, per-source: off, per-source-rate: off }
        - { networks: "2001:db8::/32", per-source: 9 }
      per-source: 200
      per-source-rate: 50
      memory: 300MiB
    resolver:
      servers: [192.0.2.53, "[::1]:5353"]
      min-ttl: 2s
      max-ttl: 1m
      timeout: 500ms
      attempts: 3
    timeouts:
      preface: 500ms
      proxy-header: 4s
      connect: 3s
      idle: 1h
      half-closed: 1m
      max-age: 7d
      drain: 0s
    trusted-networks: [10.0.0.0/8, 192.0.2.10, "2001:db8::/32"]
    listeners:
      smtp:
        bind: [":25", "[fe80::1%2]:26", "unix:/run/sluice/smtp.sock", "unix:@smtp"]
        type: server-first
        backend: postfix
        trusted-networks: [unix, 192.0.2.10, "::ffff:198.51.100.0/120"]
        inherit: true
        timeouts: { preface: 8s, connect: 2s, idle: "off", half-closed: 3s, max-age: 4s,
          proxy-header: 5s }
        congestion: bbr
        backlog: 128
        protocol: smtp
        max-connections: 700
        queue: { length: 30, timeout: 2s }
        bandwidth: 3MiB
        bandwidth-per-connection: 64KiB
      imap:
        bind: "[::ffff:192.0.2.1]:143"
        type: tcp
        backend: dovecot
        proxy-protocol:
          sources:
            - { networks: 203.0.113.0/24, header: require }
            - networks: [203.0.113.128/25, "2001:db8:1::/48"]
              header: forbid
          inherit: false
          max-header: 64KiB
          unknown: reject
    backends:
      dovecot:
        servers: "unix:/run/dovecot/imap.sock"
        pass-client-proxy-header: false
        check: { type: send-expect, send: 'a\\r\\n\\x00"', expect: "* OK" }
        eject: off
      postfix:
        servers:
          - 127.0.0.1:10025
          - { weight: 0, address: "192.0.2.10:25" }
          - address: 192.0.2.11:25
            weight: 256
            backup: true
            max-connections: 40
        send-proxy: v2
        proxy-tlvs:
          - unique-id
          - crc32c
          - netns: blue
          - { type: 0xE5, value: "$$5 ${listener}/${client.address} é" }
          - { value: "", type: 224 }
        relay-tlvs: [0xea, unique-id, 0xE1]
        proxy-header: { limit: 1KiB, align: 8 }
        balance: two-choices
        slow-start: 30s
        panic-threshold: 25%
        max-connections: 90
        check:
          type: http
          interval: 2s
          timeout: 1s
          jitter: 0%
          rise: 3
          fall: 4
          on-down: 30s
          path: /up
          host: x.example
          status: [200, 300-302]
          proxy: false
        eject: { failures: 5, time: 1s, max-time: 1m }
        retries: 0
        retry-budget: 7%
        timeouts: { connect: 1s, idle: 40m, half-closed: off, max-age: 9h }
        source: 192.0.2.5
        splice: inline
        congestion: cubic

    """

  static let smtpReceives = ProxyReceiving(sources: [
    source(.unix, .require, .own),
    source(.ipv4(0xc000_020a, prefix: 32), .require, .own),
    source(.ipv4(0xc633_6400, prefix: 24), .require, .own),
    source(.ipv4(0x0a00_0000, prefix: 8), .require, .inherited),
    source(.ipv6(high: 0x2001_0db8 << 32, low: 0, prefix: 32), .require, .inherited),
  ])
  static let imapReceives = ProxyReceiving(
    sources: [
      source(.ipv4(0xcb00_7100, prefix: 24), .require, .own),
      source(.ipv4(0xcb00_7180, prefix: 25), .forbid, .own),
      source(.ipv6(high: 0x2001_0db8_0001_0000, low: 0, prefix: 48), .forbid, .own),
    ], headerLimit: 65_536, acceptsUnknown: false)
  static let postfixTLVs = TLVPlan(
    uniqueID: true, checksum: true, networkNamespace: "blue",
    custom: [
      CustomTLV(
        type: 0xe5,
        value: [
          .text(Array("$5 ".utf8)), .listener, .text([0x2f]), .clientAddress,
          .text(Array(" é".utf8)),
        ]),
      CustomTLV(type: 0xe0, value: []),
    ], relay: [0xea, 0x05, 0xe1], alignment: 8, limit: 1024)

  private static let smtp = Listener(
    name: "smtp",
    binds: [
      .ipv4(0, port: 25), .ipv6(high: 0, low: 0, port: 25, scope: 0),
      .ipv6(high: 0xfe80_0000_0000_0000, low: 1, port: 26, scope: 2),
      .unix(path: "/run/sluice/smtp.sock"), .unix(path: "\0smtp"),
    ],
    type: .serverFirst, backend: 1,
    proxyProtocol: smtpReceives,
    timeouts: Timeouts(
      prefaceMs: 8_000, proxyHeaderMs: 5_000, connectMs: 2_000, idleMs: 0, halfClosedMs: 3_000,
      maxAgeMs: 4_000),
    congestion: "bbr", backlog: 128, spoken: .smtp, maxConnections: 700,
    queue: QueueRule(length: 30, timeoutMs: 2_000), bandwidth: 3 << 20,
    connectionBandwidth: 64 << 10)

  private static let limits = Limits(
    maxConnections: 5000, perSource: SourceLimit(atOnce: 200, perSecond: 50),
    exceptions: [
      LimitException(network: .ipv4(0x0a00_0000, prefix: 8), limit: SourceLimit()),
      LimitException(
        network: .ipv6(high: 0x2001_0db8_0000_0000, low: 0, prefix: 32),
        limit: SourceLimit(atOnce: 9, perSecond: 50)),
    ], memory: .bytes(300 << 20))

  private static func source(
    _ network: Network, _ rule: HeaderRule, _ origin: TrustedSource.Origin
  ) -> TrustedSource {
    TrustedSource(network: network, rule: rule, origin: origin)
  }

  private static let fullBackends = [
    Backend(
      name: "dovecot",
      servers: [
        Server(name: "unix:/run/dovecot/imap.sock", address: .unix(path: "/run/dovecot/imap.sock"))
      ],
      check: CheckSettings(
        kind: .exchange(send: [0x61, 0x0d, 0x0a, 0, 0x22], expect: Array("* OK".utf8))),
      ejection: nil),
    Backend(
      name: "postfix",
      servers: [
        Server(name: "127.0.0.1:10025", address: .ipv4(0x7f00_0001, port: 10025)),
        Server(name: "192.0.2.10:25", address: .ipv4(0xc000_020a, port: 25), weight: 0),
        Server(
          name: "192.0.2.11:25", address: .ipv4(0xc000_020b, port: 25), weight: 256,
          isBackup: true, maxConnections: 40),
      ],
      sendProxy: .v2,
      tlvs: postfixTLVs,
      balance: .twoChoices,
      check: CheckSettings(
        kind: .http(path: "/up", host: "x.example", statuses: [200...200, 300...302]),
        intervalMs: 2_000, timeoutMs: 1_000, jitterPercent: 0, rise: 3, fall: 4,
        sendsHeader: false, onDown: .close(afterMs: 30_000)),
      ejection: EjectionSettings(failures: 5, timeMs: 1_000, longestMs: 60_000), retries: 0,
      timeouts: TimeoutOverrides(
        connectMs: 1_000, idleMs: 2_400_000, halfClosedMs: 0, maxAgeMs: 32_400_000),
      source: .ipv4(0xc000_0205, port: 0), splice: .inline, congestion: "cubic",
      slowStartMs: 30_000, panicPercent: 25, maxConnections: 90, retryPercent: 7),
  ]

  @Test func everyKey() throws {
    let (snapshot, diagnostics) = parse(SnapshotTests.full)
    #expect(diagnostics.lines == [])
    let imap = Listener(
      name: "imap", binds: [.ipv4(0xc000_0201, port: 143)], type: .tcp, backend: 0,
      proxyProtocol: SnapshotTests.imapReceives,
      timeouts: Timeouts(
        prefaceMs: 500, proxyHeaderMs: 4_000, connectMs: 3_000, idleMs: 3_600_000,
        halfClosedMs: 60_000, maxAgeMs: 604_800_000),
      congestion: nil, backlog: 4096)
    let expected = Snapshot(
      workers: .count(4), events: .epoll, latency: .low,
      admin: AdminSettings(
        socket: "/run/x.sock", mode: 0o600, group: "adm",
        operate: [.user("root"), .group("wheel")], view: [.user("1000")]),
      metrics: MetricsSettings(
        binds: [
          .ipv4(0, port: 9180), .ipv6(high: 0, low: 0, port: 9180, scope: 0),
          .ipv6(high: 0, low: 1, port: 9181, scope: 0),
        ], hasPage: true, hosts: [try #require(HostName("edge.example.net"))], topClients: 0),
      log: LogSettings(
        connections: .file("/var/log/sluice/connections.log"), format: .text,
        fields: [.client, .senderID, .time], level: .debug),
      stateDirectory: "/srv/sluice",
      limits: SnapshotTests.limits,
      resolver: ResolverSettings(
        servers: [
          .ipv4(0xc000_0235, port: 53), .ipv6(high: 0, low: 1, port: 5353, scope: 0),
        ], minTTLMs: 2_000, maxTTLMs: 60_000, timeoutMs: 500, attempts: 3),
      timeouts: Timeouts(
        prefaceMs: 500, proxyHeaderMs: 4_000, connectMs: 3_000, idleMs: 3_600_000,
        halfClosedMs: 60_000, maxAgeMs: 604_800_000),
      trustedNetworks: [
        .ipv4(0x0a00_0000, prefix: 8), .ipv4(0xc000_020a, prefix: 32),
        .ipv6(high: 0x2001_0db8 << 32, low: 0, prefix: 32),
      ], drainMs: 0, listeners: [SnapshotTests.smtp, imap],
      backends: SnapshotTests.fullBackends)
    #expect(snapshot == expected)

    // The backend's own win over the listener's, which win over the global ones.
    let made = try #require(snapshot)
    #expect(
      made.timeouts(of: made.listeners[0])
        == Timeouts(
          prefaceMs: 8_000, proxyHeaderMs: 5_000, connectMs: 1_000, idleMs: 2_400_000,
          halfClosedMs: 0, maxAgeMs: 32_400_000))
    #expect(made.timeouts(of: made.listeners[1]) == imap.timeouts)
  }

  /// Without a type a check is what the listeners of the backend speak.
  @Test(
    arguments: [
      ("protocol: smtp", CheckKind.smtp), ("protocol: imap, type: server-first", .imap),
      ("protocol: pop3", .pop3), ("protocol: sieve", .sieve), ("protocol: smtp, type: tls", .tls),
      ("type: tls", .tls),
    ])
  func checksSpeakWhatListenersSpeak(listener: String, kind: CheckKind) throws {
    for check in ["{}", "{ interval: 5s }", ""] {
      let file = """
        listeners:
          a: { bind: ":25", backend: b, \(listener) }
          other: { bind: ":26", backend: c, protocol: imap }
          plain: { bind: ":27", backend: b }
        backends:
          c: { servers: [127.0.0.1:2] }
          b:
            servers: [127.0.0.1:1]
            check: \(check)
        """
      let (snapshot, diagnostics) = parse(file)
      #expect(diagnostics.lines == [], "\(file)")
      #expect(snapshot?.backends[1].check == CheckSettings(kind: kind))
    }
  }

  @Test func defaults() throws {
    let text = """
      log:
        # nothing but comments
      listeners: { a: { bind: 127.0.0.1:25, backend: b } }
      backends: { b: { servers: ["[::1]:26"] } }
      """
    let (snapshot, diagnostics) = parse(text)
    #expect(diagnostics.isEmpty)
    let made = try #require(snapshot)
    #expect(made.workers == .auto)
    #expect(made.events == .auto)
    #expect(made.admin == nil)
    #expect(made.metrics == nil)
    #expect(made.log.connections == .stdout)
    #expect(made.log.format == .json)
    #expect(made.log.fields == LogField.allCases)
    #expect(made.log.level == .info)
    #expect(made.stateDirectory == "/var/lib/sluice")
    #expect(made.limits.maxConnections == 100_000)
    #expect(made.drainMs == 30_000)
    let listener = made.listeners[0]
    #expect(listener.type == .tcp)
    #expect(listener.backlog == 4096)
    #expect(listener.congestion == nil)
    #expect(listener.proxyProtocol == ProxyReceiving())
    #expect(listener.proxyProtocol.headerLimit == 4096)
    #expect(listener.proxyProtocol.acceptsUnknown)
    #expect(listener.timeouts.prefaceMs == 10_000)
    #expect(listener.timeouts.proxyHeaderMs == 3_000)
    #expect(listener.timeouts.connectMs == 5_000)
    #expect(listener.timeouts.idleMs == 2_100_000)
    #expect(listener.timeouts.halfClosedMs == 120_000)
    #expect(listener.timeouts.maxAgeMs == 0)
    let backend = made.backends[0]
    #expect(backend.sendProxy == .none)
    #expect(backend.tlvs.isEmpty)
    #expect(backend.tlvs.limit == 536)
    #expect(!backend.passesClientHeader)
    #expect(backend.balance == .roundRobin)
    #expect(backend.retries == 2)
    #expect(backend.splice == .auto)
    #expect(backend.source == nil)
    #expect(backend.timeouts == TimeoutOverrides())
  }

  /// `admin` and `metrics` are on as soon as they are there.
  @Test(arguments: ["admin:", "admin: {}"]) func bareAdmin(line: String) throws {
    let admin = try #require(parse(File.top(line)).snapshot?.admin)
    #expect(admin.socket == "/run/sluice/admin.sock")
    #expect(admin.mode == 0o660)
    #expect(admin.group == nil)
    #expect(admin.operate == [.user("root")])
    #expect(admin.view == [])
  }

  @Test(arguments: ["metrics:", "metrics: {}"]) func bareMetrics(line: String) throws {
    let metrics = try #require(parse(File.top(line)).snapshot?.metrics)
    #expect(metrics.binds == [.ipv4(0x7f00_0001, port: 9180)])
    #expect(metrics.hasPage)
    #expect(metrics.hosts == [])
    #expect(metrics.topClients == 20)
  }

  @Test func blockAndFlowStylesAndByteOrderMarkMeanTheSame() {
    let block =
      "listeners:\n  a:\n    bind: ':25'\n    backend: b\n"
      + "backends:\n  b:\n    servers:\n    - 127.0.0.1:1\n"
    let flow =
      #"{listeners: {a: {bind: ":25", backend: "b"}}, backends: {b: {servers: [127.0.0.1:1]}}}"#
    let crlf = block.replacing("\n", with: "\r\n")
    let expected = parse(flow).snapshot
    #expect(expected != nil)
    #expect(parse(block).snapshot == expected)
    #expect(parse("\u{feff}---\n" + block + "...\n").snapshot == expected)
    #expect(parse(crlf).snapshot == expected)
  }

  private static let plan = """
    workers          4
    events           epoll
    latency          low
    connections      at most 5000
    each source      at most 200, and 50 new ones a second
      10.0.0.0/8     no limit
      2001:db8::/32  at most 9, and 50 new ones a second
    admin            /run/x.sock (mode 0600, group adm); root, @wheel may operate, 1000 may view
    metrics          0.0.0.0:9180, [::]:9180, [::1]:9181, with the page (no clients), \
    asked as edge.example.net
    connection log   /var/log/sluice/connections.log (text, 3 fields)
    log level        debug
    state            /srv/sluice
    drain            at once

    listener smtp
      bind           0.0.0.0:25, [::]:25, [fe80::1%2]:26, unix:/run/sluice/smtp.sock, unix:@smtp
      type           server-first
      backlog        128
      protocol       smtp
      connections    at most 700
      queue          at most 30, for 2s
      bandwidth      3MiB a second and direction
        of each      64KiB a second and direction
      congestion     bbr
      proxy-protocol within 5s, at most 4096 bytes, UNKNOWN accepted
        10.0.0.0/8       require (inherited)
        198.51.100.0/24  require (own)
        192.0.2.10/32    require (own)
        2001:db8::/32    require (inherited)
        unix             require (own)
        everyone else    forbid
      backend        postfix (two-choices, 0 retries)
        servers      127.0.0.1:10025, 192.0.2.10:25 (weight 0), \
    192.0.2.11:25 (weight 256, backup, at most 40)
        slow start   30s
        connections  at most 90
        send-proxy   v2, at most 1024 bytes, in multiples of 8
          tlvs       unique-id, crc32c, netns blue, \
    0xE5 "$$5 ${listener}/${client.address} é", 0xE0 ""
          relayed    aws, unique-id, 0xE1
        check        http, every 2s
        splice       inline
        source       192.0.2.5
        congestion   cubic
      preface        8s
      connect        1s
      idle           40m
      half-closed    off
      max-age        9h

    listener imap
      bind           192.0.2.1:143
      type           tcp
      backlog        4096
      proxy-protocol within 4s, at most 65536 bytes, UNKNOWN rejected
        203.0.113.0/24    require (own)
        203.0.113.128/25  forbid (own)
        2001:db8:1::/48   forbid (own)
        everyone else     forbid
      backend        dovecot (round-robin, 2 retries)
        servers      unix:/run/dovecot/imap.sock
        send-proxy   none (a client's own header is refused)
        check        send-expect, every 5s
        splice       auto
      preface        500ms
      connect        3s
      idle           1h
      half-closed    1m
      max-age        7d

    """

  @Test func planNamesAllThatWouldRun() throws {
    let plan = try #require(parse(SnapshotTests.full).snapshot).plan
    #expect(plan == SnapshotTests.plan)
  }
}
