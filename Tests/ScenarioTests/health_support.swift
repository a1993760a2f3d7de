import System
import TestSupport
import Testing

/// A daemon with one listener whose server speaks first, and one backend.
func withChecked(
  _ servers: [Endpoint], _ backend: String, timeouts: String = "drain: 5s",
  _ body: (SluiceProcess) throws -> Void
) throws {
  var setup = Setup(Engine(events: "auto", splice: "auto"), servers: servers)
  setup.listener = "type: server-first"
  setup.backend = backend
  setup.timeouts = timeouts
  try withSluice(setup, body)
}

/// A server that does one thing after the other with its connections, over and over, until it is
/// stopped.
final class Greeter: Sendable {
  enum Manner: Sendable {
    /// Says it and closes; before that it takes part in a check when it begins with 220.
    case greets(String)
    case resets
    /// Says nothing, for good.
    case hangs
    /// A byte of a greeting now and then, and never the whole of it.
    case dribbles
  }

  private struct State {
    var manners: [Manner]
    var isStopping = false
    var accepted = 0
  }

  private let listener: ListeningSocket
  private let state: Guarded<State>
  private let job = Guarded<Job<Void>?>(nil)
  var endpoint: Endpoint { listener.endpoint }
  /// Connections it has taken.
  var accepted: Int { state.withLock { $0.accepted } }

  init(_ manners: Manner..., at endpoint: Endpoint = .loopback(0)) throws {
    listener = try ListeningSocket(endpoint)
    state = Guarded(State(manners: manners))
    let made = Job("greeter") { [listener, state] in
      var held: [StreamSocket] = []
      var dribbled: [(client: StreamSocket, count: Int)] = []
      while !state.withLock({ $0.isStopping }) {
        for index in dribbled.indices {
          let text = "220-"
          let byte = Array(text.utf8.dropFirst(dribbled[index].count).prefix(1))
          try? dribbled[index].client.write(byte.isEmpty ? Array("x".utf8) : byte)
          dribbled[index].count += 1
        }
        guard let client = try listener.accept(withinMs: 20) else { continue }
        let manner = state.withLock { state in
          state.accepted += 1
          return state.manners[(state.accepted - 1) % state.manners.count]
        }
        switch manner {
        case .greets(let greeting):
          try? client.write(greeting)
          if greeting.hasPrefix("220") { try? Greeter.answerCheck(client) }
          client.close()
        case .resets: client.reset()
        case .hangs: held.append(client)
        case .dribbles: dribbled.append((client, 0))
        }
      }
      for client in held + dribbled.map(\.client) { client.close() }
    }
    job.withLock { $0 = made }
  }

  /// From the next connection on.
  func change(to manner: Manner) { state.withLock { $0.manners = [manner] } }

  /// A check says EHLO and QUIT; clients of these tests say nothing.
  private static func answerCheck(_ client: StreamSocket) throws {
    let hello = "EHLO [127.0.0.1]\r\n"
    _ = try client.readExactly(hello.utf8.count, until: Deadline(inMs: 200))
    try client.write("250-it\r\n250 is\r\n")
    _ = try client.readExactly(6)
    try client.write("221 bye\r\n")
  }

  /// Nobody listens at its address any more.
  func stop() throws {
    state.withLock { $0.isStopping = true }
    try job.withLock { $0 }?.value()
    listener.close()
  }
}

/// What one client hears until its connection is closed.
func hearing(_ sluice: SluiceProcess) throws -> String {
  let client = try sluice.connect()
  defer { client.close() }
  return String(decoding: try client.readToEnd().bytes, as: UTF8.self)
}

func expectHello(_ sluice: SluiceProcess) throws {
  let heard = try hearing(sluice)
  #expect(heard == "hello")
}

extension SluiceProcess {
  /// Lines of standard error that have this in them.
  func saidCount(_ text: String) -> Int {
    child.standardError.split(separator: "\n").count { $0.contains(text) }
  }

  /// Servers that were last said to be up, or down.
  func servers(saidToBe state: String) -> Int {
    var last: [Substring: Substring] = [:]
    for line in child.standardError.split(separator: "\n") {
      let words = line.split(separator: " ")
      // `sluice: server back/127.0.0.1:25 is down: ...`
      if words.count >= 5, words[1] == "server", words[3] == "is" { last[words[2]] = words[4] }
    }
    return last.values.count { $0.hasPrefix(state) }
  }
}
