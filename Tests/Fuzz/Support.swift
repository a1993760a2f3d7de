import Glibc

// What the fuzz targets share. A target is a file beside this one; all of them and Sources/Wire
// are a single module and one program, which SLUICE_FUZZ_TARGET tells what to do. tools/fuzz builds
// and runs it.

/// The entry point of libFuzzer.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOne(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  guard let start else { return 0 }
  target(Span(_unsafeStart: start, count: count))
  return 0
}

private let target: @Sendable (Span<UInt8>) -> Void = {
  let name = getenv("SLUICE_FUZZ_TARGET").map { String(cString: $0) }
  switch name {
  case "address-text": return fuzzAddressText
  case "chunked-body": return fuzzChunkedBody
  case "client-hello": return fuzzClientHello
  case "dns-reply": return fuzzDNSReply
  case "encode-decode": return fuzzEncodeDecode
  case "http-head": return fuzzHTTPHead
  case "no-proxy": return fuzzNoProxy
  case "proxy-v1": return fuzzProxyV1
  case "proxy-v2": return fuzzProxyV2
  case "segmentation": return fuzzSegmentation
  case "stability": return fuzzStability
  case "starttls-client": return fuzzStartTLSClient
  case "starttls-server": return fuzzStartTLSServer
  case "tlv": return fuzzTLV
  default: fatalError("SLUICE_FUZZ_TARGET names no target")
  }
}()

/// Ends the process with a message, so that the input is kept as a reproducer.
func demand(_ holds: Bool, _ message: @autoclosure () -> String) {
  if !holds { fatalError(message()) }
}

/// Takes numbers and bytes from the front of an input; zeroes once it is used up.
struct Choices: ~Escapable {
  private var rest: Span<UInt8>

  @_lifetime(copy bytes)
  init(_ bytes: Span<UInt8>) { rest = bytes }

  var isEmpty: Bool { rest.count == 0 }

  mutating func byte() -> UInt8 {
    guard rest.count > 0 else { return 0 }
    let first = rest[0]
    rest = rest.extracting(1..<rest.count)
    return first
  }

  mutating func word(_ bytes: Int) -> UInt64 {
    var word: UInt64 = 0
    for _ in 0..<bytes { word = word << 8 | UInt64(byte()) }
    return word
  }

  mutating func bytes(atMost limit: Int) -> [UInt8] {
    let count = min(Int(byte()), limit, rest.count)
    return (0..<count).map { _ in byte() }
  }

  /// An address of any kind; IPv4-mapped ones are common, Unix paths have no NUL but in front.
  mutating func address() -> SocketAddress {
    let kind = byte()
    let port = UInt16(word(2))
    switch kind % 4 {
    case 0: return .ipv4(UInt32(word(4)), port: port)
    case 1: return .ipv6(high: word(8), low: word(8), port: port, scope: 0)
    case 2: return SocketAddress.ipv4(UInt32(word(4)), port: port).mapped()
    default:
      let name = bytes(atMost: 107).map { $0 & 0x7f }.filter { $0 != 0 }
      let path = String(decoding: name, as: UTF8.self)
      return .unix(path: kind & 4 == 0 || path.isEmpty ? path : "\0" + path)
    }
  }
}

/// What holds for every answer of a decoder, whatever the bytes.
func demandSound(_ result: Parse<ProxyHeader>, of bytes: Span<UInt8>, limit: Int) {
  switch result {
  case .needMore(let atLeast):
    demand(atLeast > bytes.count, "asks for bytes it has")
    demand(atLeast <= limit, "asks for more than the limit")
  case .invalid(let reason):
    demand((0...bytes.count).contains(reason.offset), "offset outside the input")
  case .done(let header, let consumed):
    demand((15...min(bytes.count, limit)).contains(consumed), "consumed outside the input")
    demand(header.tlvs.lowerBound >= 15 && header.tlvs.upperBound == consumed, "TLVs elsewhere")
    if case .unix(let from, let to) = header.endpoints {
      demand(from.lowerBound == 16 && from.upperBound <= 124, "source path elsewhere")
      demand(to.lowerBound == 124 && to.upperBound <= 232, "destination path elsewhere")
    }
    if header.command == .local { demand(header.streamAddresses == nil, "LOCAL with addresses") }
  }
}

/// The header as version 2 with a checksum made anew; nil where it has a path that is no text.
func encodeAgain(_ header: ProxyHeader, from bytes: Span<UInt8>) -> [UInt8]? {
  var area: [UInt8] = []
  var walk = ProxyTLVWalk(header.tlvs)
  do throws(Reason) {
    while let tlv = try walk.next(in: bytes) {
      if tlv.kind == .crc32c { continue }
      for index in (tlv.value.lowerBound - ProxyTLV.overhead)..<tlv.value.upperBound {
        area.append(bytes[index])
      }
    }
  } catch {
    fatalError("an accepted area does not walk: \(error)")
  }
  switch header.endpoints {
  case .none:
    return encodeV2(.unix(path: ""), .unix(path: ""), command: .local, tlvs: area, checksum: true)
  case .ip(let from, let to):
    return encodeV2(from, to, transport: header.transport, tlvs: area, checksum: true)
  case .unix(let from, let to):
    guard let source = text(from, of: bytes), let destination = text(to, of: bytes) else {
      return nil
    }
    return encodeV2(
      .unix(path: source), .unix(path: destination), transport: header.transport, tlvs: area,
      checksum: true)
  }
}

private func text(_ range: Range<Int>, of bytes: Span<UInt8>) -> String? {
  String(validating: range.map { bytes[$0] }, as: UTF8.self)
}

func encodeV2(
  _ source: SocketAddress, _ destination: SocketAddress,
  command: ProxyHeader.Command = .proxy, transport: ProxyHeader.Transport = .stream,
  tlvs: [UInt8], checksum: Bool, alignment: Int = 1
) -> [UInt8] {
  do {
    return try [UInt8](capacity: ProxyV2.maximumLength) { output throws in
      let count = try ProxyV2.encode(
        command: command, transport: transport, source: source, destination: destination,
        tlvs: tlvs.span, checksum: checksum, alignment: alignment, limit: .max, into: &output)
      demand(count == output.count, "the count is not that of the bytes written")
    }
  } catch {
    fatalError("refuses to encode: \(error)")
  }
}
