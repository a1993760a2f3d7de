import Glibc
import TestSupport
import Testing

// Whoever turns the connection log over renames it; with SIGUSR1, as logrotate does, or without
// saying anything. What ends from then on is in a new file, and no line is lost.

@Test("the log is turned over", arguments: [true, false])
func logTurnedOver(withSignal: Bool) throws {
  let server = try ListeningSocket()
  let bind = Endpoint.loopback(ReservedPort.take())
  let directory = try TemporaryDirectory()
  let log = directory.file("connections")
  let sluice = try SluiceProcess(
    yaml: Setup(Engine.eventSources[0], servers: [server.endpoint], bind: bind).yaml(log: log),
    in: directory, at: bind)
  func lines(_ path: String) -> Int { contents(of: path).split(separator: "\n").count }
  for turn in 1...3 {
    try exchange(sluice, server)
    try wait(for: "a line") { lines(log) == 1 }
    #expect(rename(log, "\(log).\(turn)") == 0)
    if withSignal { sluice.child.signal(SIGUSR1) }
    try wait(for: "a new log") { fileExists(log) }
  }
  try exchange(sluice, server)
  try sluice.stop()
  let counts = [lines(log)] + (1...3).map { lines("\(log).\($0)") }
  #expect(counts == [1, 1, 1, 1])
}

private func exchange(_ sluice: SluiceProcess, _ server: ListeningSocket) throws {
  let client = try sluice.connect()
  let upstream = try server.accept()
  client.finish()
  _ = try upstream.readToEnd()
  upstream.close()
  _ = try client.readToEnd()
}
