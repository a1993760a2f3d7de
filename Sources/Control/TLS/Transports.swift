internal import Config
internal import DataPlane
internal import Routing
internal import System
internal import Wire

/// What TLS is ended with at listeners and begun with at backends, made of the files that a
/// configuration names. A value: a reload makes another one beside it.
///
/// A setup is known by the contents of its files. One whose contents are what they were is the same
/// object from reload to reload, so that tickets and sessions live on.
struct Transports: Sendable {
  /// A certificate that a listener serves.
  struct Certificate: Hashable, Sendable {
    let listener: String
    let path: String
    let names: [String]
    /// Seconds since 1970.
    let notBefore: Int64
    let notAfter: Int64
  }

  /// What a listener was made of, and what came of it.
  private struct Ending: Sendable {
    /// In the order of the file, as the two below.
    let options: [TLSServerOptions]
    let setups: [TLSServerSetup]
    let paths: [String]
    let plan: TLSPlan
  }

  private(set) var certificates: [Certificate] = []
  private var endings: [String: Ending] = [:]
  private var beginnings: [String: TLSClientSetup] = [:]
  private var servers: [TLSServerOptions: TLSServerSetup] = [:]
  private var clients: [TLSClientOptions: TLSClientSetup] = [:]
  private var tickets: TicketKeys?

  /// Nothing ends or begins.
  init() {}

  /// How a listener ends TLS; nil when it does not.
  func ending(of listener: String) -> TLSPlan? { endings[listener]?.plan }

  /// The file of the certificate that a client gets; of several kinds of keys, of the first.
  func path(for name: String?, at listener: String) -> String? {
    guard let ending = endings[listener] else { return nil }
    let host = name.flatMap { HostName($0) }
    let setup = ending.plan.setup(for: host.map { HelloName($0) } ?? HelloName())
    return ending.setups.firstIndex { $0 === setup }.map { ending.paths[$0] }
  }

  /// What the servers of a backend are spoken to with.
  func beginning(of backend: String) -> TLSClientSetup? { beginnings[backend] }

  /// Those who had a ticket of an old key are known for two turns more.
  func rotateTickets() throws(TLSProblem) { try tickets?.rotate() }

  var hasCertificates: Bool { !certificates.isEmpty }

  /// The listeners and backends whose files say something else than those of `former`, without
  /// those that either does not have: what the configuration says tells of these.
  func changes(from former: Transports) -> [ReloadPlan.Change] {
    let ended = endings.compactMap { name, ending -> ReloadPlan.Change? in
      guard let was = former.endings[name], was.options != ending.options else { return nil }
      let paths = certificates.filter { $0.listener == name }.map { certificate in
        "\(certificate.path) until \(Transports.day(certificate.notAfter))"
      }
      let more = paths.count > 4 ? " and \(paths.count - 4) more" : ""
      let detail = paths.prefix(4).joined(separator: ", ") + more
      return ReloadPlan.Change(.changed, "certificates \(name)", detail)
    }
    let begun = beginnings.compactMap { name, setup -> ReloadPlan.Change? in
      guard let was = former.beginnings[name], was !== setup else { return nil }
      return ReloadPlan.Change(.changed, "certificates \(name)", "of the backend")
    }
    return (ended + begun).sorted { $0.what < $1.what }
  }

  /// `2027-03-01`
  static func day(_ seconds: Int64) -> String {
    let text = Clock.timestamp(wallMs: UInt64(clamping: seconds) &* 1000)
    return String(text.prefix(10))
  }
}

extension Transports {
  /// What became of the files of a configuration.
  struct Preparation: Sendable {
    var transports = Transports()
    /// Sentences, each with a file: with any of these the transports are not to be used.
    var problems: [String] = []
    var warnings: [String] = []
  }

  /// Reads all files and makes what is new.
  ///
  /// - Parameters:
  ///   - former: what is in force; its unchanged parts are taken over.
  ///   - isStart: nothing is served yet, so that a certificate whose time is over is better than
  ///     none, and only warned of.
  static func prepare(
    _ snapshot: Snapshot, former: Transports = Transports(), isStart: Bool, nowSeconds: Int64
  ) -> Preparation {
    var made = Preparation()
    made.transports.tickets = former.tickets
    for listener in snapshot.listeners {
      guard let tls = listener.tls else { continue }
      made.end(listener.name, tls, former, isStart: isStart, nowSeconds)
    }
    for backend in snapshot.backends {
      guard let tls = backend.tls else { continue }
      made.begin(backend.name, tls, former)
    }
    return made
  }
}

