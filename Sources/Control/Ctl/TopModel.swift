internal import AdminAPI
internal import Wire

/// What `sluice ctl top` shows and what keys do to it. Pure: answers and keys come in, a screen and
/// wishes go out.
struct TopModel {
  enum Order: String, CaseIterable { case bytes, rate, age, idle }

  enum Key: Equatable { case quit, sort, kill, yes, up, down, pageUp, pageDown, first, last, other }

  enum Wish: Equatable {
    case quit
    case kill(id: String)
  }

  private struct Row {
    var session: SessionStatus
    /// Bytes each second, both ways, since the answer before; 0 for new ones.
    var rate: Double
  }

  private(set) var order = Order.bytes
  private(set) var selected: String?
  /// The one that "k" was pressed on, until it is confirmed or not.
  private(set) var asked: String?
  /// The last line, when there is something to say.
  var message: String?
  private var rows: [Row] = []
  private var status: Status?
  private var isCut = false
  private var total = (up: 0.0, down: 0.0)
  private var takenNs: UInt64 = 0

  // ---- answers -----------------------------------------------------------------------------

  /// - Parameters:
  ///   - nowNs: monotonic; what rates are counted by.
  mutating func take(_ list: SessionList, _ new: Status, nowNs: UInt64) {
    let seconds = takenNs == 0 ? 0 : Double(nowNs - takenNs) / 1e9
    let before = Dictionary(
      rows.map { ($0.session.id, $0.session) }, uniquingKeysWith: { first, _ in first })
    func rate(_ now: UInt64, _ then: UInt64?) -> Double {
      guard seconds > 0, let then, now >= then else { return 0 }
      return Double(now - then) / seconds
    }
    rows = list.sessions.map { session in
      let old = before[session.id]
      let up = rate(session.bytesUp, old?.bytesUp)
      return Row(session: session, rate: up + rate(session.bytesDown, old?.bytesDown))
    }
    total = (rate(new.bytesUp, status?.bytesUp), rate(new.bytesDown, status?.bytesDown))
    status = new
    isCut = list.next != nil
    takenNs = nowNs
    sort()
  }

  private mutating func sort() {
    func value(_ row: Row) -> Double {
      switch order {
      case .bytes: Double(row.session.bytesUp) + Double(row.session.bytesDown)
      case .rate: row.rate
      case .age: row.session.ageSeconds
      case .idle: row.session.idleSeconds
      }
    }
    // By id where the values are equal, so that lines do not change places for nothing.
    rows.sort { left, right in
      let (one, other) = (value(left), value(right))
      return one == other ? left.session.id < right.session.id : one > other
    }
    if !rows.contains(where: { $0.session.id == selected }) { selected = rows.first?.session.id }
    if asked != nil, asked != selected { asked = nil }
  }

  // ---- keys --------------------------------------------------------------------------------

  /// The keys in what was typed. Cursor keys come as ESC [ A or ESC O A (ECMA-48, xterm).
  static func keys(_ bytes: [UInt8]) -> [Key] {
    var keys: [Key] = []
    var rest = bytes[...]
    while let byte = rest.popFirst() {
      switch byte {
      case UInt8(ascii: "q"), UInt8(ascii: "Q"), 0x03, 0x04: keys.append(.quit)
      case UInt8(ascii: "s"), UInt8(ascii: "S"): keys.append(.sort)
      case UInt8(ascii: "k"), UInt8(ascii: "K"): keys.append(.kill)
      case UInt8(ascii: "y"), UInt8(ascii: "Y"): keys.append(.yes)
      case 0x1b: keys.append(sequence(&rest))
      default: keys.append(.other)
      }
    }
    return keys
  }

  private static func sequence(_ rest: inout ArraySlice<UInt8>) -> Key {
    guard let first = rest.first, first == UInt8(ascii: "[") || first == UInt8(ascii: "O") else {
      return .other
    }
    rest = rest.dropFirst()
    let parameters = rest.prefix { (0x20..<0x40).contains($0) }
    rest = rest.dropFirst(parameters.count)
    switch (rest.popFirst(), String(decoding: parameters, as: UTF8.self)) {
    case (UInt8(ascii: "A"), ""): return .up
    case (UInt8(ascii: "B"), ""): return .down
    case (UInt8(ascii: "H"), ""), (UInt8(ascii: "~"), "1"): return .first
    case (UInt8(ascii: "F"), ""), (UInt8(ascii: "~"), "4"): return .last
    case (UInt8(ascii: "~"), "5"): return .pageUp
    case (UInt8(ascii: "~"), "6"): return .pageDown
    case (_, _): return .other
    }
  }

