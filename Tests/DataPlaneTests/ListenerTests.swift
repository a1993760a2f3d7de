import CSluice
import Glibc
import TestSupport
import Testing

/// Listening sockets, and what sockets are given.
@Suite struct ListenerTests {
  @Test(arguments: Source.available)
  func severalListenersOfOneWorker(_ source: Source) throws {
    let worker = try ScriptedWorker(source) { hands, seen in
      hands.reject(seen.id, Array("\(seen.listener)".utf8))
    }
    for tag in [UInt32(3), 900, 4_000_000_000] {
      let client = try StreamSocket.connect(to: worker.listen(tag: tag))
      #expect(try client.readToEnd().bytes == Array("\(tag)".utf8))
    }
    // Two sockets under one tag, as "0.0.0.0:25" and "[::]:25" of one listener.
    let other = try OpenListener(.inet("::1", 0))
    try worker.listen(other, tag: 3)
    let client = try StreamSocket.connect(to: other.endpoint)
    #expect(try client.readToEnd().bytes == Array("3".utf8))
  }

  /// Those that wait in the queue meanwhile are served by whoever listens next.
  @Test(arguments: Source.available)
  func unlistenStopsAccepting(_ source: Source) throws {
    let worker = try ScriptedWorker(source) { hands, seen in hands.answer(seen.id, .hold()) }
    let listener = try OpenListener()
    try worker.listen(listener, tag: 5)
    let before = try StreamSocket.connect(to: listener.endpoint)
    try worker.event("the first ask") { $0.kind == .ask }
    #expect(try worker.perform { sluice_worker_listening($0.worker, 5) })
    #expect(try !worker.perform { sluice_worker_listening($0.worker, 6) })
    _ = try worker.perform { hands -> Bool in
      sluice_worker_unlisten(hands.worker, 5)
      return true
    }
    try until("the listener to be let go of") {
      try !worker.perform { sluice_worker_listening($0.worker, 5) }
    }
    let waiting = try StreamSocket.connect(to: listener.endpoint)
    pause(ms: 40)
    #expect(worker.seen.count { $0.bytes.isEmpty && $0.kind == .ask } == 1)
    // The one accepted before goes on.
    try before.write("still here")
    try worker.event("its bytes") { $0.text == "still here" }

    try worker.listen(listener, tag: 6)
    try worker.event("the ask of the one that waited") { $0.listener == 6 }
    waiting.close()
  }

  /// Closing a listening socket resets whoever waits in its queue; so they are accepted first.
  @Test(arguments: Source.available)
  func whoWaitsWhenAListenerIsGivenUpIsServed(_ source: Source) throws {
    // A reply takes a buffer.
    let worker = try ScriptedWorker(source, WorkerOptions(buffers: 200)) { hands, seen in
      hands.reject(seen.id, [65])
    }
    var listener: OpenListener? = try OpenListener()
    let (endpoint, descriptor) = (listener!.endpoint, listener!.descriptor)
    // More than are accepted at one look, and all of them before the worker looks once.
    let clients = try (0..<150).map { _ in try StreamSocket.connect(to: endpoint) }
    _ = try worker.perform { hands -> Bool in
      let listens = sluice_worker_listen(hands.worker, descriptor, 5, true)
      sluice_worker_unlisten(hands.worker, 5)
      return listens
    }
    try until("the listener to be let go of") {
      try !worker.perform { sluice_worker_listening($0.worker, 5) }
    }
    listener = nil
    for client in clients {
      let read = try client.readToEnd()
      #expect(read.bytes == [65] && read.ending == .fin)
    }
  }

  /// Unix and inherited sockets: one descriptor, accepted from by all.
  @Test(arguments: Source.available)
  func twoWorkersShareADescriptor(_ source: Source) throws {
    let shared = SharedTotals()
    let script: ScriptedWorker.Script = { hands, seen in hands.answer(seen.id, .hold()) }
    let first = try ScriptedWorker(source, shared: shared, script: script)
    let second = try ScriptedWorker(source, shared: shared, script: script)
    let listener = try OpenListener()
    try first.listen(listener, exclusive: false)
    try second.listen(listener, exclusive: false)
    var clients: [StreamSocket] = []
    for _ in 0..<40 { clients.append(try StreamSocket.connect(to: listener.endpoint)) }
    try until("all to be asked about") { first.seen.count + second.seen.count == 40 }
    #expect(shared.connections == 40)
    // When one goes, the other serves alone; what the first had is closed. It gives the listener up
    // before, as a ring that is closed goes on accepting until the kernel gets to it.
    _ = try first.perform { hands -> Bool in
      sluice_worker_unlisten(hands.worker, 7)
      return true
    }
    try until("the first to have let go") {
      try !first.perform { sluice_worker_listening($0.worker, 7) }
    }
    first.stop()
    try until("only the second's") { shared.connections == UInt32(second.seen.count) }
    let served = second.seen.count
    for _ in 0..<5 { clients.append(try StreamSocket.connect(to: listener.endpoint)) }
    try until("the second to serve") { second.seen.count == served + 5 }
  }

