internal import Config
internal import System
package import Wire

/// What the commands of the executable do; each returns the process's exit code.
package enum Commands {
  package static let version = "0.1.0"

  /// `sluice run`: serves until a signal ends it. 1 when it cannot start.
  package static func run(configuration path: String) -> Int32 {
    guard let file = load(path) else { return 1 }
    return serve(file.snapshot, from: path) {}
  }

  /// `sluice check`: prints the plan, or every error. 1 when `run` would not start now, for other
  /// reasons than that it runs already, or somebody who is listed under `admin` could not connect.
  package static func check(configuration path: String) -> Int32 {
    guard let file = load(path) else { return 1 }
    let facts = Preflight.facts(for: file.snapshot)
    // The server whose file this is may be running, and then has what it binds.
    let isRunning = file.snapshot.admin.map { (try? LocalSockets.isAlive($0.socket)) ?? false }
    let preflight = Preflight(file.snapshot, facts) { address in
      let obstacle = Sockets.obstacle(to: address)
      return isRunning == true && obstacle == .inUse ? nil : obstacle
    }
    for sentence in preflight.warnings { complain("\(path): warning: \(sentence)") }
    let ready = Transports.prepare(
      file.snapshot, isStart: true, nowSeconds: Int64(Clock.wallMs / 1000))
    for sentence in ready.warnings { complain("\(path): warning: \(sentence)") }
    let expiring = ready.transports.expiring(atSeconds: Int64(Clock.wallMs / 1000))
    for sentence in expiring { complain("\(path): warning: \(sentence)") }
    let errors =
      preflight.errors + ready.problems
      + (file.snapshot.admin.map { AdminServer.problems($0) } ?? [])
    for sentence in errors { complain("\(path): \(sentence)") }
    guard errors.isEmpty else { return 1 }
    StandardStream.output.write(file.snapshot.plan)
    for sentence in preflight.notes { StandardStream.output.write("\n\(sentence)\n") }
    return 0
  }

  /// `sluice schema`: what editors need to know of the configuration.
  package static func schema() -> Int32 {
    StandardStream.output.write(SchemaDocument.text)
    return 0
  }

  /// More than the demo's own server takes.
  private static let demoConnections = 100

  /// `sluice demo`: a listener, and a server in the same process that answers with the client's
  /// address as the PROXY header told it.
  package static func demo(bind: SocketAddress) -> Int32 {
    do throws(SystemError) {
      // Before the first thread, which is the demo's own server.
      try Signals.block()
      let backend = try DemoBackend()
      defer { backend.stop() }
      let snapshot = Snapshot(
        workers: .count(1), limits: Limits(maxConnections: demoConnections), drainMs: 2000,
        listeners: [Listener(name: "demo", binds: [bind], type: .serverFirst, backend: 0)],
        backends: [
          Backend(
            name: "embedded",
            servers: [Config.Server(name: "\(backend.address)", address: backend.address)],
            sendProxy: .v2)
        ])
      return serve(snapshot, from: nil) {
        let port = bind.port.map { " \($0)" } ?? ""
        Notice.write("connect to \(bind), for one with `nc \(bind.hostDescription)\(port)`")
      }
    } catch {
      Notice.write("the demo cannot start: \(error)", .error)
      return 1
    }
  }

  private static func load(_ path: String) -> ConfigurationFile? {
    do throws(ConfigurationFile.Unusable) {
      let file = try ConfigurationFile(path)
      for line in file.warnings { complain(line) }
      return file
    } catch {
      for line in error.lines { complain(line) }
      return nil
    }
  }

  private static func serve(
    _ snapshot: Snapshot, from path: String?, whenServing: () -> Void
  ) -> Int32 {
    do throws(Server.Refusal) {
      let server = try Server.start(snapshot, from: path)
      whenServing()
      server.run()
      return 0
    } catch {
      for sentence in error.sentences { Notice.write(sentence, .error) }
      return 1
    }
  }

  /// As compilers print it, without the name of the program.
  private static func complain(_ line: String) {
    StandardStream.error.write(Redaction.withoutUserinfo(line) + "\n")
  }
}
