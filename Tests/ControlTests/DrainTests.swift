import Testing

@testable import Control

@Suite struct DrainTests {
  private let second: UInt64 = 1_000_000_000

  @Test func nothingHappensWhileServing() {
    var drain = Drain(drainMs: 1000)
    #expect(drain.look(nowNs: 0, liveConnections: 0) == nil)
    #expect(drain.look(nowNs: .max, liveConnections: 5) == nil)
    #expect(drain.isServing)
  }

  @Test func theLastConnectionEndsTheDrain() {
    var drain = Drain(drainMs: 30_000)
    #expect(drain.endWanted(nowNs: 5 * second) == .startDraining)
    #expect(!drain.isServing)
    #expect(drain.look(nowNs: 6 * second, liveConnections: 2) == nil)
    #expect(drain.look(nowNs: 7 * second, liveConnections: 0) == .stop)
    #expect(drain.look(nowNs: 8 * second, liveConnections: 0) == nil)
  }

  @Test func theDeadlineEndsWhatIsLeft() {
    var drain = Drain(drainMs: 2000)
    #expect(drain.endWanted(nowNs: 0) == .startDraining)
    #expect(drain.look(nowNs: 2 * second - 1, liveConnections: 3) == nil)
    #expect(drain.look(nowNs: 2 * second, liveConnections: 3) == .endAll)
    // Told once; then they may take a moment, but not for ever.
    #expect(drain.look(nowNs: 2 * second + 1, liveConnections: 3) == nil)
    #expect(drain.look(nowNs: 2 * second + 2, liveConnections: 0) == .stop)
  }

  @Test func connectionsThatDoNotEndAreLeft() {
    var drain = Drain(drainMs: 0)
    #expect(drain.endWanted(nowNs: 10) == .startDraining)
    #expect(drain.look(nowNs: 10, liveConnections: 1) == .endAll)
    #expect(drain.look(nowNs: 9 + Drain.endingNs, liveConnections: 1) == nil)
    #expect(drain.look(nowNs: 10 + Drain.endingNs, liveConnections: 1) == .stop)
  }

  @Test func aSecondWishEndsConnectionsAndAThirdDoesNotEvenWaitForThat() {
    var drain = Drain(drainMs: 30_000)
    #expect(drain.endWanted(nowNs: 0) == .startDraining)
    #expect(drain.endWanted(nowNs: 1) == .killAll)
    #expect(drain.look(nowNs: Drain.killingNs, liveConnections: 9) == nil)
    var patient = drain
    #expect(patient.look(nowNs: Drain.killingNs + 1, liveConnections: 9) == .stop)
    #expect(drain.endWanted(nowNs: 2) == .stop)
    #expect(drain.endWanted(nowNs: 3) == nil)
    #expect(drain.look(nowNs: .max, liveConnections: 9) == nil)
  }

  @Test func aSecondWishAfterTheDeadlineStops() {
    var drain = Drain(drainMs: 0)
    _ = drain.endWanted(nowNs: 0)
    _ = drain.look(nowNs: 0, liveConnections: 1)
    #expect(drain.endWanted(nowNs: 1) == .stop)
  }
}
