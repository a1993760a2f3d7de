import Glibc
import System

/// A name server on 127.0.0.1, over UDP and TCP, whose answers a test changes as it goes. What it
/// was not told of does not exist.
package final class NameServer: Sendable {
  package enum Answer: Sendable {
    case records([Record])
    /// An RCODE: 2 is SERVFAIL, 3 NXDOMAIN, 5 REFUSED.
    case code(UInt8)
    case silence
    /// Anything at all, after the two bytes of the question's id.
    case bytes([UInt8])
    /// By UDP only the TC bit, by TCP the records.
    case truncated([Record])
  }

  package struct Record: Sendable {
    package var owner: String?
    package var type: UInt16
    package var ttl: UInt32
    package var data: [UInt8]

    package static func a(_ bytes: UInt8..., ttl: UInt32 = 60) -> Record {
      Record(owner: nil, type: 1, ttl: ttl, data: bytes)
    }
    /// ::1, the only address of its family that loopback has.
    package static func loopback6(ttl: UInt32 = 60) -> Record {
      Record(owner: nil, type: 28, ttl: ttl, data: [UInt8](repeating: 0, count: 15) + [1])
    }
    package static func alias(_ target: String, ttl: UInt32 = 60) -> Record {
      Record(owner: nil, type: 5, ttl: ttl, data: NameServer.name(target))
    }
    package static func service(
      _ priority: UInt16, _ weight: UInt16, _ port: UInt16, _ target: String, ttl: UInt32 = 60
    ) -> Record {
      let words = [priority, weight, port].flatMap { [UInt8($0 >> 8), UInt8($0 & 255)] }
      return Record(owner: nil, type: 33, ttl: ttl, data: words + NameServer.name(target))
    }
    /// The same record of another name.
    package func of(_ owner: String) -> Record {
      var record = self
      record.owner = owner
      return record
    }
  }

  private struct State {
    var zone: [String: [UInt16: Answer]] = [:]
    var questions: [String] = []
    var isStopping = false
  }

  private let state = Guarded(State())
  private let udp: Int32
  private let tcp: ListeningSocket
  private let serving = Guarded<Job<Void>?>(nil)
  package var port: UInt16 { tcp.port }
  /// As `resolver: servers:` takes it.
  package var address: String { "127.0.0.1:\(port)" }

  package init() throws {
    tcp = try ListeningSocket()
    udp = socket(AF_INET, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    let udp = udp
    let bound = Endpoint.loopback(tcp.port).withSockaddr { bind(udp, $0, $1) }
    guard bound == 0 else { throw TestFailure("bind: \(errorText(errno))") }
    let job = Job("name server") { [weak self] in
      while let self, self.turn() {}
    }
    serving.withLock { $0 = job }
  }

  deinit { Glibc.close(udp) }

  package func stop() {
    state.withLock { $0.isStopping = true }
    _ = try? serving.withLock { $0 }?.value()
    tcp.close()
  }

  /// What it answers about one name from now on: by type, A and AAAA and SRV for one. Records of
  /// a list go to their own types.
  package func set(_ name: String, _ records: Record...) {
    var byType: [UInt16: [Record]] = [:]
    for record in records { byType[record.type, default: []].append(record) }
    state.withLock { $0.zone[name] = byType.mapValues { .records($0) } }
  }

  package func set(_ name: String, type: UInt16, _ answer: Answer) {
    state.withLock { $0.zone[name, default: [:]][type] = answer }
  }

  /// For every type.
  package func set(_ name: String, _ answer: Answer) {
    state.withLock { $0.zone[name] = [1: answer, 28: answer, 33: answer] }
  }

  package func remove(_ name: String) { state.withLock { $0.zone[name] = nil } }

  /// How often `1 name` (the type and the name) was asked for, by UDP or TCP.
  package func count(_ type: UInt16, _ name: String) -> Int {
    state.withLock { $0.questions.count { $0 == "\(type) \(name)" } }
  }

  // MARK: Serving

  private func turn() -> Bool {
    var ready = [
      pollfd(fd: udp, events: Int16(POLLIN), revents: 0),
      pollfd(fd: tcp.descriptor, events: Int16(POLLIN), revents: 0),
    ]
    if poll(&ready, 2, 20) > 0 {
      if ready[0].revents != 0 { datagram() }
      if ready[1].revents != 0 { try? stream() }
    }
    return state.withLock { !$0.isStopping }
  }

  private func datagram() {
    var bytes = [UInt8](repeating: 0, count: 4096)
    var storage = sockaddr_storage()
    var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
    withUnsafeMutablePointer(to: &storage) { storage in
      storage.withMemoryRebound(to: sockaddr.self, capacity: 1) { from in
        let count = recvfrom(udp, &bytes, bytes.count, 0, from, &length)
        guard count > 0, let reply = reply(to: Array(bytes.prefix(count)), isStream: false)
        else { return }
        _ = sendto(udp, reply, reply.count, 0, from, length)
      }
    }
  }

  private func stream() throws {
    let client = try tcp.accept()
    let head = try client.readExactly(2, until: Deadline(inMs: 1000))
    let question = try client.readExactly(
      Int(head[0]) << 8 | Int(head[1]), until: Deadline(inMs: 1000))
    guard let reply = reply(to: question, isStream: true) else { return }
    try client.write([UInt8(reply.count >> 8), UInt8(reply.count & 255)] + reply)
    _ = try? client.readToEnd(until: Deadline(inMs: 1000))
  }

  private func reply(to question: [UInt8], isStream: Bool) -> [UInt8]? {
    guard question.count > 12 else { return nil }
    var labels: [String] = []
    var at = 12
    while at < question.count, question[at] > 0 {
      let next = at + 1 + Int(question[at])
      labels.append(String(decoding: question[(at + 1)..<next], as: UTF8.self).lowercased())
      at = next
    }
    let type = UInt16(question[at + 1]) << 8 | UInt16(question[at + 2])
    let name = labels.joined(separator: ".")
    let answer = state.withLock { state -> Answer in
      state.questions.append("\(type) \(name)")
      guard let known = state.zone[name] else { return .code(3) }
      // An alias answers whatever is asked.
      return known[type] ?? known[5] ?? .records([])
    }
    let asked = Array(question[12..<(at + 5)])
    let id = Array(question.prefix(2))
    switch answer {
    case .silence: return nil
    case .bytes(let bytes): return id + bytes
    case .code(let code): return NameServer.message(id, asked, code: code, [])
    case .truncated(let records):
      guard !isStream else { return NameServer.message(id, asked, records) }
      var message = NameServer.message(id, asked, [])
      message[2] |= 0x02
      return message
    case .records(let records): return NameServer.message(id, asked, records)
    }
  }

  private static func message(
    _ id: [UInt8], _ asked: [UInt8], code: UInt8 = 0, _ records: [Record]
  ) -> [UInt8] {
    var message = id + [0x81, 0x80 | code, 0, 1]
    message += [UInt8(records.count >> 8), UInt8(records.count & 255), 0, 0, 0, 0] + asked
    for record in records {
      message += record.owner.map { NameServer.name($0) } ?? [0xc0, 12]
      message += [UInt8(record.type >> 8), UInt8(record.type & 255), 0, 1]
      message += [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: record.ttl >> UInt32($0)) }
      message += [UInt8(record.data.count >> 8), UInt8(record.data.count & 255)] + record.data
    }
    return message
  }

  /// A name as it stands in messages.
  package static func name(_ text: String) -> [UInt8] {
    text.split(separator: ".").flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) } + [0]
  }
}