extension Transports.Preparation {
  fileprivate mutating func end(
    _ listener: String, _ tls: ListenerTLS, _ former: Transports, isStart: Bool, _ now: Int64
  ) {
    let files = CertificateFiles(tls.certificates)
    warnings += files.warnings
    var faults = files.problems
    var authorities: [UInt8] = []
    if let path = tls.clientCA { authorities = read(path, &faults) }
    let known = Set(former.certificatesKnown)
    for certificate in files.found {
      guard let fault = certificate.facts.fault(atSeconds: now) else { continue }
      // What is served already is no worse than it was.
      if isStart || known.contains(certificate.identity.chain) {
        warnings.append("listener \(listener): \(certificate.path): \(fault)")
      } else {
        faults.append("\(certificate.path): \(fault)")
      }
    }
    guard faults.isEmpty, !files.found.isEmpty else {
      problems += faults.map { "listener \(listener): \($0)" }
      return
    }
    if tls.hasTickets, transports.tickets == nil {
      do throws(TLSProblem) {
        transports.tickets = try TicketKeys()
      } catch {
        problems.append("listener \(listener): session-tickets: \(error.reason)")
      }
    }
    let groups = CertificateGroups(files.found)
    warnings += groups.warnings
    var made: [(options: TLSServerOptions, setup: TLSServerSetup)] = []
    for group in groups.all {
      let options = TLSServerOptions(tls, group.map(\.identity), authorities, listener)
      do throws(TLSProblem) {
        let tickets = tls.hasTickets ? transports.tickets : nil
        made.append((options, try transports.end(options, former, tickets: tickets)))
      } catch {
        let place = Transports.place(error, group, tls)
        problems.append("listener \(listener): \(place): \(error.reason)")
        return
      }
    }
    let plan = TLSPlan(
      fallback: made[0].setup,
      named: zip(groups.all, made).map { (patterns: $0.flatMap(\.patterns), setup: $1.setup) })
    transports.put(listener, made, plan, groups.all)
  }

  fileprivate mutating func begin(
    _ backend: String, _ tls: UpstreamTLS, _ former: Transports
  ) {
    var faults: [String] = []
    var options = TLSClientOptions()
    if let ca = tls.ca { options.authorities = read(ca, &faults) }
    options.verifies = tls.verify == .full
    options.alpn = tls.alpn
    if let path = tls.clientCertificate {
      let files = CertificateFiles([path])
      warnings += files.warnings
      faults += files.problems
      if files.found.count > 1 { faults.append("\(path): more than one certificate") }
      options.identity = files.found.first?.identity
    }
    guard faults.isEmpty else {
      problems += faults.map { "backend \(backend): \($0)" }
      return
    }
    do throws(TLSProblem) {
      try transports.begin(backend, options, former)
    } catch {
      problems.append("backend \(backend): \(Transports.place(error, tls)): \(error.reason)")
    }
  }

  private func read(_ path: String, _ faults: inout [String]) -> [UInt8] {
    do throws(Files.ReadError) {
      return try Files.read(path, atMost: CertificateFiles.mostBytes)
    } catch {
      faults.append("\(path): \(error)")
      return []
    }
  }
}

extension Transports {
  fileprivate var certificatesKnown: [[UInt8]] {
    servers.keys.flatMap { $0.identities.map(\.chain) }
  }

  /// A setup that was there before, or a new one.
  fileprivate mutating func end(
    _ options: TLSServerOptions, _ former: Transports, tickets: TicketKeys?
  ) throws(TLSProblem) -> TLSServerSetup {
    let setup: TLSServerSetup
    if let same = servers[options] ?? former.servers[options] {
      setup = same
    } else {
      setup = try TLSServerSetup(options, tickets: tickets)
    }
    servers[options] = setup
    return setup
  }

  fileprivate mutating func put(
    _ listener: String, _ made: [(options: TLSServerOptions, setup: TLSServerSetup)],
    _ plan: TLSPlan, _ groups: [[StoredCertificate]]
  ) {
    endings[listener] = Ending(
      options: made.map(\.options), setups: made.map(\.setup), paths: groups.map { $0[0].path },
      plan: plan)
    certificates += groups.joined().map { certificate in
      Certificate(
        listener: listener, path: certificate.path, names: certificate.names,
        notBefore: certificate.facts.notBefore, notAfter: certificate.facts.notAfter)
    }
  }

