import Testing
import TestSupport

/// The C data plane over a fake kernel: 1,000 seeds of clients, servers and answers, with the rules
/// of Tests/Simulation/README.md checked after every step. A seed that fails says how to run it
/// again.
@Suite struct SimulationTests {
  @Test func aThousandSeedsBreakNoRule() throws {
    let result = try ChildProcess.run(
      "\(buildDirectory)/sluice-simulation", ["1", "1000"], until: Deadline(inMs: 300_000))
    #expect(result.exit == .code(0), "\(result.error.suffix(4000))")
    let summary = result.output.split(separator: "\n").last ?? ""
    #expect(summary.hasPrefix("seeds 1000 steps "), "\(summary)")
  }

  /// The same seed does the same things, or a failure could not be looked at again.
  @Test func aSeedIsRepeatable() throws {
    let runs = try (0..<2).map { _ in
      try ChildProcess.run(
        "\(buildDirectory)/sluice-simulation", ["--trace", "42", "1"],
        until: Deadline(inMs: 60_000))
    }
    #expect(runs[0].exit == .code(0), "\(runs[0].error.suffix(2000))")
    #expect(!runs[0].error.isEmpty)
    #expect(runs[0].error == runs[1].error)
  }
}
