import Routing
import Testing

@Suite struct FairLineTests {
  private typealias Line = FairLine<String, Int>

  private func served(_ line: inout Line, _ most: Int = .max) -> [Int] {
    var tickets: [Int] = []
    while tickets.count < most, let entry = line.next() { tickets.append(entry.ticket) }
    return tickets
  }

  @Test func oneSourceIsServedInOrder() {
    var line = Line()
    for ticket in 0..<100 { _ = line.add(ticket, from: "a") }
    #expect(line.count == 100)
    #expect(served(&line) == Array(0..<100))
    #expect(line.count == 0 && served(&line).isEmpty)
  }

  /// "Fairness between one greedy and a hundred polite sources": each polite one waits for one of
  /// the greedy one's and for those polite ones that came before it.
  @Test func aGreedySourceDelaysOthersByOnePlace() {
    var line = Line()
    for ticket in 0..<1000 { _ = line.add(ticket, from: "greedy") }
    for source in 0..<100 { _ = line.add(1000 + source, from: "polite \(source)") }
    let first = served(&line, 101)
    #expect(first == [0] + Array(1000..<1100))
    #expect(served(&line) == Array(1..<1000))
  }

  /// Whoever comes while the greedy one is being served waits for no more than one of its.
  @Test func alsoForThoseWhoComeLater() {
    var line = Line()
    for ticket in 0..<1000 { _ = line.add(ticket, from: "greedy") }
    for round in 0..<200 {
      _ = line.add(5000 + round, from: "polite \(round)")
      #expect(served(&line, 2).contains(5000 + round))
    }
    #expect(line.count == 800)
  }

  @Test func sourcesWithManyTakeTurns() {
    var line = Line()
    for ticket in 0..<30 { _ = line.add(ticket, from: "\(ticket / 10)") }
    #expect(served(&line, 9) == [0, 10, 20, 1, 11, 21, 2, 12, 22])
  }

  @Test func whoLeavesIsNotServed() {
    var line = Line()
    let numbers = (0..<1000).map { line.add($0, from: "\($0 % 7)") }
    for (ticket, number) in numbers.enumerated() where ticket % 3 != 0 { line.leave(number) }
    line.leave(numbers[1])
    line.leave(99_999)
    #expect(line.count == 334)
    let left = served(&line)
    #expect(left.count == 334 && left.allSatisfy { $0 % 3 == 0 })
    // Turns are kept for those who stayed.
    #expect(Set(left.prefix(7).map { $0 % 7 }).count == 7)
  }

  @Test func whoWasCalledInVainIsTheNextAgain() throws {
    var line = Line()
    for ticket in 0..<10 { _ = line.add(ticket, from: "\(ticket % 2)") }
    let called = line.next()
    let entry = try #require(called)
    #expect(entry.ticket == 0)
    line.putBack(entry)
    _ = line.add(10, from: "new")
    #expect(line.count == 11)
    #expect(served(&line, 5) == [0, 1, 2, 3, 10])
    // As often as it takes; and it can leave from there.
    let next = line.next()
    let again = try #require(next)
    line.putBack(again)
    line.leave(again.number)
    #expect(!served(&line).contains(again.ticket))
  }

  /// Nothing is kept of those who have gone.
  @Test func aSourceBeginsAnew() {
    var line = Line()
    for round in 0..<10_000 {
      let number = line.add(round, from: "\(round)")
      if round % 2 == 0 {
        line.leave(number)
      } else {
        let served = line.next()
        #expect(served?.ticket == round)
      }
    }
    #expect(line.count == 0)
    _ = line.add(1, from: "a")
    _ = line.add(2, from: "b")
    _ = line.add(3, from: "a")
    #expect(served(&line) == [1, 2, 3])
  }
}

@Suite struct RetryBudgetTests {
  @Test func aShareOfTheConnectionsAndAFew() {
    var budget = RetryBudget()
    func granted(_ tries: Int, _ percent: Int, at nowMs: UInt64) -> Int {
      (0..<tries).count { _ in budget.take(percent: percent, nowMs: nowMs) }
    }
    #expect(granted(100, 20, at: 5) == RetryBudget.reserve)
    for _ in 0..<1000 { budget.note(nowMs: 6) }
    #expect(granted(1000, 20, at: 7) == 200)
    // In the next window both still count, and after it neither does.
    #expect(granted(100, 20, at: RetryBudget.windowMs + 100) == 0)
    for _ in 0..<100 { budget.note(nowMs: RetryBudget.windowMs + 200) }
    #expect(granted(100, 20, at: RetryBudget.windowMs + 300) == 20)
    #expect(granted(100, 20, at: 2 * RetryBudget.windowMs + 400) == RetryBudget.reserve)
  }

  @Test func noneWithoutAShare() {
    var budget = RetryBudget()
    for _ in 0..<1000 { budget.note(nowMs: 1) }
    let isGranted = [0, 100].map { budget.take(percent: $0, nowMs: 1) }
    #expect(isGranted == [false, true])
  }

  /// Long quiet times are no savings.
  @Test func nothingIsSavedUp() {
    var budget = RetryBudget()
    for _ in 0..<100_000 { budget.note(nowMs: 1) }
    let later = 50 * RetryBudget.windowMs
    let granted = (0..<1000).count { _ in budget.take(percent: 50, nowMs: later) }
    #expect(granted == 10)
  }
}
