import Config
import Routing
import Testing
import Wire

/// `tls`: where it ends, and where it begins.
@Suite struct TLSSettingsTests {
  private static func file(_ listener: String, _ backend: String = "") -> String {
    "listeners:\n  a: { bind: \":993\", backend: b, \(listener) }\n"
      + "backends:\n  b: { servers: [mail.example:1]\(backend) }\n"
  }

  private func snapshot(_ listener: String, _ backend: String = "") throws -> Snapshot {
    let (snapshot, diagnostics) = parse(TLSSettingsTests.file(listener, backend))
    #expect(diagnostics.lines == [])
    return try #require(snapshot)
  }

  @Test func settings() throws {
    let bare = try snapshot("tls: { certificates: /c.pem }").listeners[0]
    #expect(bare.tls == ListenerTLS(certificates: ["/c.pem"]))
    #expect(bare.tls?.leastVersion == .tls12 && bare.tls?.hasTickets == true)
    let set = try snapshot(
      "type: server-first, no-sni: reject, tls: { certificates: [/c, /d], min-version: \"1.3\", "
        + "ciphers: [AES128-SHA, TLS_AES_128_GCM_SHA256], groups: X25519, alpn: [h2, imap], "
        + "client-ca: /ca, client-certificate: require, session-tickets: false }"
    ).listeners[0]
    #expect(
      set.tls
        == ListenerTLS(
          certificates: ["/c", "/d"], leastVersion: .tls13,
          ciphers: ["AES128-SHA", "TLS_AES_128_GCM_SHA256"], groups: ["X25519"],
          alpn: ["h2", "imap"], clientCA: "/ca", clientCertificate: .require, hasTickets: false))
    #expect(set.hello.withoutName == .reject)
  }

  @Test func ofBackends() throws {
    let plain = try snapshot("type: tcp").backends[0]
    #expect(plain.tls == nil)
    #expect(try snapshot("type: tcp", ", tls: {}").backends[0].tls == UpstreamTLS())
    let set = try snapshot(
      "type: tcp",
      ", tls: { ca: /ca, name: Mail.Example., alpn: [imap], client-certificate: /me.pem }")
    #expect(
      set.backends[0].tls
        == UpstreamTLS(
          ca: "/ca", name: HostName("mail.example"), alpn: ["imap"], clientCertificate: "/me.pem"))
  }

  /// What a client's TLS or its certificate tells may be asked for, and told, where it ends here.
  @Test func rulesAndHeaders() throws {
    let made = try snapshot(
      "tls: { certificates: /c, client-ca: /ca, client-certificate: request }, rules: [{ sni: a.b, "
        + "backend: b }, { client-certificate: [\"*@A.example\", Alice], backend: b }]",
      ", send-proxy: v2, proxy-tlvs: [ssl, alpn, authority]")
    #expect(
      made.listeners[0].rules[1].conditions.certificates.map(\.description)
        == ["*@a.example", "alice"])
    #expect(made.backends[0].tlvs.ssl && !made.backends[0].tlvs.clientCertificate)
    let whole = try snapshot(
      "tls: { certificates: /c }", ", send-proxy: v2, proxy-tlvs: client-certificate")
    #expect(whole.backends[0].tlvs.ssl && whole.backends[0].tlvs.clientCertificate)
  }

  /// A header may be missing where clients speak first, as all clients of TLS do.
  @Test func optionalHeaders() throws {
    let made = try snapshot(
      "type: server-first, tls: { certificates: /c }, proxy-protocol: { sources: [{ networks: "
        + "192.0.2.1, header: accept }] }")
    #expect(made.listeners[0].proxyProtocol.sources.map(\.rule) == [.accept])
  }

  @Test("faults", arguments: wrong) func faults(_ fault: Case) {
    #expect(Snapshot.parse(fault.text, file: "f.yaml").diagnostics.lines == fault.expected)
  }

  private static let wrong: [Case] = [
    Case(file("tls: ¦{ min-version: 1.2 }"), "tls needs certificates; it takes the absolute path "
      + "of a PEM file or a directory, or a list"),
    Case(file("tls: ¦on"), "listeners.a.tls takes a mapping (\"key: value\" lines)"),
    Case(
      file("tls: { certificates: [¦c.pem], min-version: ¦1.1, ciphers: [¦\"a b\"], groups: ¦\"\", "
        + "alpn: ¦\"a b\", client-certificate: ¦yes, session-tickets: ¦maybe, ¦certificate: /c }"),
      "certificates: \"c.pem\" is not an absolute path",
      "min-version: \"1.1\" is not one of 1.2 or 1.3, did you mean \"1.2\"?",
      "ciphers: \"a b\" is no name of OpenSSL's",
      "groups: \"\" is no name of OpenSSL's",
      "alpn: \"a b\" is not a protocol of ALPN such as imap or h2",
      "client-certificate: \"yes\" is not one of none, request or require",
      "session-tickets: \"maybe\" is not one of true or false",
      "unknown key \"certificate\", did you mean \"certificates\"?"),
    Case(
      file("type: tls, tls: ¦{ certificates: /c }"),
      "tls ends TLS here, and \"type: tls\" passes it on as it is; to end it, say \"type: "
        + "server-first\" or tcp, whichever is spoken inside"),
    Case(
      file("tls: { certificates: /c }, not-tls: ¦backend"),
      "not-tls is for \"type: tls\"; what is no TLS cannot be ended here, and is turned away"),
    Case(
      file("tls: { certificates: /c, client-certificate: ¦request }"),
      "client-certificate: request needs client-ca, by which certificates are verified"),
    Case(
      file("tls: { certificates: /c, client-ca: ¦/ca }"),
      "warning: client-ca: no client is asked for a certificate; \"client-certificate: require\" "
        + "or request does that"),
    Case(
      file("tls: { certificates: /c }, rules: [{ client-certificate: ¦a.b, backend: b }]"),
      "client-certificate: listener \"a\" asks no client for one; its tls needs "
        + "\"client-certificate: request\" or require"),
    Case(
      file("rules: [{ client-certificate: ¦[a.b, ¦\"a.*\"], backend: b }]"),
      "client-certificate: a client's certificate is seen only where its TLS ends, and listener "
        + "\"a\" ends none; see tls",
      "client-certificate: \"a.*\" is no name of a certificate; a star stands first: "
        + "\"*.example.com\" or \"*@example.com\""),
    Case(
      file("type: tcp", ", tls: { verify: ¦off }"),
      "warning: verify: off believes whoever answers: anyone on the way to the server can read and "
        + "change what is said"),
    Case(
      file("type: tls", ", tls: ¦{}"),
      "warning: tls: listener \"a\" passes its clients' TLS on, which goes to this backend inside "
        + "a second one"),
    Case(
      File.backend("{ servers: [¦\"unix:/x\"], tls: {} }").replacing("¦", with: "")
        .replacing("tls: {}", with: "tls: ¦{}"),
      "tls: server unix:/x at 4:18 has no name that its certificate could be verified by; add name"
    ),
  ]

  @Test func plan() throws {
    let made = try snapshot(
      "type: server-first, tls: { certificates: [/c, /d], alpn: imap, client-ca: /ca, "
        + "client-certificate: require, session-tickets: false }",
      ", tls: { ca: /ca, name: b.example }")
    #expect(
      made.plan.contains(
        """
          type           server-first
            no-sni       backend
          tls            ended here, 1.2 or newer
            certificates /c
                         /d
            alpn         imap
            of clients   required, by /ca
            tickets      none

        """), "\(made.plan)")
    #expect(made.plan.contains("    tls          verified by /ca, as b.example\n"))
  }

  @Test func reloads() throws {
    let was = try snapshot("tls: { certificates: /c }")
    let now = try snapshot("tls: { certificates: /d }", ", tls: {}")
    let changes = ReloadPlan(from: was, to: now).changes.map {
      "\($0.kind) \($0.what) \($0.detail)"
    }
    #expect(changes == ["changed listener a tls", "changed backend b tls"])
  }
}
