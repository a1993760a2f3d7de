package import Wire

/// What a connection's dial and relay are told of its listener and its backend. Numbers only: who
/// asks the entries themselves keeps them for that long, and all workers would count who keeps an
/// entry in the same place, at every connection.
package struct RouteTerms: Sendable {
  package let connectMs: UInt32
  package let idleMs: UInt32
  package let halfClosedMs: UInt32
  package let maxAgeMs: UInt32
  package let splice: SpliceEngine
  /// Further tries after the first.
  package let retries: Int
  /// Bytes a second in each direction, of all the listener's connections together and of each; 0 is
  /// no limit.
  package let bandwidth: UInt64
  package let connectionBandwidth: UInt64
  /// Where the listener is counted.
  package let bucket: UInt32
  package let sendsHeader: Bool
  /// Its dials need nothing but an address. `BackendEntry.isPlainlyDialled`
  package let isPlainlyDialled: Bool
}

extension RouteTable {
  package func terms(listener place: Int, backend number: Int) -> RouteTerms {
    let listener = listeners[place]
    let backend = backends[number]
    return RouteTerms(
      connectMs: backend.deadlines.connectMs ?? listener.connectMs,
      idleMs: backend.deadlines.idleMs ?? listener.idleMs,
      halfClosedMs: backend.deadlines.halfClosedMs ?? listener.halfClosedMs,
      maxAgeMs: backend.deadlines.maxAgeMs ?? listener.maxAgeMs, splice: backend.splice,
      retries: backend.retries, bandwidth: listener.bandwidth,
      connectionBandwidth: listener.connectionBandwidth,
      bucket: UInt32(truncatingIfNeeded: series.listeners[place]),
      sendsHeader: backend.sendsHeader, isPlainlyDialled: backend.isPlainlyDialled)
  }

  /// Whether connections from there begin with a PROXY header.
  package func headerRule(listener place: Int, for source: SocketAddress) -> HeaderRule {
    listeners[place].trust.rule(for: source)
  }
}
