internal import AdminAPI
internal import Config
internal import FoundationEssentials
internal import System
internal import Wire

/// A request to the API.
struct AdminRequest: Sendable {
  var method: String
  /// Without the query.
  var path: String
  /// Decoded, in order; a name without a value has "".
  var query: [(name: String, value: String)]
  var body: [UInt8]
  var caller: LocalSockets.Caller

  /// - Parameter target: `/v1/sessions?limit=10`, RFC 9112 section 3.2.1.
  /// - Throws: `invalid` for percent-encodings that are none.
  init(
    method: String, target: String, body: [UInt8], caller: LocalSockets.Caller
  ) throws(Failure) {
    self.method = method
    self.body = body
    self.caller = caller
    let parts = target.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
    path = String(parts[0])
    query = []
    guard parts.count > 1 else { return }
    for item in parts[1].split(separator: "&") {
      let sides = item.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      let name = try AdminRequest.decoded(sides[0])
      let value = sides.count > 1 ? try AdminRequest.decoded(sides[1]) : ""
      guard !query.contains(where: { $0.name == name }) else {
        throw Failure(.invalid, "the parameter \"\(name)\" is there twice")
      }
      query.append((name, value))
    }
  }

  /// The value of a parameter that may be absent.
  func parameter(_ name: String) -> String? { query.first { $0.name == name }?.value }

  /// Refuses parameters that are not among `names`.
  func allow(_ names: [String]) throws(Failure) {
    for (name, _) in query where !names.contains(name) {
      let known = names.isEmpty ? "it takes none" : "there are " + names.joined(separator: ", ")
      throw Failure(.invalid, "unknown parameter \"\(name)\"; \(known)")
    }
  }

  /// The body as JSON; an empty one is `{}`.
  func decode<Body: Decodable>(_ type: Body.Type) throws(Failure) -> Body {
    do {
      let bytes = body.isEmpty ? Array("{}".utf8) : body
      return try JSONDecoder().decode(type, from: Data(bytes))
    } catch let error as DecodingError {
      throw Failure(.invalid, "the body: \(AdminRequest.sentence(about: error))")
    } catch {
      throw Failure(.invalid, "the body is not understood")
    }
  }

  /// RFC 3986 section 2.1, and a plus is a plus.
  private static func decoded(_ text: Substring) throws(Failure) -> String {
    var bytes: [UInt8] = []
    var rest = text.utf8[...]
    while let byte = rest.popFirst() {
      guard byte == UInt8(ascii: "%") else {
        bytes.append(byte)
        continue
      }
      let digits = String(decoding: rest.prefix(2), as: UTF8.self)
      let isHex = digits.utf8.count == 2 && digits.allSatisfy(\.isHexDigit)
      guard isHex, let value = UInt8(digits, radix: 16) else {
        throw Failure(.invalid, "a percent sign in the query is followed by no two hex digits")
      }
      bytes.append(value)
      rest = rest.dropFirst(2)
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  private static func sentence(about error: DecodingError) -> String {
    switch error {
    case .keyNotFound(let key, let place):
      return "\(path(place))\"\(key.stringValue)\" is missing"
    case .typeMismatch(let type, let place):
      return "\(path(place))it is no \(name(of: type))"
    case .valueNotFound(let type, let place):
      return "\(path(place))null is no \(name(of: type))"
    case .dataCorrupted(let place) where place.debugDescription.contains("not valid JSON"):
      return "it is not JSON"
    case .dataCorrupted(let place):
      return path(place) + place.debugDescription
    @unknown default:
      return "it is not understood"
    }
  }

  private static func path(_ place: DecodingError.Context) -> String {
    place.codingPath.isEmpty
      ? "" : "\"" + place.codingPath.map(\.stringValue).joined(separator: ".") + "\": "
  }

  private static func name(of type: any Any.Type) -> String {
    switch "\(type)" {
    case "Int", "Double": "number"
    case "Bool": "true or false"
    case "String": "text"
    default: "object"
    }
  }
}

extension HTTPAnswer {
  static func json(_ value: some Encodable, status: Int = 200) -> HTTPAnswer {
    HTTPAnswer(
      status: status, contentType: "application/json",
      body: AdminJSON.encode(value) + [UInt8(ascii: "\n")])
  }

  static func text(_ body: [UInt8], _ contentType: String) -> HTTPAnswer {
    HTTPAnswer(status: 200, contentType: contentType, body: body)
  }

  static func failure(_ failure: Failure) -> HTTPAnswer {
    json(failure, status: failure.code.status)
  }
}

extension Failure.Code {
  /// RFC 9110 section 15.
  var status: Int {
    switch self {
    case .invalid: 400
    case .forbidden: 403
    case .notFound: 404
    case .methodNotAllowed: 405
    case .busy: 409
    case .tooLarge: 413
    case .refused: 422
    case .unavailable: 503
    }
  }
}

/// The one way in which JSON leaves: keys in order, no secrets, and nothing that a terminal could
/// obey.
enum AdminJSON {
  static func encode(_ value: some Encodable) -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    // Fails for numbers that JSON does not have (infinity, for one), and we have none of these.
    guard let data = try? encoder.encode(value) else { return Array("null".utf8) }
    return escapingControls(Redaction.withoutUserinfo(Array(data)))
  }

  /// RFC 8259 lets DEL and the C1 controls (U+0080 to U+009F) stand in strings as they are, and
  /// some terminals take them for the beginning of a command.
  static func escapingControls(_ json: [UInt8]) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(json.count)
    var index = 0
    while index < json.count {
      let byte = json[index]
      let next = index + 1 < json.count ? json[index + 1] : 0
      index += 1
      if byte == 0x7f {
        bytes.append(text: "\\u007f")
      } else if byte == 0xc2, (0x80..<0xa0).contains(next) {
        bytes.append(text: "\\u00" + hexadecimalText([next]))
        index += 1
      } else {
        bytes.append(byte)
      }
    }
    return bytes
  }
}
