package import Wire

/// The host name of a ClientHello in the form that rules compare: lower case, without a dot at the
/// end. A value of its own bytes, so that nothing is allocated for it.
package struct HelloName: Sendable {
  private var text = InlineArray<253, UInt8>(repeating: 0)
  package private(set) var count = 0

  /// No name.
  package init() {}

  package init(_ name: HostName) {
    for byte in name.text.utf8 { append(byte) }
  }

  /// Nothing of what is no host name.
  init(_ name: ClientHello.ServerName?, in bytes: Span<UInt8>) {
    guard let name else { return }
    let length: Int
    switch name.form {
    case .hostName: length = name.bytes.count
    case .trailingDot: length = name.bytes.count - 1
    case .addressLiteral, .empty, .badCharacter, .badForm: return
    }
    var copy = HelloName()
    name.bytes.forEach(in: bytes, most: length) { copy.append($0) }
    self = copy
  }

  private mutating func append(_ byte: UInt8) {
    text[count] = UInt8(ascii: "A")...UInt8(ascii: "Z") ~= byte ? byte | 0x20 : byte
    count += 1
  }

  package var bytes: Span<UInt8> {
    @_lifetime(borrow self) get { text.span.extracting(0..<count) }
  }
}

extension HelloName: Equatable {
  package static func == (left: HelloName, right: HelloName) -> Bool {
    guard left.count == right.count else { return false }
    for index in 0..<left.count where left.text[index] != right.text[index] { return false }
    return true
  }
}
