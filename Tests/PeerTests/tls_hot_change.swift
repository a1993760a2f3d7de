import Glibc
import TestSupport
import Testing

// Certificates change while clients come all the time, some of them with tickets of before: no
// handshake fails, every certificate is seen, and one that is broken is refused while the last good
// one is served on.

private let changes = 12

@Test("certificates change under load")
func certificatesChangeUnderLoad() throws {
  try require(["python3": "python3"])
  let directory = try TemporaryDirectory()
  let made = try (0..<4).map { number in
    try TestCertificate("\(number)", ["DNS:mail.example.test"], in: directory)
  }
  let served = directory.file("served.pem")
  func serve(_ text: String) throws {
    try writeFile(directory.file("next"), text)
    guard rename(directory.file("next"), served) == 0 else { throw TestFailure("rename") }
  }
  try serve(contents(of: made[0].both))
  let server = Endpoint.loopback(ReservedPort.take())
  var setup = Setup(Engine(events: "auto", splice: "auto"), servers: [server])
  setup.workers = 2
  setup.listener = "tls: { certificates: \(served) }"
  try withSluice(setup) { sluice in
    let load = try ChildProcess(
      "python3",
      [
        "\(packageDirectory)/Tests/PeerTests/peers/tls_load.py", "\(sluice.endpoint.port)",
        "\(server.port)",
      ])
    try wait(for: "the server: \(load.standardError)") {
      load.standardOutput.contains("listening")
    }
    load.write("go\n")
    func connections() throws -> Int { try sluice.endedCount }
    func said(_ text: String) -> Int {
      sluice.child.standardError.split(separator: "\n").count { $0.hasPrefix(text) }
    }
    for change in 1...changes {
      // Some come under each of them.
      let seen = try connections()
      try wait(for: "connections: \(load.standardError)") { try connections() >= seen + 8 }
      let isBroken = change % 4 == 0
      let text = contents(of: made[change % 4].both)
      try serve(isBroken ? String(text.prefix(text.count / 2)) : text)
      let outcome = isBroken ? "sluice: the reload was refused" : "sluice: reloaded: generation"
      let before = said(outcome)
      sluice.child.signal(SIGHUP)
      try wait(for: "the reload: \(sluice.child.standardError)") { said(outcome) > before }
    }
    let seen = try connections()
    try wait(for: "connections: \(load.standardError)") { try connections() >= seen + 8 }
    load.closeInput()
    #expect(try load.waitForExit() == .code(0), "\(load.standardError)")
    let result = try JSONValue(
      load.standardOutput.split(separator: "\n").last.map(String.init) ?? "")
    #expect(load.standardOutput.contains("\"failures\": []"), "\(result)")
    #expect(result["certificates"]?.number == 4, "\(result)")
    #expect((result["resumed"]?.number ?? 0) > 0 && (result["done"]?.number ?? 0) > 100)
    #expect(sluice.child.standardError.contains("listener front: \(served): "))
  }
}
