/// Any bytes as a version 1 line, by themselves and behind `PROXY `.
func fuzzProxyV1(_ bytes: Span<UInt8>) {
  decodeLine(bytes)
  var line = Array("PROXY ".utf8)
  for index in bytes.indices { line.append(bytes[index]) }
  decodeLine(line.span)
}

private func decodeLine(_ bytes: Span<UInt8>) {
  let result = ProxyV1.decode(bytes)
  demandSound(result, of: bytes, limit: ProxyV1.maximumLength)
  guard case .done(let header, let consumed) = result else { return }
  demand(header.version == .v1 && header.command == .proxy, "not version 1")
  for index in 0..<consumed {
    let isEnd = index >= consumed - 2
    demand((bytes[index] == 0x0d || bytes[index] == 0x0a) == isEnd, "CR or LF inside the line")
  }
  guard case .ip(let source, let destination) = header.endpoints else { return }
  do {
    let line = try [UInt8](capacity: ProxyV1.maximumLength) { output throws in
      _ = try ProxyV1.encode(source: source, destination: destination, into: &output)
    }
    guard case .done(let again, _) = ProxyV1.decode(line.span),
      case .ip(let from, let to) = again.endpoints
    else { fatalError("our own line is refused") }
    demand(from.unmapped() == source.unmapped() && to.unmapped() == destination.unmapped(), "moved")
  } catch {
    fatalError("an accepted line cannot be sent on: \(error)")
  }
}
