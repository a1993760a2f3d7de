import Glibc
import TestSupport
import Testing

// The disk that the connection log is on fills up: a small tmpfs of its own. Lines are lost, their
// number is told once there is room again, and every connection is served as before.

@Test("the log's disk is full")
func logDiskFull() throws {
  guard let disk = try SmallDisk(bytes: 65536) else {
    print("log_disk_full: left out, since this process may not mount a tmpfs")
    return
  }
  defer { disk.unmount() }
  let server = try ListeningSocket()
  let bind = Endpoint.loopback(ReservedPort.take())
  let log = "\(disk.path)/connections"
  let directory = try TemporaryDirectory()
  let setup = Setup(Engine.eventSources[0], servers: [server.endpoint], bind: bind)
  let sluice = try SluiceProcess(yaml: setup.yaml(log: log), in: directory, at: bind)
  // About 500 bytes each: several times what the disk holds.
  try exchange(600, sluice, server)
  try wait(for: "the daemon to complain") {
    sluice.child.standardError.contains("lines are dropped until it can")
  }
  try exchange(100, sluice, server)
  // Somebody makes room, and one more connection is logged.
  #expect(truncate(log, 0) == 0)
  try exchange(1, sluice, server)
  var told = 0
  try wait(for: "the count of what was lost") {
    let lines = contents(of: log).split(separator: "\n").filter { $0.contains("log.dropped") }
    told = try lines.compactMap { try JSONValue(String($0))["lines"]?.number }.map { Int($0) }
      .reduce(0, +)
    return told > 0
  }
  #expect(told >= 100 && told < 701)
  try sluice.stop()
}

// Whoever reads the log's pipe stands still. The log thread waits for it, the queue fills, lines
// are lost, and connections go on.
@Test("the log's reader stands still")
func logPipeBlocked() throws {
  let directory = try TemporaryDirectory()
  let fifo = directory.file("pipe")
  #expect(mkfifo(fifo, 0o600) == 0)
  let reader = open(fifo, O_RDWR | O_NONBLOCK | O_CLOEXEC)
  #expect(reader >= 0)
  defer { close(reader) }
  let server = try ListeningSocket()
  let bind = Endpoint.loopback(ReservedPort.take())
  let setup = Setup(Engine.eventSources[0], servers: [server.endpoint], bind: bind)
  let sluice = try SluiceProcess(yaml: setup.yaml(log: fifo), in: directory, at: bind)
  // Ten times what a pipe holds.
  try exchange(1500, sluice, server)
  // Nothing of the queue is lost when the reader goes on: all lines are there in the end.
  var text = ""
  try wait(for: "all lines") {
    var chunk = [UInt8](repeating: 0, count: 65536)
    let count = read(reader, &chunk, chunk.count)
    if count > 0 { text += String(decoding: chunk[..<count], as: UTF8.self) }
    return text.utf8.count { $0 == UInt8(ascii: "\n") } == 1500
  }
  try sluice.stop()
}

private func exchange(_ count: Int, _ sluice: SluiceProcess, _ server: ListeningSocket) throws {
  for _ in 0..<count {
    let client = try sluice.connect()
    let upstream = try server.accept()
    try client.write("query")
    #expect(try upstream.readExactly(5) == Array("query".utf8))
    try upstream.write("answer")
    #expect(try client.readExactly(6) == Array("answer".utf8))
    client.close()
    upstream.close()
  }
}

/// A tmpfs of so many bytes in a directory of its own; nil where this process may not mount.
private final class SmallDisk {
  let path: String
  private let directory: TemporaryDirectory

  init?(bytes: Int) throws {
    directory = try TemporaryDirectory()
    path = directory.path
    guard mount("tmpfs", path, "tmpfs", 0, "size=\(bytes)") == 0 else { return nil }
  }

  /// Lazily: the daemon may still have the file open.
  func unmount() { umount2(path, Int32(MNT_DETACH)) }
}
