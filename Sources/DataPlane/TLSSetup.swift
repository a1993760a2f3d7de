internal import CSluice
internal import Routing

/// Its raw value is that of RFC 8446 section 4.2.1.
package enum TLSVersion: UInt16, Sendable, Comparable, CaseIterable {
  case tls12 = 0x0303
  case tls13 = 0x0304

  package static func < (left: TLSVersion, right: TLSVersion) -> Bool {
    left.rawValue < right.rawValue
  }
}

/// What a server asks its clients for.
package enum ClientCertificatePolicy: Hashable, Sendable, CaseIterable {
  case none
  /// One, good or bad, or none: the facts say what came.
  case request
  /// One that its authorities have signed.
  case require
}

/// A certificate with its key.
package struct TLSIdentity: Hashable, Sendable {
  /// PEM, the leaf first; blocks of other kinds, such as its key, are skipped.
  package var chain: [UInt8]
  /// PEM, not encrypted; may be the bytes of the chain.
  package var key: [UInt8]
  /// An OCSP response, DER; empty: none.
  package var staple: [UInt8]

  package init(chain: [UInt8], key: [UInt8], staple: [UInt8] = []) {
    self.chain = chain
    self.key = key
    self.staple = staple
  }
}

package struct TLSServerOptions: Hashable, Sendable {
  /// Of the same names, each with another kind of key.
  package var identities: [TLSIdentity]
  package var minVersion = TLSVersion.tls12
  package var maxVersion = TLSVersion.tls13
  /// OpenSSL's list for TLS 1.2; empty: ECDHE with AEAD.
  package var ciphers = ""
  /// For TLS 1.3; empty: OpenSSL's.
  package var suites = ""
  /// As `X25519:P-256`; empty: these and P-384, with X25519MLKEM768 first where OpenSSL has it.
  package var groups = ""
  /// The first that the client offers is taken; when it offers others only, it is refused.
  package var alpn: [String] = []
  /// PEM: whom clients' certificates must be from.
  package var clientAuthorities: [UInt8] = []
  package var clientCertificate = ClientCertificatePolicy.none
  /// Whose sessions these are: those of others are not resumed.
  package var scope = ""

  package init(identities: [TLSIdentity]) { self.identities = identities }
}

package struct TLSClientOptions: Hashable, Sendable {
  /// PEM; empty: the system's.
  package var authorities: [UInt8] = []
  /// Whether a server's certificate must be good, and have its name.
  package var verifies = true
  package var alpn: [String] = []
  package var identity: TLSIdentity?
  package var minVersion = TLSVersion.tls12

  package init() {}
}

