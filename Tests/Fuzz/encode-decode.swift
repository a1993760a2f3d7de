/// A header made of the input's bytes: what is sent is what is read.
func fuzzEncodeDecode(_ bytes: Span<UInt8>) {
  var choices = Choices(bytes)
  let flags = choices.byte()
  let alignment = Int(choices.byte())
  let (source, destination) = (choices.address(), choices.address())
  var area: [UInt8] = []
  while !choices.isEmpty, area.count < 2000 {
    let kind = choices.byte()
    let value = choices.bytes(atMost: 128)
    if kind == ProxyTLV.Kind.crc32c.rawValue { continue }
    if kind == ProxyTLV.Kind.ssl.rawValue {
      area += report(&choices)
      continue
    }
    area += [kind, 0, UInt8(value.count)] + value
  }
  let transport: ProxyHeader.Transport = flags & 1 == 0 ? .stream : .datagram
  let checksum = flags & 2 != 0
  let header = encodeV2(
    source, destination, transport: transport, tlvs: area, checksum: checksum, alignment: alignment)
  guard case .done(let read, header.count) = ProxyV2.decode(header.span) else {
    fatalError("our own header is refused: \(ProxyV2.decode(header.span))")
  }
  demandSame(read, source, destination, in: header)
  if read.command == .proxy {
    demand(read.transport == transport, "another transport")
    demand(header[read.tlvs].starts(with: area), "other TLVs")
    demand(alignment < 2 || header.count % alignment == 0, "not aligned")
    demand(
      (ProxyTLV.first(.crc32c, of: read.tlvs, in: header.span) != nil) == checksum, "checksum")
  }
  encodeLine(source, destination)
}

/// An SSL TLV made of the input's bytes: what is told is what is read.
private func report(_ choices: inout Choices) -> [UInt8] {
  var report = ProxySSLReport(
    version: choices.text(), cipher: choices.text(), signatureAlgorithm: choices.text())
  let flags = choices.byte()
  let name = choices.bytes(atMost: 64)
  if flags & 1 != 0 {
    report.client = .presented(
      name: name, certificate: choices.bytes(atMost: 128), fault: UInt32(flags >> 4),
      isOfSession: flags & 2 != 0)
  }
  let bytes = report.bytes(withCertificate: flags & 4 != 0) ?? []
  var walk = ProxyTLVWalk(0..<bytes.count)
  guard let tlv = try? walk.next(in: bytes.span), let ssl = ProxySSL(tlv, in: bytes.span) else {
    fatalError("our own SSL TLV is refused")
  }
  demand(ssl.client == report.bits && ssl.verify == report.verify, "other flags")
  let told = ProxyTLV.first(.sslVersion, of: ssl.tlvs, in: bytes.span)
  demand(Array(bytes[told?.value ?? 0..<0]) == Array(report.version.utf8), "another version")
  let isNamed = ProxyTLV.first(.sslCommonName, of: ssl.tlvs, in: bytes.span) != nil
  demand(isNamed == (flags & 1 != 0 && flags >> 4 == 0 && !name.isEmpty), "another name")
  return bytes
}

extension Choices {
  fileprivate mutating func text() -> String {
    String(decoding: bytes(atMost: 64).map { $0 & 0x7f }, as: UTF8.self)
  }
}

private func encodeLine(_ source: SocketAddress, _ destination: SocketAddress) {
  do {
    let line = try [UInt8](capacity: ProxyV1.maximumLength) { output throws in
      _ = try ProxyV1.encode(source: source, destination: destination, into: &output)
    }
    guard case .done(let read, line.count) = ProxyV1.decode(line.span) else {
      fatalError("our own line is refused")
    }
    demandSame(read, source, destination, in: line)
  } catch {
    demand(source.port == nil || destination.port == nil, "refuses to encode: \(error)")
  }
}

private func demandSame(
  _ header: ProxyHeader, _ source: SocketAddress, _ destination: SocketAddress, in bytes: [UInt8]
) {
  switch header.endpoints {
  case .none:
    demand(header.command == .local, "PROXY without addresses")
    demand((source.port == nil) != (destination.port == nil), "addresses lost")
  case .ip(let from, let to):
    demand(from.unmapped() == source.unmapped(), "another source")
    demand(to.unmapped() == destination.unmapped(), "another destination")
  case .unix(let from, let to):
    demand(source == .unix(path: String(decoding: bytes[from], as: UTF8.self)), "another source")
    demand(
      destination == .unix(path: String(decoding: bytes[to], as: UTF8.self)), "another destination")
  }
}
