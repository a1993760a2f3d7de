import DataPlane
import Glibc
import TestSupport
import Testing

@testable import Control
@testable import System

@Suite struct ServiceNotifierTests {
  private static func socket(_ name: String) throws -> NotifySocket {
    try NotifySocket("@sluice-test-notify-\(getpid())-\(name)")
  }

  // sd_notify(3): "The string … should be a newline-separated list of variable assignments".
  @Test func oneDatagramHasALineForEach() throws {
    let heard = try Self.socket("lines")
    let notifier = try ServiceNotifier(heard.place)
    try notifier.send([.ready, .status("serving\nREADY=0"), .extendTimeout(us: 7)])
    #expect(try heard.next() == ["READY=1", "STATUS=serving READY=0", "EXTEND_TIMEOUT_USEC=7"])
    try notifier.send([.reloading(monotonicUs: 12), .watchdog, .stopping])
    #expect(
      try heard.next() == ["RELOADING=1", "MONOTONIC_USEC=12", "WATCHDOG=1", "STOPPING=1"])
  }

  @Test func pathsAndAbstractNamesAreTaken() throws {
    let directory = try TemporaryDirectory()
    for place in [directory.file("notify"), "@sluice-test-notify-\(getpid())-abstract"] {
      let heard = try NotifySocket(place)
      try ServiceNotifier(place).send([.watchdog])
      #expect(try heard.next() == ["WATCHDOG=1"])
    }
  }

  @Test(
    arguments: ["", "/", "@", "notify", "vsock:2:1234", "/" + String(repeating: "x", count: 108)])
  func otherPlacesAreRefused(place: String) {
    #expect(throws: SystemError.self) { _ = try ServiceNotifier(place).watchdogUs }
  }

  @Test func nobodyThereIsAnError() throws {
    let notifier = try ServiceNotifier("@sluice-test-notify-\(getpid())-nobody")
    let error = #expect(throws: SystemError.self) { try notifier.send([.ready]) }
    #expect(error?.code == .refused)
  }

  // Processes of their own, since they change the environment.
  @Test func theEnvironmentIsReadOnceAndEmptied() async {
    await #expect(processExitsWith: .success) {
      setenv("NOTIFY_SOCKET", "@sluice-test", 1)
      setenv("WATCHDOG_USEC", "30000000", 1)
      setenv("WATCHDOG_PID", "\(getpid())", 1)
      let watchdogUs = try ServiceNotifier.take()?.watchdogUs
      precondition(watchdogUs == 30_000_000)
      for name in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"] {
        precondition(getenv(name) == nil, name)
      }
      switch try ServiceNotifier.take() {
      case nil: break
      case _?: preconditionFailure("there is nobody any more")
      }
    }
  }

  // sd_watchdog_enabled(3): WATCHDOG_PID of another process means that none is asked for.
  @Test(arguments: [["1", "30000000"], ["", "0"], ["", "soon"]])
  func noWatchdogOfOthersAndNoneOfNothing(pidAndUs: [String]) async {
    await #expect(processExitsWith: .success) { [pidAndUs] in
      setenv("NOTIFY_SOCKET", "@sluice-test", 1)
      if !pidAndUs[0].isEmpty { setenv("WATCHDOG_PID", pidAndUs[0], 1) }
      setenv("WATCHDOG_USEC", pidAndUs[1], 1)
      switch try ServiceNotifier.take() {
      case nil: preconditionFailure("there is somebody to tell")
      case let notifier?: precondition(notifier.watchdogUs == nil)
      }
    }
  }
}

@Suite struct ServiceReportTests {
  private let heard: NotifySocket
  private let second: UInt64 = 1_000_000_000

  init() throws {
    heard = try NotifySocket("@sluice-test-report-\(getpid())-\(UInt64.random(in: 0 ... .max))")
  }

  private func report(watchdogSeconds: UInt64? = nil) throws -> ServiceReport {
    ServiceReport(
      try ServiceNotifier(heard.place, watchdogUs: watchdogSeconds.map { $0 * 1_000_000 }))
  }