  mutating func press(_ key: Key) -> Wish? {
    message = nil
    if let id = asked {
      asked = nil
      // Anything else is no.
      return key == .yes ? .kill(id: id) : key == .quit ? .quit : nil
    }
    switch key {
    case .quit: return .quit
    case .sort:
      let all = Order.allCases
      order = all[((all.firstIndex(of: order) ?? 0) + 1) % all.count]
      sort()
    case .kill: asked = selected
    case .up: move(by: -1)
    case .down: move(by: 1)
    case .pageUp: move(by: -10)
    case .pageDown: move(by: 10)
    case .first: move(by: -rows.count)
    case .last: move(by: rows.count)
    case .yes, .other: break
    }
    return nil
  }

  private mutating func move(by steps: Int) {
    guard let last = rows.indices.last else { return }
    let index = rows.firstIndex { $0.session.id == selected } ?? 0
    selected = rows[min(max(0, index + steps), last)].session.id
  }

  // ---- the screen --------------------------------------------------------------------------

  /// Lines of printable US-ASCII, none longer than `columns`; the number of the one to be shown in
  /// reverse.
  func screen(columns: Int, height: Int) -> (lines: [String], highlighted: Int?) {
    var lines = [headline, TopModel.titles(order)]
    let room = max(0, height - lines.count - 1)
    let index = rows.firstIndex { $0.session.id == selected } ?? 0
    // The selected line is on the screen, with as much of the top as there is room for.
    let start = max(0, min(index - room + 1, rows.count - room))
    let shown = rows.dropFirst(start).prefix(room)
    lines += shown.map(TopModel.line)
    let highlighted = shown.isEmpty ? nil : 2 + index - start
    while lines.count < height - 1 { lines.append("") }
    lines.append(footer)
    return (lines.prefix(max(0, height)).map { String($0.prefix(columns)) }, highlighted)
  }

  private var headline: String {
    guard let status else { return "" }
    let up = Visible.bytes(UInt64(total.up)) + "/s up"
    let down = Visible.bytes(UInt64(total.down)) + "/s down"
    var text = "sluice \(escapedText(status.version.utf8))  \(status.phase.rawValue)"
    text += "  up \(Visible.duration(seconds: status.uptimeSeconds))"
    text += "  generation \(status.generation)"
    text += "  \(status.connections) connections  \(up)  \(down)"
    if isCut { text += "  (the first \(rows.count) are shown)" }
    return text
  }

  private var footer: String {
    if let asked {
      let client = rows.first { $0.session.id == asked }?.session.client ?? "?"
      return "end \(escapedText(asked.utf8)) of \(escapedText(client.utf8))? y or n"
    }
    if let message { return escapedText(message.utf8) }
    return "q quit   s sort by \(order.rawValue)   k end the selected   arrows select"
  }

  private static func titles(_ order: Order) -> String {
    func title(_ text: String, _ column: Order?) -> String { column == order ? "*" + text : text }
    return cells([
      ("ID", -14), ("CLIENT", -22), (title("AGE", .age), 7), (title("IDLE", .idle), 7),
      (title("RATE/s", .rate), 7), (title("UP", order == .bytes ? order : nil), 6),
      (title("DOWN", order == .bytes ? order : nil), 6), ("LISTENER", -14), ("SERVER", -1),
    ])
  }

  private static func line(_ row: Row) -> String {
    let session = row.session
    let server = session.server.map { "\(session.backend ?? "-")/\($0)" } ?? "-"
    return cells([
      (session.id, -14), (session.client ?? "-", -22),
      (Visible.duration(seconds: session.ageSeconds), 7),
      (Visible.duration(seconds: session.idleSeconds), 7), (Visible.bytes(UInt64(row.rate)), 7),
      (Visible.bytes(session.bytesUp), 6), (Visible.bytes(session.bytesDown), 6),
      (session.listener, -14), (server, -1),
    ])
  }

  /// Each cell at least as wide as its number; to the left where that is negative.
  private static func cells(_ cells: [(text: String, width: Int)]) -> String {
    cells.map { text, width in
      let shown = escapedText(text.utf8)
      let blanks = String(repeating: " ", count: max(0, abs(width) - shown.utf8.count))
      return width < 0 ? shown + blanks : blanks + shown
    }.joined(separator: "  ")
  }
}