  fileprivate mutating func begin(
    _ backend: String, _ options: TLSClientOptions, _ former: Transports
  ) throws(TLSProblem) {
    let setup: TLSClientSetup
    if let same = clients[options] ?? former.clients[options] {
      setup = same
    } else {
      setup = try TLSClientSetup(options)
    }
    clients[options] = setup
    beginnings[backend] = setup
  }

  /// Where a person finds what is wrong: a file, or a key of the configuration.
  fileprivate static func place(
    _ problem: TLSProblem, _ group: [StoredCertificate], _ tls: ListenerTLS
  ) -> String {
    switch problem.input {
    case .certificate(let index): group[index].path
    case .key(let index): group[index].keyPath
    case .staple(let index): group[index].staplePath
    case .versions: "tls.min-version"
    case .ciphers, .suites: "tls.ciphers"
    case .groups: "tls.groups"
    case .alpn: "tls.alpn"
    case .authorities: tls.clientCA ?? "tls.client-ca"
    case .name, .memory: "tls"
    }
  }

  fileprivate static func place(_ problem: TLSProblem, _ tls: UpstreamTLS) -> String {
    switch problem.input {
    case .certificate, .key, .staple: tls.clientCertificate ?? "tls.client-certificate"
    case .alpn: "tls.alpn"
    case .authorities: tls.ca ?? "the system's certificates"
    case .name: "tls.name"
    case .versions, .ciphers, .suites, .groups, .memory: "tls"
    }
  }
}

/// Certificates of the same names are served together, one for each kind of key: which of them a
/// client gets is between it and OpenSSL.
private struct CertificateGroups {
  /// In the order of their first ones; none is empty.
  private(set) var all: [[StoredCertificate]] = []
  private(set) var warnings: [String] = []

  init(_ certificates: [StoredCertificate]) {
    var places: [Set<String>: Int] = [:]
    for certificate in certificates {
      let names = Set(certificate.names)
      guard let place = places[names], !names.isEmpty else {
        places[names] = all.count
        all.append([certificate])
        continue
      }
      let kind = certificate.facts.keyKind
      guard let other = all[place].firstIndex(where: { $0.facts.keyKind == kind }) else {
        all[place].append(certificate)
        continue
      }
      let (first, second) = (all[place][other], certificate)
      let later = first.facts.notAfter >= second.facts.notAfter ? first : second
      let earlier = first.facts.notAfter >= second.facts.notAfter ? second : first
      all[place][other] = later
      if later.identity != earlier.identity {
        warnings.append(
          "\(earlier.path): not used; \(later.path) has the same names and a key of the same kind, "
            + "and is good for longer")
      }
    }
  }
}

extension StoredCertificate {
  fileprivate var patterns: [NamePattern] {
    names.compactMap { $0.hasPrefix(".") ? nil : NamePattern($0) }
  }
}

extension CertificateFacts {
  /// `RSA`, `EC`, `ED`.
  fileprivate var keyKind: String { String(keyAlgorithm.prefix { !$0.isNumber }) }

  /// Why it is good for nobody at that time.
  fileprivate func fault(atSeconds now: Int64) -> String? {
    if notAfter <= now { return "expired on \(Transports.day(notAfter))" }
    if notBefore > now { return "not valid before \(Transports.day(notBefore))" }
    return nil
  }
}

extension TLSServerOptions {
  fileprivate init(
    _ tls: ListenerTLS, _ identities: [TLSIdentity], _ authorities: [UInt8], _ listener: String
  ) {
    self.init(identities: identities)
    minVersion = tls.leastVersion == .tls13 ? .tls13 : .tls12
    ciphers = tls.ciphers.filter { !$0.hasPrefix("TLS_") }.joined(separator: ":")
    suites = tls.ciphers.filter { $0.hasPrefix("TLS_") }.joined(separator: ":")
    groups = tls.groups.joined(separator: ":")
    alpn = tls.alpn
    clientAuthorities = authorities
    clientCertificate =
      switch tls.clientCertificate {
      case .none: .none
      case .request: .request
      case .require: .require
      }
    scope = listener
  }
}
