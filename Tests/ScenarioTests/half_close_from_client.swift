import TestSupport
import Testing

// A client sends its request and says with FIN that this is all (as `printf … | nc` does). The
// server must see the whole request and then the end, and may take its time: everything it still
// has to say comes through, then its own end. Nothing is lost, doubled or swapped in either
// direction, however large the streams are, whoever is slow, whichever lane and engine moves them.

@Test("half-close from the client", arguments: Engine.all, [11, 12] as [UInt64])
func halfCloseFromClient(engine: Engine, seed: UInt64) throws {
  try Conversation.run(Conversation.mixture(seed: seed), closer: .client, engine: engine)
}
