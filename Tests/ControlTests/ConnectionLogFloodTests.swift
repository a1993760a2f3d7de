import Config
import DataPlane
import Glibc
import System
import TestSupport
import Testing

@testable import Control

/// Floods of rejections, and the journal's socket: a real datagram socket that the test reads.
@Suite struct ConnectionLogFloodTests {
  private func record(_ reason: String?, wallMs: UInt64 = 1_000_000) -> DataPlane.ConnectionRecord {
    var record = DataPlane.ConnectionRecord(
      endedWallMs: wallMs, id: UniqueID(high: 1, low: 0), listener: "smtp",
      client: .ipv4(0x7f00_0002, port: 51234), local: nil,
      end: reason == nil ? .clientFIN : .rejected)
    record.reason = reason
    return record
  }

  @Test func onlySoManyOfAReasonPassInASecond() {
    var gate = RejectionGate()
    let passed = (0..<100).filter { _ in gate.admits(reason: "dial.refused", wallMs: 5000) }
    #expect(passed.count == RejectionGate.linesPerSecond)
    let another = gate.admits(reason: "dial.timeout", wallMs: 5000)
    let later = gate.admits(reason: "dial.refused", wallMs: 6000)
    #expect(another && later)
    let suppressed = gate.takeSuppressed()
    #expect(suppressed == ["dial.refused": 90])
    #expect(gate.suppressed.isEmpty)
  }

  /// Two workers: those that pass, then one line for what was left out, in all 3000 connections.
  @Test func whatIsLeftOutIsCountedInALine() throws {
    let directory = try TemporaryDirectory()
    let path = directory.file("log")
    let log = try ConnectionLog(path: path)
    let sinks = [RecordLines(log), RecordLines(log)]
    for _ in 0..<1000 {
      for sink in sinks { sink.add(record("proxy.timeout")) }
      sinks[0].add(record(nil))
    }
    for sink in sinks { sink.flush() }
    log.close(waitingAtMostMs: 5000)
    let lines = try contents(of: path).split(separator: "\n").map { try JSONValue(String($0)) }
    #expect(lines.count { $0["reason"]?.string == "proxy.timeout" && $0["event"] == nil } == 20)
    #expect(lines.count { $0["end"]?.string == "client.fin" } == 1000)
    let told = lines.filter { $0["event"]?.string == "log.suppressed" }
    #expect(told.count == 1 && told.first?["lines"]?.number == 1980)
    #expect(told.first?["reason"]?.string == "proxy.timeout")
    #expect(log.counts.suppressed == 1980 && log.counts.written == 1021)
  }

  @Test func theJournalGetsADatagramForEachConnection() throws {
    let journal = try JournalReader()
    let log = try ConnectionLog(journal: journal.path)
    let sink = RecordLines(log)
    sink.add(record(nil))
    sink.add(record("dial.refused"))
    sink.flush()
    let first = try journal.next()
    #expect(first.hasPrefix("MESSAGE=smtp 127.0.0.2:51234: client.fin\n"))
    #expect(first.contains("\nSLUICE_END=client.fin\n") && first.hasSuffix("\n"))
    #expect(try journal.next().contains("\nSLUICE_REASON=dial.refused\n"))
    // The journal starts anew: another socket under the same name.
    journal.restart()
    sink.add(record(nil))
    sink.flush()
    #expect(try journal.next().contains("\nSLUICE_LISTENER=smtp\n"))
    log.close(waitingAtMostMs: 1000)
    #expect(log.counts.written == 3 && log.counts.dropped == 0)
  }

  @Test func aJournalThatDoesNotReadLosesLinesAndNothingElse() throws {
    let journal = try JournalReader()
    let log = try ConnectionLog(journal: journal.path, queueLimit: 20_000)
    let sink = RecordLines(log)
    for _ in 0..<5000 {
      sink.add(record(nil))
      sink.flush()
    }
    var read = 0
    try wait(for: "all lines to be read or lost") {
      while let entry = try? journal.next(withinMs: 20) {
        if entry.contains("SLUICE_END") { read += 1 }
      }
      return UInt64(read) + log.counts.dropped == 5000
    }
    #expect(read > 0 && log.counts.dropped > 0)
    log.close(waitingAtMostMs: 1000)
  }

  @Test func withoutAJournalThereIsNoStart() throws {
    let directory = try TemporaryDirectory()
    #expect(throws: SystemError.self) {
      _ = try ConnectionLog(journal: directory.file("none"))
    }
  }

  @Test func theConfigurationChoosesFormAndFields() throws {
    let directory = try TemporaryDirectory()
    let path = directory.file("log")
    let settings = LogSettings(
      connections: .file(path), format: .text, fields: [.listener, .end])
    let log = try #require(try ConnectionLog.open(settings, workers: 2))
    let sink = RecordLines(log)
    #expect(sink.needs == .records)
    sink.add(record(nil))
    sink.flush()
    log.close(waitingAtMostMs: 5000)
    #expect(contents(of: path) == "listener=smtp end=client.fin\n")
    #expect(try ConnectionLog.open(LogSettings(connections: .off), workers: 1) == nil)
  }
}

/// What journald is to us: a datagram socket in a directory.
private final class JournalReader {
  let path: String
  private let directory: TemporaryDirectory
  private var socket: Int32

  init() throws {
    directory = try TemporaryDirectory()
    path = directory.file("socket")
    socket = JournalReader.bind(path)
  }

  deinit { close(socket) }

  func restart() {
    close(socket)
    unlink(path)
    socket = JournalReader.bind(path)
  }

  func next(withinMs timeoutMs: Int32 = 5000) throws -> String {
    guard try Readiness.reading(socket, waitingAtMostMs: timeoutMs) == .first else {
      throw TestFailure("no datagram came")
    }
    var bytes = [UInt8](repeating: 0, count: 65536)
    let count = recv(socket, &bytes, bytes.count, 0)
    guard count >= 0 else { throw TestFailure("recv: \(errorText(errno))") }
    return String(decoding: bytes[..<count], as: UTF8.self)
  }

  private static func bind(_ path: String) -> Int32 {
    let socket = Glibc.socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
    let length = socklen_t(MemoryLayout<sockaddr_un>.size)
    let result = withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { Glibc.bind(socket, $0, length) }
    }
    precondition(result == 0)
    return socket
  }
}
