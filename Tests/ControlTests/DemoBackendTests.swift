import System
import Testing
import Wire

@testable import Control

/// The demo's own server, met without Sluice in between.
@Suite struct DemoBackendTests {
  private func conversation(_ sent: [UInt8]) throws -> String {
    let backend = try DemoBackend()
    defer { backend.stop() }
    let client = try Sockets.connect(to: backend.address, timeoutMs: 2000)
    try client.writeAll(sent.span)
    try Sockets.finishWriting(client)
    var heard: [UInt8] = []
    while try Readiness.reading(client.number, waitingAtMostMs: 5000) == .first,
      try client.read(atMost: 4096, appendingTo: &heard) > 0
    {}
    return String(decoding: heard, as: UTF8.self)
  }

  @Test func itSaysWhoseAddressItLearntAndEchoes() throws {
    let header = Array("PROXY TCP4 127.0.0.2 127.0.0.1 51234 7025\r\n".utf8)
    #expect(
      try conversation(header + Array("and more".utf8))
        == "hello 127.0.0.2:51234, you reached 127.0.0.1:7025 through sluice\nand more")
  }

  @Test func itSaysWhatIsWrongWithAHeader() throws {
    #expect(try conversation(Array("EHLO me\r\n".utf8)).contains("proxy.bad-signature"))
    #expect(try conversation(Array("PROXY TCP4 127".utf8)).contains("proxy.truncated"))
    #expect(try conversation([]).contains("proxy.probe"))
  }

  @Test func stoppingItEndsTheAccepting() throws {
    let backend = try DemoBackend()
    backend.stop()
    #expect(throws: SystemError.self) {
      _ = try Sockets.connect(to: backend.address, timeoutMs: 1000)
    }
  }
}