  private func stats(_ turns: UInt64?...) -> [WorkerStats?] {
    turns.map { turns in
      guard let turns else { return nil }
      var stats = WorkerStats()
      stats.turns = turns
      return stats
    }
  }

  @Test func aLifeInOrder() throws {
    let report = try report()
    report.started("2 listeners with 1 worker")
    #expect(try heard.next() == ["READY=1", "STATUS=serving 2 listeners with 1 worker"])
    report.reloading()
    let reloading = try heard.next()
    #expect(reloading.first == "RELOADING=1" && reloading.count == 3)
    #expect(reloading[1].hasPrefix("MONOTONIC_USEC="))
    report.reloaded("3 listeners with 1 worker")
    #expect(try heard.next() == ["READY=1", "STATUS=serving 3 listeners with 1 worker"])
    report.reloading()
    _ = try heard.next()
    report.reloaded(nil)
    #expect(
      try heard.next() == [
        "READY=1", "STATUS=serving 3 listeners with 1 worker; the last reload was refused",
      ])
    report.stopping(drainMs: 30_000)
    #expect(
      try heard.next() == ["STOPPING=1", "STATUS=draining", "EXTEND_TIMEOUT_USEC=40000000"])
    #expect(heard.waiting() == nil)
  }

  @Test func statusIsSentWhenItDiffers() throws {
    let report = try report()
    report.started("1 listener with 1 worker")
    _ = try heard.next()
    for (nowNs, connections) in [(0, 1), (5, 1), (10, 2), (11, 3)] as [(UInt64, Int)] {
      report.tick(nowNs: nowNs * second, connections: connections) {
        Issue.record("no watchdog, so no worker is to be woken")
        return []
      }
    }
    #expect(try heard.next() == ["STATUS=serving 1 listener with 1 worker; 1 connection"])
    #expect(try heard.next() == ["STATUS=serving 1 listener with 1 worker; 2 connections"])
    #expect(heard.waiting() == nil)
    #expect(report.waitMs(nowNs: 11 * second) == 4000)
  }

  @Test func signsOfLifeNeedATurnOfEveryWorker() throws {
    let report = try report(watchdogSeconds: 30)
    report.started("1 listener with 2 workers")
    _ = try heard.next()
    func tick(_ seconds: UInt64, _ workers: [WorkerStats?]) -> [String] {
      report.tick(nowNs: seconds * second, connections: 0) { workers }
      return (heard.waiting() ?? []).filter { $0 == "WATCHDOG=1" }
    }
    #expect(tick(0, stats(1, 1)) == ["WATCHDOG=1"])
    // Not asked yet.
    #expect(report.waitMs(nowNs: 1 * second) == 4000)
    #expect(tick(9, stats(2, 2)) == [])
    #expect(tick(10, stats(2, 2)) == ["WATCHDOG=1"])
    // The second one does not answer; then it does, and the first one is known to have turned.
    #expect(tick(20, stats(3, nil)) == [])
    #expect(tick(30, stats(3, 3)) == ["WATCHDOG=1"])
    // An answer without a turn would be no proof.
    #expect(tick(40, stats(3, 4)) == [])
    #expect(tick(50, stats(4, 4)) == ["WATCHDOG=1"])
  }

  @Test func silentWorkersAreNamed() throws {
    let report = try report(watchdogSeconds: 30)
    report.started("1 listener with 2 workers")
    _ = try heard.next()
    report.tick(nowNs: 0, connections: 4) { stats(1, nil) }
    #expect(
      try heard.next() == [
        "STATUS=serving 1 listener with 2 workers; 4 connections; worker 1 does not answer"
      ])
  }

  @Test func nobodyToTellMeansNothingToDo() {
    let report = ServiceReport(nil)
    report.started("1 listener with 1 worker")
    report.tick(nowNs: 0, connections: 0) {
      Issue.record("nobody wants to know")
      return []
    }
    #expect(report.waitMs(nowNs: 0) == nil)
  }
}
