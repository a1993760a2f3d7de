import Glibc
import TestSupport
import Testing

// A reload that cannot be done changes nothing: whatever is wrong with the file, with the addresses
// it names or with the system at that moment, what was served is served still, by the same sockets,
// and the reason is told with its place.

@Test("reload of broken configurations", arguments: Engine.eventSources)
func reloadOfBrokenConfigurations(engine: Engine) throws {
  let backend = try EchoServer()
  let front = Endpoint.loopback(ReservedPort.take())
  let good = configuration(front, backend, more: "")
  try withReloadedSluice(engine, good, at: front) { sluice in
    let client = try sluice.process.connect()
    let pattern = Pattern(seed: 5)
    try roundTrip(client, pattern, at: 0, count: 100)
    var sent = 100
    let before = sluice.process.facts.descriptorCount
    func refused(_ reason: String, _ change: () throws -> Void) throws {
      try change()
      let outcome = try sluice.hangUp()
      #expect(outcome.hasPrefix("sluice: the reload was refused"), "\(reason): \(outcome)")
      #expect(
        sluice.process.child.standardError.contains(reason),
        "\(reason) is not in \(sluice.process.child.standardError.suffix(600))")
      try roundTrip(client, pattern, at: sent, count: 10)
      sent += 10
      try roundTrip(sluice.process.connect(), pattern, at: 0, count: 10)
      try wait(for: "descriptors to be as before") {
        // The probe's own connection, until its end was seen.
        sluice.process.facts.descriptorCount <= before
      }
    }

    try refused("sluice.yaml:7:") { try sluice.write("listeners: [") }
    try refused("unknown key \"listners\"") {
      try sluice.write(good + "\nlistners: {}")
    }
    try refused("No such file or directory") { unlink(sluice.configuration) }
    try refused("needs a restart") { try sluice.write(good, head: "workers: 3") }
    #expect(sluice.process.child.standardError.contains("sluice.yaml:1:10: a change of `workers`"))
    try refused("needs a restart") {
      try sluice.write(good + "\nlimits: { max-connections: 7 }")
    }
    let taken = try ListeningSocket()
    try refused("\(taken.endpoint) is in use by another process") {
      try sluice.write(configuration(front, backend, more: "\"\(taken.endpoint)\""))
    }
    // The one that could have been bound is not, either.
    let free = Endpoint.loopback(ReservedPort.take())
    try refused("\(taken.endpoint) is in use by another process") {
      try sluice.write(
        configuration(front, backend, more: "\"\(free)\", \"\(taken.endpoint)\""))
    }
    #expect(throws: StreamSocket.ConnectFailure.self) { try StreamSocket.connect(to: free) }
    #expect(try sluice.done("status")["generation"]?.number == 1)

    try sluice.write(configuration(front, backend, more: "\"\(free)\""))
    #expect(try sluice.hangUp().contains("generation 2"))
    try roundTrip(StreamSocket.connect(to: free), pattern, at: 0, count: 10)
    try roundTrip(client, pattern, at: sent, count: 10)
  }
  try backend.stop()
}

// Descriptors run out in the middle of a reload that needs many.
@Test("reload without descriptors", arguments: Engine.eventSources)
func reloadWithoutDescriptors(engine: Engine) throws {
  let backend = try EchoServer()
  let front = Endpoint.loopback(ReservedPort.take())
  let good = configuration(front, backend, more: "")
  try withReloadedSluice(engine, good, at: front) { sluice in
    let client = try sluice.process.connect()
    let pattern = Pattern(seed: 6)
    try roundTrip(client, pattern, at: 0, count: 100)
    let before = sluice.process.facts.descriptorCount
    let extras = (0..<40).map { _ in "\"\(Endpoint.loopback(ReservedPort.take()))\"" }
    try sluice.write(configuration(front, backend, more: extras.joined(separator: ", ")))
    try sluice.process.facts.limitDescriptors(soft: UInt64(before + 20), hard: 4000)
    #expect(try sluice.hangUp().hasPrefix("sluice: the reload was refused"))
    #expect(sluice.process.child.standardError.contains("Too many open files"))
    try wait(for: "descriptors to be as before") {
      sluice.process.facts.descriptorCount <= before
    }
    try roundTrip(client, pattern, at: 100, count: 100)
    try roundTrip(sluice.process.connect(), pattern, at: 0, count: 10)
    try sluice.process.facts.limitDescriptors(soft: 4000, hard: 4000)
    #expect(try sluice.hangUp().contains("generation 2"))
    try roundTrip(client, pattern, at: 200, count: 100)
  }
  try backend.stop()
}

private func configuration(_ front: Endpoint, _ backend: EchoServer, more: String) -> String {
  """
  timeouts: { drain: 5s }
  listeners:
    front: { bind: "\(front)", type: server-first, backend: back }
    \(more.isEmpty ? "" : "more: { bind: [\(more)], backend: back }")
  backends: { back: { servers: ["\(backend.endpoint)"] } }
  """
}
