/// Any bytes as what a client says before TLS, in one piece and byte by byte.
func fuzzStartTLSServer(_ bytes: Span<UInt8>) {
  guard bytes.count > 0 else { return }
  let kind = MailProtocol.allCases[Int(bytes[0] & 3)]
  let plaintext = bytes[0] & 4 == 0 ? StartTLSWords.Plaintext.refused : .served
  let name = HostName("mail.example")
  guard let name, let words = StartTLSWords(kind, name: name, plaintext: plaintext) else { return }
  let text = bytes.extracting(1..<bytes.count)
  let whole = Talk(words, text, segment: text.count)
  let pieces = Talk(words, text, segment: 1)
  demand(whole.said.count <= 17 * words.replyRoom, "says too much")
  demand((0...text.count).contains(whole.server.position), "position outside the input")
  let isInText = (0...whole.server.position).contains(whole.server.hello.upperBound)
  demand(isInText, "a hello that is not there")
  // In one piece, what follows the wish for TLS is seen with it.
  if whole.step == .over(.pipelined) {
    demand(pieces.step == .startTLS, "\(pieces.step) in pieces")
  } else {
    demand(pieces == whole, "\(pieces) in pieces, \(whole) in one")
  }
  // What is said is lines, and nothing in them that a terminal would obey.
  for byte in whole.said {
    demand(byte >= 0x20 && byte != 0x7f || byte == 0x0d || byte == 0x0a, "says \(byte)")
  }
  demand(whole.said.isEmpty || whole.said.suffix(2) == [0x0d, 0x0a], "an unfinished line")
}

private struct Talk: Equatable {
  var said: [UInt8] = []
  var step = StartTLSServer.Step.more
  var server = StartTLSServer()

  init(_ words: StartTLSWords, _ text: Span<UInt8>, segment: Int) {
    var end = 0
    repeat {
      end = min(text.count, end + max(segment, 1))
      repeat {
        said += [UInt8](capacity: words.replyRoom) { output in
          step = server.hear(text.extracting(0..<end), words, into: &output)
        }
      } while step == .reply
    } while end < text.count && step == .more
  }
}