  /// REUSEPORT: a socket of its own for each worker, at one address.
  @Test(arguments: Source.available)
  func twoWorkersHaveSocketsOfTheirOwn(_ source: Source) throws {
    let script: ScriptedWorker.Script = { hands, seen in hands.answer(seen.id, .hold()) }
    let workers = [
      try ScriptedWorker(source, script: script), try ScriptedWorker(source, script: script),
    ]
    let first = try OpenListener(sharedPort: true)
    try workers[0].listen(first)
    try workers[1].listen(OpenListener(first.endpoint, sharedPort: true))
    var clients: [StreamSocket] = []
    for _ in 0..<60 { clients.append(try StreamSocket.connect(to: first.endpoint)) }
    try until("all to be asked about") { workers.map(\.seen.count).reduce(0, +) == 60 }
    #expect(workers.allSatisfy { $0.seen.count > 0 })
    // Without it the address is taken.
    let taken = #expect(throws: OpenListener.OpenFailure.self) { try OpenListener(first.endpoint) }
    #expect(taken?.number == EADDRINUSE)
    #expect(taken?.call == "bind")
  }

  @Test(arguments: Source.available)
  func aUnixListenerAndAUnixUpstream(_ source: Source) throws {
    let name = "/tmp/sluice-test-\(getpid())-\(source)"
    let backend = try ListeningSocket(.unix(name + "-up"))
    let route = Route(to: backend.endpoint)
    let worker = try ScriptedWorker(source) { hands, seen in
      hands.answer(seen.id, seen.bytes.isEmpty ? .hold() : .relay(route))
    }
    let listener = try OpenListener(.unix(name), mode: 0o620)
    try worker.listen(listener, exclusive: false)
    var status = stat()
    #expect(stat(name, &status) == 0)
    #expect(status.st_mode & 0o777 == 0o620)
    let client = try StreamSocket.connect(to: .unix(name))
    try client.write("over unix")
    let upstream = try backend.accept()
    #expect(try upstream.readExactly(9) == Array("over unix".utf8))
    let pattern = Pattern(seed: 8)
    let writing = Job("upstream") {
      try upstream.send(pattern, count: 2_000_000)
      upstream.close()
    }
    #expect(try client.expect(pattern).count == 2_000_000)
    try writing.value()
    client.close()
    #expect(try worker.closed().ends.first == .upstream_fin)
  }

  @Test(arguments: Source.available)
  func anAbstractUnixListener(_ source: Source) throws {
    let worker = try ScriptedWorker(source) { hands, seen in hands.reject(seen.id, [65]) }
    let name = Endpoint.unix("@sluice-test-\(getpid())-\(source)")
    try worker.listen(OpenListener(name), exclusive: false)
    let client = try StreamSocket.connect(to: name)
    #expect(try client.readToEnd().bytes == [65])
  }

  // MARK: options

  /// Accepted sockets inherit their options: no call per connection.
  @Test(arguments: Source.available)
  func acceptedSocketsHaveKeepaliveAndUserTimeout(_ source: Source) throws {
    let worker = try ScriptedWorker(source) { hands, seen in hands.answer(seen.id, .hold()) }
    let client = try StreamSocket.connect(to: worker.listen(OpenListener(congestion: "reno")))
    try worker.event("an ask") { $0.kind == .ask }
    let accepted = try descriptor(local: client.remote, remote: client.local)
    expectTuned(accepted)
    #expect(option(accepted, Int32(IPPROTO_TCP), TCP_NODELAY) != 0)
    #expect(congestion(accepted) == "reno")
  }

  /// A socket that somebody else opened gets the same.
  @Test(arguments: Source.available)
  func anAdoptedSocketPassesOnTheOptions(_ source: Source) throws {
    let foreign = try ListeningSocket()
    var options = sluice_listen_options()
    var error = sluice_error()
    #expect(sluice_listener_adopt(foreign.descriptor, .ipv4, &options, &error))
    let worker = try ScriptedWorker(source) { hands, seen in hands.answer(seen.id, .hold()) }
    let number = foreign.descriptor
    #expect(try worker.perform { sluice_worker_listen($0.worker, number, 1, false) })
    let client = try StreamSocket.connect(to: foreign.endpoint)
    try worker.event("an ask") { $0.kind == .ask }
    expectTuned(try descriptor(local: client.remote, remote: client.local))
  }

  /// Dialled sockets get theirs when they have lived a while, so that short ones pay nothing.
  @Test(arguments: Source.available)
  func dialledSocketsAreTunedAfterAWhile(_ source: Source) throws {
    let backend = try ListeningSocket()
    let route = Route(to: backend.endpoint)
    let worker = try ScriptedWorker(source) { hands, seen in hands.answer(seen.id, .relay(route)) }
    let client = try StreamSocket.connect(to: worker.listen())
    let upstream = try backend.accept()
    let dialled = try descriptor(local: upstream.remote, remote: upstream.local)
    #expect(option(dialled, SOL_SOCKET, SO_KEEPALIVE) == 0)
    #expect(option(dialled, Int32(IPPROTO_TCP), TCP_NODELAY) != 0)
    try until("keepalive") { option(dialled, SOL_SOCKET, SO_KEEPALIVE) != 0 }
    expectTuned(dialled)
    // Deadlines far ahead are looked at early, once: after 2 s of the 4.
    #expect(monotonicAge(worker) >= 1.9)
    client.close()
  }

