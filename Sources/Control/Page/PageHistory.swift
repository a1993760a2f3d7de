internal import AdminAPI

/// What the page's curves and its last minute are made of: sums at each step, for ten minutes.
struct PageHistory: Sendable {
  static let stepMs: Int64 = 2000
  private static let steps = 300
  private static let minuteSteps = 30

  private struct Sums {
    var ns: UInt64
    var connections = 0.0
    var accepted: UInt64 = 0
    var up: UInt64 = 0
    var down: UInt64 = 0
  }

  private struct Kind: Hashable {
    let listener: String
    let reason: String
  }

  private var last: Sums?
  private var shown = PageData.History(stepSeconds: Double(stepMs) / 1000)
  /// Of each step of the last minute, and the newest.
  private var rejections: [[Kind: UInt64]] = []

  mutating func note(_ listeners: [ListenerStatus], nowNs: UInt64) {
    var sums = Sums(ns: nowNs)
    var rejected: [Kind: UInt64] = [:]
    for listener in listeners {
      sums.connections += Double(listener.connections)
      sums.accepted &+= listener.accepted
      sums.up &+= listener.bytesUp
      sums.down &+= listener.bytesDown
      for (reason, count) in listener.rejected {
        rejected[Kind(listener: listener.name, reason: reason)] = count
      }
    }
    rejections.append(rejected)
    if rejections.count > PageHistory.minuteSteps + 1 { rejections.removeFirst() }
    defer { last = sums }
    // A rate needs two; the first step says nothing yet.
    guard let last, sums.ns > last.ns else { return }
    let seconds = Double(sums.ns - last.ns) / 1e9
    // A listener that was removed takes its counts with it.
    func rate(_ now: UInt64, _ before: UInt64) -> Double {
      (Double(now - min(now, before)) / seconds * 10).rounded() / 10
    }
    PageHistory.append(sums.connections, to: &shown.connections)
    PageHistory.append(rate(sums.accepted, last.accepted), to: &shown.accepted)
    PageHistory.append(rate(sums.up, last.up), to: &shown.up)
    PageHistory.append(rate(sums.down, last.down), to: &shown.down)
  }

  private static func append(_ value: Double, to values: inout [Double]) {
    values.append(value)
    if values.count > steps { values.removeFirst() }
  }

  var curves: PageData.History { shown }

  var rejected: [PageData.Rejection] {
    guard let newest = rejections.last, let oldest = rejections.first else { return [] }
    return newest.map { kind, total in
      PageData.Rejection(
        listener: kind.listener, reason: kind.reason,
        lastMinute: total - min(total, oldest[kind] ?? 0), total: total)
    }.sorted {
      ($1.lastMinute, $1.total, $0.listener, $0.reason)
        < ($0.lastMinute, $0.total, $1.listener, $1.reason)
    }
  }
}
