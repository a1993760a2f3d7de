package import Wire

/// How a listener speaks with clients, and then with their servers, before TLS.
package struct StartTLSPlan: Sendable {
  package let words: StartTLSWords
  /// From when a server is reached until it has agreed to TLS and begun it; never off.
  package let serverMs: UInt32

  package init(words: StartTLSWords, serverMs: UInt32) {
    self.words = words
    self.serverMs = serverMs
  }
}
