import AdminAPI
import Testing

@testable import Control

private func session(
  _ id: String, up: UInt64 = 0, age: Double = 0, idle: Double = 0, client: String? = "192.0.2.1:5"
) -> SessionStatus {
  SessionStatus(
    id: id, uniqueID: "u", listener: "smtp", client: client, backend: "postfix", server: "a",
    isDialled: true, ageSeconds: age, idleSeconds: idle, bytesUp: up, bytesDown: 0)
}

private func status(up: UInt64 = 0) -> Status {
  Status(
    version: "1", pid: 1, uptimeSeconds: 60, configuration: "f", generation: 4, phase: .serving,
    workers: 1, events: "ring", connections: 3, maxConnections: 9, bytesUp: up)
}

private func model(_ sessions: [SessionStatus]) -> TopModel {
  var model = TopModel()
  model.take(SessionList(sessions: sessions, next: nil), status(), nowNs: 1)
  return model
}

/// The ids on the screen, from the top.
private func ids(_ model: TopModel) -> [String] {
  model.screen(columns: 200, height: 24).lines.dropFirst(2).dropLast().compactMap {
    $0.split(separator: " ").first.map(String.init)
  }
}

@Suite struct TopModelTests {
  private let three = [
    session("a", up: 10, age: 3, idle: 1), session("b", up: 30, age: 1, idle: 2),
    session("c", up: 20, age: 2, idle: 3),
  ]

  @Test func sortGoesRound() {
    var model = model(three)
    #expect(model.order == .bytes && ids(model) == ["b", "c", "a"])
    #expect(model.press(.sort) == nil)
    // Nobody has a rate yet: by id.
    #expect(model.order == .rate && ids(model) == ["a", "b", "c"])
    _ = model.press(.sort)
    #expect(model.order == .age && ids(model) == ["a", "c", "b"])
    _ = model.press(.sort)
    #expect(model.order == .idle && ids(model) == ["c", "b", "a"])
    _ = model.press(.sort)
    #expect(model.order == .bytes)
  }

  @Test func ratesAreBytesEachSecond() {
    var model = model(three)
    _ = model.press(.sort)
    let later = [session("a", up: 4106), session("b", up: 30), session("new", up: 1 << 20)]
    model.take(SessionList(sessions: later, next: nil), status(up: 20_480), nowNs: 2_000_000_001)
    #expect(ids(model) == ["a", "b", "new"])
    let lines = model.screen(columns: 200, height: 10).lines
    #expect(lines[0].contains("10K/s up"))
    #expect(lines[2].contains(" 2.0K "))
  }

  @Test func theSelectionStaysWithItsConnection() {
    var model = model(three)
    #expect(model.selected == "b")
    _ = model.press(.down)
    #expect(model.selected == "c")
    _ = model.press(.sort)
    #expect(model.selected == "c")
    _ = model.press(.last)
    _ = model.press(.down)
    #expect(model.selected == "c")
    _ = model.press(.up)
    #expect(model.selected == "b")
    _ = model.press(.first)
    _ = model.press(.up)
    #expect(model.selected == "a")
    model.take(SessionList(sessions: [session("z")], next: nil), status(), nowNs: 2)
    #expect(model.selected == "z")
    model.take(SessionList(sessions: [], next: nil), status(), nowNs: 3)
    #expect(model.selected == nil && model.press(.kill) == nil && model.asked == nil)
  }

  @Test func killAsksFirst() {
    var model = model(three)
    #expect(model.press(.kill) == nil)
    #expect(model.asked == "b")
    #expect(model.screen(columns: 200, height: 9).lines.last == "end b of 192.0.2.1:5? y or n")
    #expect(model.press(.other) == nil && model.asked == nil)
    _ = model.press(.kill)
    #expect(model.press(.yes) == .kill(id: "b"))
    #expect(model.press(.yes) == nil)
  }

  // Whoever is asked about has gone meanwhile: another one must not be ended in its place.
  @Test func aQuestionAboutOneThatIsGoneIsTakenBack() {
    var model = model(three)
    _ = model.press(.kill)
    model.take(SessionList(sessions: [session("a"), session("c")], next: nil), status(), nowNs: 2)
    #expect(model.asked == nil && model.press(.yes) == nil)
  }

  @Test(
    arguments: [
      ("q", [.quit]), ("\u{3}", [.quit]), ("s", [.sort]), ("ky", [.kill, .yes]),
      ("\u{1b}[A\u{1b}OB", [.up, .down]), ("\u{1b}[5~\u{1b}[6~", [.pageUp, .pageDown]),
      ("\u{1b}[H\u{1b}[4~", [.first, .last]), ("\u{1b}", [.other]), ("\u{1b}[", [.other]),
      ("\u{1b}[1;5Cq", [.other, .quit]), ("\u{1b}q", [.other, .quit]), ("x", [.other]), ("", []),
    ] as [(String, [TopModel.Key])])
  func keysAreRead(typed: String, keys: [TopModel.Key]) {
    #expect(TopModel.keys(Array(typed.utf8)) == keys)
  }

  @Test func linesFitTheScreenAndHoldNoControls() {
    let evil = session("\u{1b}[2J", client: "x\ny\u{9b}1m\u{7f}é")
    var model = model([evil] + three)
    model.message = "\u{1b}]0;title\u{7}"
    for (columns, height) in [(80, 24), (10, 3), (1, 1), (300, 2), (0, 0)] {
      let (lines, highlighted) = model.screen(columns: columns, height: height)
      #expect(lines.count <= height)
      #expect(lines.allSatisfy { $0.count <= columns })
      #expect(lines.joined().utf8.allSatisfy { (0x20..<0x7f).contains($0) })
      #expect(highlighted.map { $0 < max(height, 3) } ?? true)
    }
  }

  @Test func theSelectedLineIsOnTheScreen() {
    var model = model((100..<200).map { session("\($0)") })
    for key in [TopModel.Key.last, .pageUp, .pageUp, .first, .pageDown] {
      _ = model.press(key)
      let (lines, highlighted) = model.screen(columns: 80, height: 12)
      #expect(lines.count == 12)
      #expect(highlighted.map { lines[$0].hasPrefix(model.selected ?? "?") } == true)
    }
  }
}
