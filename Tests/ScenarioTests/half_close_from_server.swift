import TestSupport
import Testing

// A server ends its half first (as a HTTP/1.0 server or `finger` does) while the client still
// sends: the client sees everything and then the end, and what it goes on to send still reaches the
// server.

@Test("half-close from the server", arguments: Engine.all, [21, 22] as [UInt64])
func halfCloseFromServer(engine: Engine, seed: UInt64) throws {
  try Conversation.run(Conversation.mixture(seed: seed), closer: .server, engine: engine)
}
