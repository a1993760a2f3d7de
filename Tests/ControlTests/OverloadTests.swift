import Config
import Control
import DataPlane
import System
import Testing

/// What is made of pauses and of memory, and when it is told.
@Suite struct OverloadTests {
  private static let second: UInt64 = 1_000_000_000

  private func reading(
    _ pauses: AcceptPauses = AcceptPauses(), connections: Int = 1000, memory: UInt64 = 0,
    of limit: UInt64? = nil
  ) -> Overload.Reading {
    Overload.Reading(
      pauses: pauses, connections: connections, connectionsMax: 1000, residentBytes: memory,
      memoryBytes: limit)
  }

  @Test func pausesAreToldOnceAndTheirEndToo() throws {
    var overload = Overload()
    func told(_ pauses: AcceptPauses, atSecond second: UInt64) -> String? {
      overload.look(reading(pauses), nowNs: second * OverloadTests.second)
    }
    #expect(told(.init(), atSecond: 1) == nil)
    let first = try #require(told(.init(connections: 1, workers: 1), atSecond: 2))
    #expect(first.hasPrefix("accepting pauses, clients wait: ") && first.contains("1000"))
    #expect(first.contains("limits.max-connections"))
    // It goes on and off; a minute later it is told again.
    for time in 3...61 {
      let pauses = AcceptPauses(connections: UInt64(time), workers: time % 2)
      #expect(told(pauses, atSecond: UInt64(time)) == nil)
    }
    let again = told(.init(connections: 90, workers: 1), atSecond: 62)
    #expect(again?.hasPrefix("accepting pauses still or again") == true)
    let over = AcceptPauses(connections: 90)
    #expect(told(over, atSecond: 63) == nil)
    #expect(told(over, atSecond: 66) == "accepting goes on")
    #expect(told(over, atSecond: 67) == nil)
  }

  @Test func whatIsWanting() {
    let cases: [(AcceptPauses, String)] = [
      (.init(descriptors: 1), "RLIMIT_NOFILE"), (.init(memory: 1), "limits.memory"),
      (.init(buffers: 1), "buffers"), (.init(connections: 1), "limits.max-connections"),
    ]
    for (pauses, word) in cases {
      var overload = Overload()
      let text = overload.look(reading(pauses), nowNs: OverloadTests.second) ?? ""
      #expect(text.contains(word), "\(text)")
    }
  }

  /// Beyond the limit it pauses, until a sixteenth is free again; and never when hardly anybody is
  /// there, or it would pause for good.
  @Test func memory() {
    var overload = Overload()
    func pauses(_ memory: UInt64, connections: Int = 1000) -> Bool {
      _ = overload.look(
        reading(connections: connections, memory: memory, of: 1600), nowNs: OverloadTests.second)
      return overload.pausesForMemory
    }
    #expect(!pauses(1600))
    #expect(pauses(1601))
    #expect(pauses(1501))
    #expect(!pauses(1500))
    #expect(!pauses(1600))
    #expect(pauses(5000))
    #expect(!pauses(5000, connections: Overload.connectionsLeast - 1))
    #expect(pauses(5000, connections: Overload.connectionsLeast))
  }

  @Test func whatThisProcessMayHave() throws {
    let allowed = try #require(ProcessUse.memoryAllowed())
    let resident = try #require(ProcessUse.resident())
    #expect(resident > 1 << 20 && resident < allowed)
    #expect(MemoryLimit.auto.bytes == allowed / 10 * 9)
    #expect(MemoryLimit.off.bytes == nil && MemoryLimit.bytes(5).bytes == 5)
  }
}
