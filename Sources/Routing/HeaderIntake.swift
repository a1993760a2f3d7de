package import Wire

/// Why a side sends no more bytes for a question, as far as it makes a difference here.
package enum Ending: Sendable, Equatable {
  /// More may come.
  case no
  case halfClosed
  case timedOut
  case full
}

/// What is made of the first bytes of a source that must or may send a PROXY header.
package enum HeaderVerdict: Sendable, Equatable {
  case needMore
  case header(ProxyHeader, consumed: Int)
  /// It is its own client, and its bytes are payload. Only where the header is optional.
  case noHeader
  /// `offset` is the byte at which the header is wrong.
  case reject(RejectReason, offset: Int)
}

/// How a listener takes headers.
package struct HeaderIntake: Sendable, Equatable {
  /// The longest version 2 header, in bytes.
  package let limit: Int
  package let acceptsUnknown: Bool

  package init(limit: Int, acceptsUnknown: Bool) {
    self.limit = limit
    self.acceptsUnknown = acceptsUnknown
  }

  /// Looks at all bytes held so far.
  ///
  /// - Parameter required: without it, bytes that are no header are payload; once they are one up
  ///   to the end of a signature, the header must be valid all the same.
  package func decide(
    _ bytes: Span<UInt8>, _ ending: Ending, required: Bool
  ) -> HeaderVerdict {
    if !required, Signature.match(bytes) == .no { return .noHeader }
    switch ProxyHeader.decode(bytes, v2Limit: limit, ended: ending == .halfClosed) {
    case .done(let header, let consumed):
      let isUnknown =
        header.version == .v1 && header.command == .proxy && header.streamAddresses == nil
      if isUnknown, !acceptsUnknown { return .reject(.headerUnknown, offset: 6) }
      return .header(header, consumed: consumed)
    case .needMore:
      switch ending {
      case .no: return .needMore
      case .timedOut where !required && Signature.match(bytes) != .yes: return .noHeader
      case .timedOut: return .reject(.headerTimeout, offset: bytes.count)
      case .halfClosed, .full: return .reject(.parser(.proxyTruncated), offset: bytes.count)
      }
    case .invalid(let reason):
      if !required, reason.code == .proxyProbe || Signature.match(bytes) == .maybe {
        return .noHeader
      }
      return .reject(.parser(reason.code), offset: reason.offset)
    }
  }
}

/// Whether bytes begin like a PROXY header: `PROXY ` or the twelve bytes of version 2.
package enum Signature: Sendable {
  package enum Match: Sendable { case yes, no, maybe }

  /// Bytes to hold, of which the first twelve settle it: the client's first message comes in one
  /// read.
  package static let holdLimit = 16384

  private static let v1: InlineArray<6, UInt8> = [0x50, 0x52, 0x4f, 0x58, 0x59, 0x20]
  private static let v2: InlineArray<12, UInt8> = [
    0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a,
  ]

  package static func match(_ bytes: Span<UInt8>) -> Match {
    let asV1 = match(bytes, v1.span)
    return asV1 == .no ? match(bytes, v2.span) : asV1
  }

  private static func match(_ bytes: Span<UInt8>, _ signature: Span<UInt8>) -> Match {
    for index in 0..<min(bytes.count, signature.count) where bytes[index] != signature[index] {
      return .no
    }
    return bytes.count >= signature.count ? .yes : .maybe
  }
}

/// Decision 11: a client could forge a header towards a backend that trusts our address and gets no
/// header of ours. Its first bytes wait until they cannot be a signature: those of the stream, or
/// those behind the header of a proxy in front, which speaks for itself and not for them.
package enum ForgeryVerdict: Sendable, Equatable {
  case needMore
  case clean
  case forged

  /// However long it takes: only the end of the stream makes the beginning of a signature harmless.
  package init(_ bytes: Span<UInt8>, _ ending: Ending) {
    switch Signature.match(bytes) {
    case .yes: self = .forged
    case .no: self = .clean
    case .maybe: self = ending == .halfClosed ? .clean : .needMore
    }
  }
}
