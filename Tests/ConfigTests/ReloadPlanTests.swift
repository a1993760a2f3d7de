import Config
import Testing

/// What a reload would change, told from two files.
struct ReloadPlanTests {
  private static let file = """
    trusted-networks: [192.0.2.0/28]
    listeners:
      smtp: { bind: "127.0.0.1:25", backend: postfix }
      imap: { bind: ["127.0.0.1:143", "127.0.0.1:144"], backend: dovecot }
    backends:
      postfix: { servers: ["127.0.0.1:1025", "127.0.0.1:1026"], send-proxy: v2 }
      dovecot: { servers: ["127.0.0.1:1143"] }
    """

  private func plan(_ old: String, _ new: String) throws -> ReloadPlan {
    ReloadPlan(
      from: try #require(parse(old)), to: try #require(parse(new)))
  }

  private func parse(_ text: String) -> Snapshot? {
    Snapshot.parse(Array(text.utf8), file: "sluice.yaml").snapshot
  }

  private func changed(_ edits: (String, String)...) throws -> ReloadPlan {
    var new = Self.file
    for (from, to) in edits {
      #expect(new.contains(from))
      new = new.replacing(from, with: to)
    }
    return try plan(Self.file, new)
  }

  private func told(_ plan: ReloadPlan) -> [String] {
    plan.changes.filter { $0.kind != .kept }.map { "\($0.kind) \($0.what): \($0.detail)" }
  }

  @Test func theSameFileChangesNothing() throws {
    let plan = try changed()
    #expect(plan.isEmpty)
    #expect(plan.changes.map(\.kind) == [.kept, .kept])
    #expect(plan.opened.isEmpty && plan.retired.isEmpty)
  }

  @Test func orderIsNoChange() throws {
    let plan = try changed(
      ("[\"127.0.0.1:143\", \"127.0.0.1:144\"]", "[\"127.0.0.1:144\", \"127.0.0.1:143\"]"))
    #expect(plan.opened.isEmpty && plan.retired.isEmpty)
    #expect(plan.restarts.isEmpty)
  }

  @Test func listenersComeAndGo() throws {
    let plan = try changed(
      ("imap: { bind: [\"127.0.0.1:143\", \"127.0.0.1:144\"]", "pop: { bind: \"127.0.0.1:110\""))
    #expect(
      told(plan) == [
        "added listener pop: 127.0.0.1:110",
        "removed listener imap: 127.0.0.1:143, 127.0.0.1:144",
      ])
    #expect(plan.opened.map(\.description) == ["127.0.0.1:110"])
    #expect(plan.retired.map(\.description) == ["127.0.0.1:143", "127.0.0.1:144"])
  }

  @Test func anAddressKeepsItsSocketUnderAnotherName() throws {
    let plan = try changed(("smtp:", "mail:"))
    #expect(plan.opened.isEmpty && plan.retired.isEmpty)
    #expect(
      told(plan) == [
        "added listener mail: 127.0.0.1:25", "removed listener smtp: 127.0.0.1:25",
      ])
  }

  @Test func aListenerChanges() throws {
    let plan = try changed(
      ("\"127.0.0.1:25\", backend: postfix", "\"127.0.0.1:26\", backlog: 9, backend: dovecot"))
    #expect(
      told(plan) == [
        "changed listener smtp: bind + 127.0.0.1:26, bind - 127.0.0.1:25, "
          + "backend postfix -> dovecot, backlog 4096 -> 9"
      ])
  }

  @Test func trustChangesForEachListenerThatHasIt() throws {
    let plan = try changed(("192.0.2.0/28", "192.0.2.0/29, 198.51.100.1"))
    let detail = "+ 192.0.2.0/29 require, 198.51.100.1/32 require; - 192.0.2.0/28 require"
    #expect(
      told(plan) == ["changed trust smtp: \(detail)", "changed trust imap: \(detail)"])
  }

  @Test func serversAndBackendsChange() throws {
    let plan = try changed(
      ("\"127.0.0.1:1026\"]", "{ address: \"127.0.0.1:1025\", weight: 3 }]"),
      ("[\"127.0.0.1:1025\", {", "[{"), ("send-proxy: v2", "send-proxy: v1, retries: 0"))
    #expect(
      told(plan) == [
        "changed server postfix/127.0.0.1:1025: weight 1 -> 3",
        "removed server postfix/127.0.0.1:1026: ",
        "changed backend postfix: send-proxy v2 -> v1, retries 2 -> 0",
      ])
  }

  @Test func latencyChanges() throws {
    let plan = try plan(Self.file, "latency: low\n\(Self.file)")
    #expect(told(plan).contains("changed latency: balanced -> low") && plan.restarts.isEmpty)
  }

  @Test(
    arguments: [
      ("workers: 7", ["workers"]), ("events: epoll", ["events"]),
      ("limits: { max-connections: 7 }", ["limits", "max-connections"]),
      ("state-directory: /tmp/s", ["state-directory"]), ("admin: {}", ["admin"]),
      ("metrics: { bind: 127.0.0.1:9 }", ["metrics"]),
    ])
  func someTakeARestart(_ line: String, _ path: [String]) throws {
    let plan = try plan(Self.file, "\(line)\n\(Self.file)")
    #expect(plan.restarts.map(\.path) == [path])
    #expect(!plan.isEmpty)
    #expect(plan.restarts.first?.sentence.contains("needs a restart") == true)
  }

  @Test func theAdminSocketTakesARestartItsRolesDoNot() throws {
    let old = "admin: { socket: /run/a.sock }\n\(Self.file)"
    #expect(
      try plan(old, "admin: { socket: /run/b.sock, mode: \"0600\" }\n\(Self.file)")
        .restarts.map(\.path) == [["admin", "socket"], ["admin", "mode"]])
    let roles = try plan(old, "admin: { socket: /run/a.sock, view: [daemon] }\n\(Self.file)")
    #expect(roles.restarts.isEmpty)
    #expect(told(roles) == ["changed admin: roles"])
  }
}
