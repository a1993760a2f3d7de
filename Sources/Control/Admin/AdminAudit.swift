internal import AdminAPI
internal import System
internal import Wire

/// The trail of what was done over the admin socket: one line on standard error and one event for
/// every change that was made, refused or denied: who, what, and what came of it.
final class AdminAudit: Sendable {
  private let hub: EventHub
  private let denials = Guarded(Denials())

  /// What strangers are denied is written this often at most, so that they cannot fill a journal.
  private static let denialsPerWindow = 10
  private static let windowNs: UInt64 = 10_000_000_000
  /// A line is about a person's wish, and none is longer than this.
  private static let longestText = 400

  private struct Denials {
    var windowStartNs: UInt64 = 0
    var written = 0
    var suppressed = 0
  }

  init(_ hub: EventHub) {
    self.hub = hub
  }

  /// - Parameters:
  ///   - what: what was wanted, in words: `drain listener smtp`.
  ///   - result: `done`, or why not.
  func record(_ caller: LocalSockets.Caller, _ what: String, _ result: String) {
    let user = AdminAudit.name(of: caller.user)
    let what = AdminAudit.printable(what)
    let result = AdminAudit.printable(result)
    Notice.audit("admin: \(user) (uid \(caller.user), pid \(caller.process)): \(what): \(result)")
    hub.post(
      "admin", "\(user): \(what): \(result)",
      [
        "user": user, "uid": "\(caller.user)", "pid": "\(caller.process)", "what": what,
        "result": result,
      ])
  }

  /// For those who may not: the same, but rate-limited, with a count of what was left out.
  func recordDenial(_ caller: LocalSockets.Caller, _ what: String, _ result: String) {
    let nowNs = Clock.monotonicNs
    let (isWritten, suppressed) = denials.withLock { denials -> (Bool, Int) in
      var suppressed = 0
      if nowNs - denials.windowStartNs > AdminAudit.windowNs {
        suppressed = denials.suppressed
        denials = Denials(windowStartNs: nowNs)
      }
      guard denials.written < AdminAudit.denialsPerWindow else {
        denials.suppressed += 1
        return (false, suppressed)
      }
      denials.written += 1
      return (true, suppressed)
    }
    if suppressed > 0 { Notice.audit("admin: \(suppressed) more denials were not written") }
    if isWritten { record(caller, what, result) }
  }

  /// A name for people; the number is beside it in any case.
  private static func name(of user: UInt32) -> String {
    let found = (try? Accounts.user(numbered: user)) ?? nil
    return found.map { printable($0.name) } ?? "\(user)"
  }

  /// One line, no control bytes, no passwords, and not too long.
  private static func printable(_ text: String) -> String {
    let clean = escapedText(Redaction.withoutUserinfo(text).utf8)
    return clean.utf8.count <= longestText ? clean : clean.prefix(longestText) + "…"
  }
}
