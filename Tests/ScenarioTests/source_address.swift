import TestSupport
import Testing

// A machine with several addresses, and a backend that lets in only one of them: `source` says from
// which address the proxy connects. The port stays the kernel's choice.

@Test("source address per backend", arguments: Engine.eventSources)
func sourceAddress(engine: Engine) throws {
  let server = try ListeningSocket()
  var setup = Setup(engine, servers: [server.endpoint])
  setup.listener = "type: server-first"
  setup.backend = "source: 127.0.0.9"
  try withSluice(setup) { sluice in
    var ports: Set<UInt16> = []
    var open: [StreamSocket] = []
    for _ in 0..<20 {
      open.append(try sluice.connect(from: "127.0.0.2"))
      let upstream = try server.accept()
      #expect(upstream.remote.host == "127.0.0.9")
      ports.insert(upstream.remote.port)
      open.append(upstream)
    }
    #expect(ports.count == 20)
    for socket in open { socket.close() }
  }
}