  private func monotonicAge(_ worker: ScriptedWorker) -> Double {
    let age = try? worker.perform { hands -> UInt64 in
      var cursor: UInt32 = 0
      var session = sluice_session()
      _ = sluice_worker_list(hands.worker, &cursor, &session, 1)
      return session.age_us
    }
    return Double(age ?? 0) / 1_000_000
  }

  /// ip(7): the port is chosen at connect, so that one source address serves every destination.
  @Test(arguments: Source.available, ["127.0.0.77", "::1"])
  func theSourceAddressIsOurs(_ source: Source, _ host: String) throws {
    let backend = try ListeningSocket(.inet(host.contains(":") ? "::1" : "127.0.0.1", 0))
    let route = Route(to: backend.endpoint, source: .inet(host, 0), congestion: "reno")
    let worker = try ScriptedWorker(source) { hands, seen in hands.answer(seen.id, .relay(route)) }
    let client = try StreamSocket.connect(to: worker.listen())
    let upstream = try backend.accept()
    #expect(upstream.remote.host == host)
    let dialled = try descriptor(local: upstream.remote, remote: upstream.local)
    #expect(option(dialled, Int32(IPPROTO_IP), IP_BIND_ADDRESS_NO_PORT) != 0)
    #expect(congestion(dialled) == "reno")
    client.close()
  }

  @Test(arguments: Source.available)
  func aSourceAddressThatIsNotOurs(_ source: Source) throws {
    let backend = try ListeningSocket()
    let route = Route(to: backend.endpoint, source: .inet("192.0.2.1", 0))
    let worker = try ScriptedWorker(source) { hands, seen in
      if seen.kind == .redial {
        hands.reject(seen.id)
      } else {
        hands.answer(seen.id, .relay(route))
      }
    }
    let client = try StreamSocket.connect(to: worker.listen())
    #expect(try client.readToEnd().bytes.isEmpty)
    #expect(worker.seen.first { $0.kind == .redial }?.error == EADDRNOTAVAIL)
  }

  @Test func anUnknownCongestionIsAnError() throws {
    let failure = #expect(throws: OpenListener.OpenFailure.self) {
      try OpenListener(congestion: "no-such-algorithm")
    }
    #expect(failure?.number == ENOENT)
    #expect(failure?.call == "TCP_CONGESTION")
  }

  private func expectTuned(_ descriptor: Int32) {
    let tcp = Int32(IPPROTO_TCP)
    #expect(option(descriptor, SOL_SOCKET, SO_KEEPALIVE) != 0)
    #expect(option(descriptor, tcp, TCP_KEEPIDLE) == 60)
    #expect(option(descriptor, tcp, TCP_KEEPINTVL) == 15)
    #expect(option(descriptor, tcp, TCP_KEEPCNT) == 5)
    #expect(option(descriptor, tcp, TCP_USER_TIMEOUT) == 120_000)
  }
}

private func option(_ descriptor: Int32, _ level: Int32, _ name: Int32) -> Int32 {
  var value: Int32 = -1
  var length = socklen_t(4)
  return getsockopt(descriptor, level, name, &value, &length) == 0 ? value : -1
}

private func congestion(_ descriptor: Int32) -> String {
  var name = [UInt8](repeating: 0, count: 16)
  var length = socklen_t(name.count)
  getsockopt(descriptor, Int32(IPPROTO_TCP), TCP_CONGESTION, &name, &length)
  return String(decoding: name.prefix { $0 != 0 }, as: UTF8.self)
}

/// The worker's end of a connection: both ends are in this process.
private func descriptor(local: Endpoint, remote: Endpoint) throws -> Int32 {
  func port(
    _ number: Int32,
    _ call: (Int32, UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> Int32
  ) -> UInt16? {
    var name = sockaddr_storage()
    var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
    let result = withUnsafeMutablePointer(to: &name) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { call(number, $0, &length) }
    }
    guard result == 0, [AF_INET, AF_INET6].contains(Int32(name.ss_family)) else { return nil }
    return withUnsafeBytes(of: &name) { UInt16($0[2]) << 8 | UInt16($0[3]) }
  }
  for (number, target) in ProcessFacts(getpid()).descriptors where target.hasPrefix("socket:") {
    if port(number, { getsockname($0, $1, $2) }) == local.port,
      port(number, { getpeername($0, $1, $2) }) == remote.port
    {
      return number
    }
  }
  throw TestFailure("no socket from \(local) to \(remote)")
}
