internal import Routing
internal import Wire

/// What is kept of a connection's ClientHello, until it is closed: for the log, and for the header
/// of each server that is tried. At most 512 bytes of text.
struct HelloNotes {
  /// As sent; empty when there is none. Bytes from outside.
  private(set) var serverName: [UInt8] = []
  /// Whether `serverName` is a host name.
  let isNamed: Bool
  /// The protocols of ALPN in their order, with commas between them. Bytes from outside.
  private(set) var protocols: [UInt8] = []
  /// How many of these bytes are the first protocol.
  private(set) var firstProtocolLength = 0
  let offersECH: Bool
  /// What it would speak without TLS 1.3.
  let legacyVersion: UInt16

  /// A host name has 253 bytes at most; of what is longer the log needs no more.
  private static let nameKept = 255
  /// The longest name of a protocol has 255. Clients offer two or three short ones; whatever does
  /// not fit as a whole is left out.
  private static let protocolsKept = 255

  /// - Parameter keepingText: false where nobody is going to ask for it.
  init(_ hello: ClientHello, in bytes: Span<UInt8>, keepingText: Bool) {
    isNamed = HelloFacts.Form(hello) == .named
    offersECH = hello.offersECH
    legacyVersion = hello.legacyVersion
    guard keepingText else { return }
    if let name = hello.serverName {
      serverName = HelloNotes.copy(name.bytes, of: bytes, most: HelloNotes.nameKept)
    }
    var walk = hello.protocols
    while let name = walk.next(in: bytes) {
      let separator = protocols.isEmpty ? 0 : 1
      guard protocols.count + separator + name.count <= HelloNotes.protocolsKept else { break }
      if separator > 0 { protocols.append(UInt8(ascii: ",")) }
      protocols += HelloNotes.copy(name, of: bytes, most: HelloNotes.protocolsKept)
      if firstProtocolLength == 0 { firstProtocolLength = name.count }
    }
  }

  /// The value of an AUTHORITY TLV; empty without a host name.
  var authority: [UInt8] { isNamed ? serverName : [] }

  /// The value of an ALPN TLV; empty when the client offers none.
  var alpn: [UInt8] { Array(protocols.prefix(firstProtocolLength)) }

  private static func copy(_ run: RecordBytes, of bytes: Span<UInt8>, most: Int) -> [UInt8] {
    var copy: [UInt8] = []
    copy.reserveCapacity(min(run.count, most))
    run.forEach(in: bytes, most: most) { copy.append($0) }
    return copy
  }
}
