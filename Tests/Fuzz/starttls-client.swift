/// Any bytes as what a server says before TLS, in one piece and byte by byte.
func fuzzStartTLSClient(_ bytes: Span<UInt8>) {
  guard bytes.count > 0 else { return }
  let kind = MailProtocol.allCases[Int(bytes[0] & 3)]
  let purpose = bytes[0] & 4 == 0 ? StartTLSClient.Purpose.startTLS : .plaintext
  let text = bytes.extracting(1..<bytes.count)
  let whole = Talk(kind, purpose, text, segment: text.count)
  let pieces = Talk(kind, purpose, text, segment: 1)
  demand((0...text.count).contains(whole.client.position), "position outside the input")
  demand(whole.said.isEmpty || whole.said.suffix(2) == [0x0d, 0x0a], "an unfinished line")
  demand(pieces.said.starts(with: whole.said), "says something else in pieces")
  switch whole.step {
  // In one piece, what follows an answer is seen with it.
  case .over(.outOfTurn): break
  case .ready:
    demand(whole.client.position == text.count, "ready with bytes left")
    demand(pieces == whole, "\(pieces) in pieces")
  default: demand(pieces == whole, "\(pieces) in pieces, \(whole) in one")
  }
}

private struct Talk: Equatable {
  var said: [UInt8] = []
  var step = StartTLSClient.Step.more
  var client: StartTLSClient

  init(
    _ kind: MailProtocol, _ purpose: StartTLSClient.Purpose, _ text: Span<UInt8>, segment: Int
  ) {
    client = StartTLSClient(kind, purpose)
    let hello = Array("EHLO x\r\n".utf8)
    var end = 0
    repeat {
      end = min(text.count, end + max(segment, 1))
      repeat {
        said += [UInt8](capacity: StartTLSClient.sayingRoom + hello.count) { output in
          step = client.hear(text.extracting(0..<end), hello: hello.span, into: &output)
        }
      } while step == .say
    } while end < text.count && step == .more
  }
}