/// What is wrong with what a setup was to be made of.
package struct TLSProblem: Error, Hashable, Sendable {
  package enum Input: Hashable, Sendable {
    /// With the place of the identity.
    case certificate(Int)
    case key(Int)
    case staple(Int)
    case versions
    case ciphers
    case suites
    case groups
    case alpn
    case authorities
    case name
    case memory
  }

  package let input: Input
  /// OpenSSL's words: `key values mismatch`.
  package let reason: String

  package init(input: Input, reason: String) {
    self.input = input
    self.reason = reason
  }

  init(_ problem: sluice_tls_problem) {
    let index = Int(problem.index)
    input =
      switch problem.input {
      case .certificate: .certificate(index)
      case .key: .key(index)
      case .staple: .staple(index)
      case .versions: .versions
      case .ciphers: .ciphers
      case .suites: .suites
      case .groups: .groups
      case .alpn: .alpn
      case .authorities: .authorities
      case .name: .name
      case .memory, .none: .memory
      }
    reason = unsafe withUnsafeBytes(of: problem.reason) { bytes in
      unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
  }
}

/// Random keys that the tickets of all setups and workers are sealed with. Three are known at a
/// time: a client may come back until its ticket's key is forgotten.
@safe package final class TicketKeys: @unchecked Sendable {
  fileprivate let raw: OpaquePointer

  /// - Throws: without randomness.
  package init() throws(TLSProblem) {
    guard let raw = unsafe sluice_ticket_keys_create() else { throw TicketKeys.noRandomness }
    unsafe self.raw = raw
  }

  deinit { unsafe sluice_ticket_keys_destroy(raw) }

  /// A new key seals from now on, and the oldest is forgotten.
  package func rotate() throws(TLSProblem) {
    guard unsafe sluice_ticket_keys_rotate(raw) else { throw TicketKeys.noRandomness }
  }

  private static let noRandomness = TLSProblem(input: .memory, reason: "no randomness")
}

/// What TLS is ended with: certificates, and whom they let in. Workers share it, and connections
/// keep it alive.
@safe package final class TLSServerSetup: TransportSetup, @unchecked Sendable {
  let raw: OpaquePointer
  /// C knows them by their address.
  private let tickets: TicketKeys?

  /// - Parameter tickets: nil resumes no session.
  package init(_ options: TLSServerOptions, tickets: TicketKeys?) throws(TLSProblem) {
    self.tickets = tickets
    let alpn = try wireForm(options.alpn)
    var raw = sluice_tls_options()
    raw.server = true
    raw.min_version = options.minVersion.rawValue
    raw.max_version = options.maxVersion.rawValue
    raw.verify =
      switch options.clientCertificate {
      case .none: .off
      case .request: .request
      case .require: .require
      }
    unsafe raw.tickets = unsafe tickets?.raw
    let parts = [
      Array(options.ciphers.utf8), Array(options.suites.utf8), Array(options.groups.utf8), alpn,
      options.clientAuthorities, Array(options.scope.utf8),
    ]
    unsafe self.raw = unsafe try makeSetup(&raw, options.identities, parts)
  }

  deinit { unsafe sluice_tls_setup_release(raw) }
}

/// What servers are spoken to with. Keeps their sessions, of 64 servers at most.
@safe package final class TLSClientSetup: TransportSetup, @unchecked Sendable {
  let raw: OpaquePointer

  package init(_ options: TLSClientOptions) throws(TLSProblem) {
    let alpn = try wireForm(options.alpn)
    var raw = sluice_tls_options()
    raw.min_version = options.minVersion.rawValue
    raw.max_version = TLSVersion.tls13.rawValue
    raw.verify = options.verifies ? .require : .off
    let parts = [[], [], [], alpn, options.authorities, []]
    let identities = options.identity.map { [$0] } ?? []
    unsafe self.raw = unsafe try makeSetup(&raw, identities, parts)
  }

  deinit { unsafe sluice_tls_setup_release(raw) }
}

/// The extension's form: each name behind its length. RFC 7301 section 3.1
private func wireForm(_ protocols: [String]) throws(TLSProblem) -> [UInt8] {
  var bytes: [UInt8] = []
  for name in protocols {
    guard 1...255 ~= name.utf8.count else {
      throw TLSProblem(input: .alpn, reason: "a name has 1 to 255 bytes")
    }
    bytes.append(UInt8(name.utf8.count))
    bytes += name.utf8
  }
  return bytes
}

/// - Parameter parts: ciphers, suites, groups, protocols, authorities and the name.
private func makeSetup(
  _ options: inout sluice_tls_options, _ identities: [TLSIdentity], _ parts: [[UInt8]]
) throws(TLSProblem) -> OpaquePointer {
  // All bytes in one piece, so that one pointer lends them.
  var bytes: [UInt8] = []
  func place(_ part: [UInt8]) -> Range<Int> {
    bytes += part
    return (bytes.count - part.count)..<bytes.count
  }
  let places = parts.map(place)
  let certificates = identities.map { (place($0.chain), place($0.key), place($0.staple)) }
  var problem = sluice_tls_problem()
  let made = unsafe bytes.withUnsafeBufferPointer { all -> OpaquePointer? in
    func lend(_ range: Range<Int>) -> sluice_bytes {
      var lent = sluice_bytes()
      unsafe lent.start = all.baseAddress.map { unsafe $0 + range.lowerBound }
      lent.length = UInt32(range.count)
      return lent
    }
    options.ciphers = lend(places[0])
    options.suites = lend(places[1])
    options.groups = lend(places[2])
    options.alpn = lend(places[3])
    options.authorities = lend(places[4])
    options.name = lend(places[5])
    let lent = certificates.map {
      sluice_tls_identity(chain: lend($0.0), key: lend($0.1), staple: lend($0.2))
    }
    return unsafe lent.withUnsafeBufferPointer { identities in
      unsafe options.identities = identities.baseAddress
      options.identities_count = UInt32(identities.count)
      return unsafe sluice_tls_setup_create(&options, &problem)
    }
  }
  guard let made = unsafe made else { throw TLSProblem(problem) }
  return unsafe made
}
