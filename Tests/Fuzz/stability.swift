/// Whatever is accepted can be sent on, and stays what it is from then on.
func fuzzStability(_ bytes: Span<UInt8>) {
  guard case .done(let first, _) = ProxyHeader.decode(bytes),
    let once = encodeAgain(first, from: bytes)
  else { return }
  guard case .done(let second, once.count) = ProxyV2.decode(once.span, limit: .max) else {
    fatalError("our own header is refused")
  }
  guard let twice = encodeAgain(second, from: once.span) else { fatalError("lost its path") }
  demand(once == twice, "not stable")
  demand(second.transport == first.transport || second.command == .local, "another transport")
  demand(
    second.streamAddresses?.source.unmapped() == first.streamAddresses?.source.unmapped(),
    "another source")
}
