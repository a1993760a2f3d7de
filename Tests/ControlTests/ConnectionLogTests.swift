import Glibc
import System
import Testing

@testable import Control

extension ConnectionLog {
  /// As a worker does with a turn's lines, in a queue of its own.
  fileprivate func append(_ text: String) {
    let lines = Array(text.utf8)
    append(lines, count: line.count(lines.span), to: makeQueue())
  }
}

/// The log's thread against files and pipes that stand still, vanish or are full.
@Suite struct ConnectionLogTests {
  private let deadlineMs = 5000

  private func temporaryPath(_ name: String) -> String {
    "/tmp/sluice-test-\(getpid())-\(Clock.monotonicNs)-\(name)"
  }

  private func text(_ path: String) -> String {
    Files.text(of: path) ?? ""
  }

  /// Waits until the condition holds; false when the time is over first.
  private func eventually(_ condition: () -> Bool) -> Bool {
    let end = Clock.monotonicNs + UInt64(deadlineMs) * 1_000_000
    while Clock.monotonicNs < end {
      if condition() { return true }
      Thread.sleep(ms: 5)
    }
    return condition()
  }

  /// The two ends of a pipe, to be owned by whoever asked.
  private func pipe() -> (reading: Int32, writing: Int32) {
    var ends: [Int32] = [0, 0]
    precondition(Glibc.pipe(&ends) == 0)
    return (ends[0], ends[1])
  }

  @Test func linesOfSeveralThreadsArriveWhole() throws {
    let path = temporaryPath("lines")
    defer { unlink(path) }
    let log = try ConnectionLog(path: path)
    let threads = try (0..<4).map { number in
      try Thread(name: "writer") {
        let queue = log.makeQueue()
        for count in 0..<500 {
          log.append(Array("\(number) \(count)\n".utf8), count: 1, to: queue)
        }
      }
    }
    for thread in threads { thread.join() }
    log.close(waitingAtMostMs: 5000)
    let lines = text(path).split(separator: "\n")
    #expect(lines.count == 2000)
    for number in 0..<4 {
      let own = lines.filter { $0.hasPrefix("\(number) ") }
      #expect(own == (0..<500).map { "\(number) \($0)" }[...].map { Substring($0) })
    }
  }

  @Test func aRenamedFileIsLeftForANewOne() throws {
    let (path, old) = (temporaryPath("rotate"), temporaryPath("rotate.1"))
    defer {
      unlink(path)
      unlink(old)
    }
    let log = try ConnectionLog(path: path)
    log.append("one\n")
    #expect(eventually { text(path) == "one\n" })
    #expect(rename(path, old) == 0)
    // Nobody says so: the name is looked at once a second.
    #expect(eventually { (try? Files.identity(at: path)) != nil })
    log.append("two\n")
    #expect(eventually { text(path) == "two\n" })
    #expect(rename(path, old) == 0)
    log.reopen()
    #expect(eventually { (try? Files.identity(at: path)) != nil })
    log.append("three\n")
    log.close(waitingAtMostMs: 5000)
    #expect(text(path) == "three\n")
    #expect(text(old) == "two\n")
  }

  @Test func aReaderWhoStandsStillHoldsUpNobody() throws {
    let ends = pipe()
    let reading = Descriptor(owning: ends.reading)
    let log = try ConnectionLog(Descriptor(owning: ends.writing), queueLimit: 64 * 1024)
    let line = [UInt8](repeating: UInt8(ascii: "x"), count: 999) + [UInt8(ascii: "\n")]
    let appended = 1000
    let before = Clock.monotonicNs
    let queue = log.makeQueue()
    for _ in 0..<appended { log.append(line, count: 1, to: queue) }
    #expect(Clock.monotonicNs - before < 2_000_000_000)
    // The reader wakes up: it gets what pipe and queue held, and how many lines are gone.
    var bytes: [UInt8] = []
    var (whole, lost) = (0, 0)
    _ = eventually {
      if (try? Readiness.reading(reading.number, waitingAtMostMs: 50)) == .first {
        _ = try? reading.read(atMost: 65536, appendingTo: &bytes)
      }
      let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n")
      whole = lines.filter { $0.utf8.count == 999 }.count
      lost = lines.filter { $0.contains("\"event\":\"log.dropped\"") && $0.hasSuffix("}") }
        .reduce(0) { $0 + (Int($1.split(separator: ":").last?.dropLast() ?? "") ?? 0) }
      return whole + lost == appended
    }
    log.close(waitingAtMostMs: 1000)
    #expect(whole >= 64 && lost > 0)
    #expect(whole + lost == appended)
    #expect(log.counts.written == UInt64(whole) && log.counts.dropped == UInt64(lost))
  }

  @Test func closingGivesUpOnAReaderWhoStandsStill() throws {
    let ends = pipe()
    let reading = Descriptor(owning: ends.reading)
    let log = try ConnectionLog(Descriptor(owning: ends.writing))
    log.append(String(repeating: "\n", count: 1 << 20))
    let before = Clock.monotonicNs
    log.close(waitingAtMostMs: 200)
    #expect(Clock.monotonicNs - before < 3_000_000_000)
    _ = reading.number
  }

  @Test func aFullDiskLosesLinesAndNothingElse() throws {
    let log = try ConnectionLog(path: "/dev/full")
    for _ in 0..<10 { log.append("lost\n") }
    log.close(waitingAtMostMs: 1000)
    #expect(log.counts.dropped == 10 && log.counts.written == 0)
    var writer = try ConnectionLogWriter(path: "/dev/full", ConnectionLogLine(.json))
    let result = writer.write(Array("one\ntwo\n".utf8), count: 2) { false }
    #expect(result == (0, 2))
    #expect(writer.lost == 2)
  }

  @Test func aReaderWhoIsGoneLosesLinesAndNothingElse() throws {
    signal(SIGPIPE, SIG_IGN)
    let ends = pipe()
    close(ends.reading)
    var writer = try ConnectionLogWriter(
      Descriptor(owning: ends.writing), ConnectionLogLine(.json))
    for text in ["one\n", "two\n"] {
      let result = writer.write(Array(text.utf8), count: 1) { false }
      #expect(result == (0, 1))
    }
    #expect(writer.lost == 2)
  }

  @Test func aFileThatCannotBeOpenedIsAnErrorAtTheStart() {
    #expect(throws: SystemError.self) { _ = try ConnectionLog(path: "/nonexistent/log") }
  }
}
