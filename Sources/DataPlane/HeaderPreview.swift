package import Routing
package import System
package import Wire

/// The PROXY header of a connection that need not exist, written by what writes those of others.
package enum HeaderPreview {
  /// - Parameters:
  ///   - sni: the host name of the client's ClientHello; empty without one.
  ///   - alpn: the first protocol that it offers; likewise.
  /// - Returns: nil when the version has no words for these addresses; empty without a header.
  package static func bytes(
    of backend: BackendEntry, listener: String, server: String, id: UniqueID,
    client: SocketAddress, local: SocketAddress, sni: [UInt8] = [], alpn: [UInt8] = []
  ) -> [UInt8]? {
    var buffer = HeaderBuffer()
    let written = buffer.encode(
      backend.header, backend.tlvs, client: client, local: local,
      HeaderBuffer.Facts(
        id: id, listener: listener, backend: backend.name, server: server, relayed: [],
        authority: sni, alpn: alpn))
    return written.map { buffer.copy($0.length) }
  }
}
