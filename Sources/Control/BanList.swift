internal import AdminAPI
internal import Config
internal import FoundationEssentials
internal import Routing
internal import System
internal import Wire

/// The bans in force, and their file, which outlives the process.
///
/// The file has one JSON object to a line and is replaced as a whole, at most once a second: a
/// service that reports a thousand addresses in a burst must not write the file a thousand times.
final class BanList: Sendable {
  /// What is kept of a ban in the file.
  private struct Line: Codable {
    var network: String
    var untilMs: UInt64?
    var reason: String?
    var hits: UInt64?
  }

  private struct Entry {
    /// Wall-clock milliseconds; nil lasts until it is taken back.
    var untilMs: UInt64?
    var reason: String?
    let hits: BanHits
  }

  private struct State {
    var entries: [Network: Entry] = [:]
    var table = BanTable()
    /// Changed since the file was written.
    var isDirty = false
    var savedMs: UInt64 = 0
    var hasComplained = false
  }

  private let state = Guarded(State())
  /// Whoever writes the file.
  private let saving = Guarded(())
  private let path: String

  /// Bans at once: a look-up takes 18 steps for these, and a change of them some ten milliseconds.
  static let limit = 100_000
  /// Bytes of a ban's reason that are kept.
  static let reasonLimit = 256
  private static let saveEveryMs: UInt64 = 1000
  /// Lines of so many bans with the longest reasons, escaped.
  private static let fileLimit = 128 << 20

  /// Reads the file in the state directory; one that is not there has no bans.
  init(directory: String) {
    path = directory + "/bans"
    load()
  }

  private func load() {
    let bytes: [UInt8]
    do throws(Files.ReadError) {
      bytes = try Files.read(path, atMost: BanList.fileLimit)
    } catch {
      if case .system(let error) = error, error.code == .noEntry { return }
      return Notice.write("the bans in \(path) cannot be read: \(error)", .error)
    }
    let now = Clock.wallMs
    var unreadable = 0
    state.withLock { state in
      for text in bytes.split(separator: UInt8(ascii: "\n")) {
        guard let line = try? JSONDecoder().decode(Line.self, from: Data(text)),
          let network = try? Network(parsing: line.network), state.entries.count < BanList.limit
        else {
          unreadable += 1
          continue
        }
        if let until = line.untilMs, until <= now { continue }
        state.entries[network] = Entry(
          untilMs: line.untilMs, reason: line.reason, hits: BanHits(line.hits ?? 0))
      }
      BanList.makeTable(&state)
    }
    if unreadable > 0 {
      Notice.write("\(path): \(counted(unreadable, "line")) of no ban; left out", .warning)
    }
  }

  private static func makeTable(_ state: inout State) {
    state.table = BanTable(
      state.entries.map { BanTable.Entry(network: $0.key, hits: $0.value.hits) })
  }

  // ---- what is there -----------------------------------------------------------------------

  var table: BanTable { state.withLock { $0.table } }

  var count: Int { state.withLock { $0.entries.count } }

  /// In the order of their text.
  var all: [Ban] {
    let entries = state.withLock { $0.entries }
    return entries.map { BanList.ban($0.key, $0.value) }.sorted { $0.network < $1.network }
  }

  private static func ban(_ network: Network, _ entry: Entry) -> Ban {
    var until: [UInt8] = []
    if let ms = entry.untilMs { Clock.appendTimestamp(wallMs: ms, to: &until) }
    return Ban(
      network: "\(network)",
      until: entry.untilMs.map { _ in String(decoding: until, as: UTF8.self) },
      reason: entry.reason, hits: entry.hits.count)
  }

  // ---- changes -----------------------------------------------------------------------------

  /// Adds a ban, or changes the one there is of this very network; its hits stay.
  ///
  /// - Throws: `refused` when there are too many.
  func add(_ network: Network, untilMs: UInt64?, reason: String?) throws(Failure) -> Ban {
    try state.withLock { state throws(Failure) in
      let before = state.entries[network]
      guard before != nil || state.entries.count < BanList.limit else {
        throw Failure(.refused, "there are \(BanList.limit) bans, and no more can be kept")
      }
      let entry = Entry(untilMs: untilMs, reason: reason, hits: before?.hits ?? BanHits())
      state.entries[network] = entry
      if before == nil { BanList.makeTable(&state) }
      state.isDirty = true
      return BanList.ban(network, entry)
    }
  }

  /// False when there is no ban of this very network.
  func remove(_ network: Network) -> Bool {
    state.withLock { state in
      guard state.entries.removeValue(forKey: network) != nil else { return false }
      BanList.makeTable(&state)
      state.isDirty = true
      return true
    }
  }

  /// Takes out what is over; true when there was any.
  func expire(wallMs: UInt64) -> Bool {
    state.withLock { state in
      let over = state.entries.filter { entry in
        entry.value.untilMs.map { $0 <= wallMs } ?? false
      }
      guard !over.isEmpty else { return false }
      for network in over.keys { state.entries[network] = nil }
      BanList.makeTable(&state)
      state.isDirty = true
      return true
    }
  }

  // ---- time --------------------------------------------------------------------------------

  /// Until a ban is over or the file is to be written; nil when neither will be.
  func waitMs(wallMs: UInt64) -> Int32? {
    state.withLock { state in
      var next = state.entries.values.lazy.compactMap(\.untilMs).min()
      if state.isDirty { next = min(next ?? .max, state.savedMs + BanList.saveEveryMs) }
      // The clock may be set, so it is looked at again within the minute.
      return next.map { Int32(clamping: $0 <= wallMs ? 0 : min($0 - wallMs, 60_000)) }
    }
  }

  /// Writes the file when that is due; `now` writes whatever has changed.
  func save(now: Bool = false) {
    saving.withLock { _ in
      let wallMs = Clock.wallMs
      let entries = state.withLock { state -> [Network: Entry]? in
        let isDue = now || wallMs >= state.savedMs + BanList.saveEveryMs || wallMs < state.savedMs
        guard state.isDirty, isDue else { return nil }
        state.isDirty = false
        state.savedMs = wallMs
        return state.entries
      }
      if let entries { write(entries) }
    }
  }

  private func write(_ entries: [Network: Entry]) {
    var bytes: [UInt8] = []
    for (network, entry) in entries {
      bytes += AdminJSON.encode(
        Line(
          network: "\(network)", untilMs: entry.untilMs, reason: entry.reason,
          hits: entry.hits.count))
      bytes.append(UInt8(ascii: "\n"))
    }
    do throws(SystemError) {
      try Files.replace(path, with: bytes, mode: 0o640)
      state.withLock { $0.hasComplained = false }
    } catch {
      let complains = state.withLock { state in
        defer { state.hasComplained = true }
        return !state.hasComplained
      }
      guard complains else { return }
      Notice.write(
        "the bans are not kept beyond the end of this process: \(path): \(error)", .warning)
    }
  }
}
