@testable import Wire

/// A hello made by hand: sound unless something is set that is not.
struct HelloBuilder {
  var version: UInt16 = 0x0303
  var sessionID: [UInt8] = Array(repeating: 7, count: 32)
  var suites: [UInt16] = [0x1301, 0x1302, 0xc02b]
  var compressions: [UInt8] = [0]
  /// Nil leaves out even their length.
  var extensions: [(type: UInt16, content: [UInt8])]? = []

  init(_ extensions: [(type: UInt16, content: [UInt8])]? = []) { self.extensions = extensions }

  /// The message without records.
  var message: [UInt8] {
    var body = word(version) + Array(repeating: 0xab, count: 32)
    body += [UInt8(sessionID.count)] + sessionID
    body += vector(suites.flatMap { word($0) })
    body += [UInt8(compressions.count)] + compressions
    if let extensions { body += vector(extensions.flatMap { word($0.type) + vector($0.content) }) }
    return handshake(body)
  }

  /// The message in as few records as can hold it.
  var bytes: [UInt8] { inRecords(message, of: 1 << 14) }

  /// Where, in `bytes`, the first extension begins.
  var firstExtension: Int {
    5 + 4 + 2 + 32 + 1 + sessionID.count + 2 + 2 * suites.count + 1 + compressions.count + 2
  }
}

func word(_ value: UInt16) -> [UInt8] { [UInt8(value >> 8), UInt8(value & 255)] }

/// With two bytes of length in front.
func vector(_ content: [UInt8]) -> [UInt8] { word(UInt16(content.count)) + content }

func handshake(_ body: [UInt8], type: UInt8 = 1, length: Int? = nil) -> [UInt8] {
  let length = length ?? body.count
  return [type, UInt8(length >> 16), UInt8(length >> 8 & 255), UInt8(length & 255)] + body
}

func record(_ fragment: [UInt8], type: UInt8 = 22, version: UInt16 = 0x0301) -> [UInt8] {
  [type] + word(version) + vector(fragment)
}

func inRecords(_ message: [UInt8], of size: Int) -> [UInt8] {
  stride(from: 0, to: message.count, by: size).flatMap {
    record(Array(message[$0..<min($0 + size, message.count)]))
  }
}

/// The handshake bytes of records that hold nothing else.
func withoutRecords(_ bytes: [UInt8]) -> [UInt8] {
  var message: [UInt8] = []
  var at = 0
  while at < bytes.count {
    let length = Int(bytes[at + 3]) << 8 | Int(bytes[at + 4])
    message += bytes[(at + 5)..<(at + 5 + length)]
    at += 5 + length
  }
  return message
}

typealias HelloExtension = (type: UInt16, content: [UInt8])

func serverName(_ name: String) -> HelloExtension { serverName(Array(name.utf8)) }

func serverName(_ name: [UInt8]) -> HelloExtension { (0, vector([0] + vector(name))) }

func protocols(_ names: [String]) -> HelloExtension {
  (16, vector(names.flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) }))
}

func versions(_ values: [UInt16]) -> HelloExtension {
  (43, [UInt8(2 * values.count)] + values.flatMap { word($0) })
}

/// All that a hello says, without where it said it, so that two can be compared whose records
/// differ.
struct HelloContent: Equatable {
  var legacyVersion: UInt16
  var highestVersion: UInt16?
  var sessionIDLength: Int
  var cipherCount: Int
  var form: ClientHello.ServerName.Form?
  var name: [UInt8]?
  var hostName: String?
  var protocols: [[UInt8]]
  var offersECH: Bool

  init(_ hello: ClientHello, in bytes: [UInt8]) {
    legacyVersion = hello.legacyVersion
    highestVersion = hello.highestVersion
    sessionIDLength = hello.sessionIDLength
    cipherCount = hello.cipherCount
    form = hello.serverName?.form
    name = hello.serverName.map { copy($0.bytes, from: bytes) }
    hostName = hello.serverName?.hostName(in: bytes.span)?.text
    offersECH = hello.offersECH
    protocols = []
    var walk = hello.protocols
    while let name = walk.next(in: bytes.span) { protocols.append(copy(name, from: bytes)) }
  }

  var protocolNames: [String] { protocols.map { String(decoding: $0, as: UTF8.self) } }
}

func copy(_ run: RecordBytes, from bytes: [UInt8]) -> [UInt8] {
  [UInt8](capacity: run.count) { output in
    precondition(run.append(to: &output, from: bytes.span) && output.count == run.count)
  }
}

func readHello(_ bytes: [UInt8], ended: Bool = false) -> Parse<ClientHello> {
  ClientHello.decode(bytes.span, ended: ended)
}

func content(_ bytes: [UInt8]) -> HelloContent? {
  readHello(bytes).value.map { HelloContent($0, in: bytes) }
}

extension ClientHello.ServerName {
  func hostName(in bytes: [UInt8]) -> HostName? { hostName(in: bytes.span) }

  /// The name as it is compared, by way of the function that allocates nothing.
  func comparable(in bytes: [UInt8], room: Int = 253) -> [UInt8]? {
    var isWritten = false
    let text = [UInt8](capacity: room) { output in
      isWritten = appendHostName(to: &output, from: bytes.span)
    }
    precondition(isWritten || text.isEmpty)
    return isWritten ? text : nil
  }
}
