internal import CSluice


/// One side of TLS without a socket: memory in, memory out. For one thread at a time.
@safe package struct TLSStream: ~Copyable {
  private let raw: OpaquePointer

  package enum Step: Sendable, Equatable {
    /// The handshake wants more of the other side's bytes.
    case more
    case open
    /// The other side has said its last byte.
    case ended
    /// Its FIN came without that.
    case truncated
    /// In OpenSSL's words.
    case failed(String)
  }

  /// - Parameter name: whose certificate the server must have; sent as SNI unless it is an address.
  package init(client setup: TLSClientSetup, name: String) throws(TLSProblem) {
    unsafe raw = unsafe try TLSStream.make(setup.raw, name)
  }

  package init(server setup: TLSServerSetup) throws(TLSProblem) {
    unsafe raw = unsafe try TLSStream.make(setup.raw, "")
  }

  deinit { unsafe sluice_tls_stream_destroy(raw) }

  private static func make(
    _ setup: OpaquePointer, _ name: String
  ) throws(TLSProblem) -> OpaquePointer {
    let text = Array(name.utf8)
    let made = unsafe text.withUnsafeBufferPointer { name in
      unsafe sluice_tls_stream_create(
        setup, sluice_bytes(start: name.baseAddress, length: UInt32(name.count)))
    }
    guard let made = unsafe made else {
      let isLong = text.count > 253
      throw TLSProblem(
        input: isLong ? .name : .memory, reason: isLong ? "longer than 253 bytes" : "out of memory")
    }
    return unsafe made
  }

  /// Takes the other side's bytes, and goes on with the handshake.
  ///
  /// - Parameter ended: its FIN is behind them.
  /// - Returns: also how many were taken: all, as long as what they say is read between.
  package mutating func receive(
    _ bytes: Span<UInt8>, ended: Bool = false
  ) -> (step: Step, taken: Int) {
    var taken: UInt32 = 0
    let step = unsafe bytes.withUnsafeBufferPointer { buffer in
      unsafe sluice_tls_stream_receive(
        raw, sluice_bytes(start: buffer.baseAddress, length: UInt32(buffer.count)), ended, &taken)
    }
    return (self.step(step), Int(taken))
  }

  /// What the other side says, up to so many bytes; empty when there is nothing now.
  package mutating func read(upTo most: Int) -> (step: Step, bytes: [UInt8]) {
    var step = sluice_tls_step.open
    let bytes = unsafe [UInt8](unsafeUninitializedCapacity: most) { buffer, count in
      guard let start = buffer.baseAddress else { return }
      var read: UInt32 = 0
      step = unsafe sluice_tls_stream_read(raw, start, UInt32(most), &read)
      count = Int(read)
    }
    return (self.step(step), bytes)
  }

  /// Seals bytes, once it is open and what was sealed before was taken.
  ///
  /// - Returns: also how many there was room for.
  package mutating func write(_ bytes: Span<UInt8>) -> (step: Step, taken: Int) {
    var taken: UInt32 = 0
    let step = unsafe bytes.withUnsafeBufferPointer { buffer in
      unsafe sluice_tls_stream_write(
        raw, sluice_bytes(start: buffer.baseAddress, length: UInt32(buffer.count)), &taken)
    }
    return (self.step(step), Int(taken))
  }

  /// Says that nothing more will come.
  package mutating func end() { unsafe sluice_tls_stream_end(raw) }

  /// What is to be sent to the other side: asked for after each of the calls above.
  package mutating func takeOutput() -> [UInt8] { unsafe sluice_tls_stream_output(raw).copied }

  package var facts: TLSFacts {
    var facts = sluice_tls_facts()
    unsafe sluice_tls_stream_facts(raw, &facts)
    return TLSFacts(facts)
  }

  private func step(_ step: sluice_tls_step) -> Step {
    switch step {
    case .more: .more
    case .open: .open
    case .ended: .ended
    case .truncated: .truncated
    case .failed: .failed(facts.failure)
    }
  }
}
