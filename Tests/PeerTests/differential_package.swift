import TestSupport
import Testing
import Wire

// The `proxyprotocol` package reads what we write, and we read what it writes, thousands of headers
// of either version with all kinds of addresses and TLVs; and of headers that were damaged on the
// way, we accept none that it refuses or understands otherwise. (It accepts some that the text
// forbids, such as a port of "+25".)

/// Python with the package in it, as `tools/packages test` installs it.
func runPackage(_ arguments: [String], input: String = "") throws -> [Substring] {
  let python = "\(packageDirectory)/.build/python/bin/python3"
  guard fileExists("\(packageDirectory)/.build/python/ready") else {
    throw TestFailure(
      "the Python package proxy-protocol is missing: tools/packages test installs it from PyPI")
  }
  let result = try ChildProcess.run(
    python, ["\(packageDirectory)/Tests/PeerTests/peers/proxy_package.py"] + arguments,
    input: input, until: Deadline(inMs: 120_000))
  guard result.exit == .code(0) else {
    throw TestFailure("the package ended with \(result.exit): \(result.error)")
  }
  return result.output.split(separator: "\n")
}

private func bytes(hexadecimal text: some StringProtocol) -> [UInt8] {
  let digits = Array(text.utf8).map { UInt8($0 < 0x40 ? $0 - 0x30 : $0 - 0x57) }
  return stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
}

private func hexadecimal(_ bytes: some Collection<UInt8>) -> String {
  bytes.map { hexadecimal($0, digits: 2) }.joined()
}

private func hexadecimal(_ number: some BinaryInteger, digits: Int) -> String {
  let text = String(number, radix: 16)
  return String(repeating: "0", count: digits - text.count) + text
}

/// A header in the words that the Python program uses.
private func describe(_ header: ProxyHeader, in bytes: [UInt8]) throws -> String {
  var words = [header.version == .v1 ? "v1" : "v2", header.command == .local ? "local" : "proxy"]
  switch header.endpoints {
  case .ip(let source, let destination):
    words += [source, destination].flatMap { [exploded($0), "\($0.port ?? 0)"] }
    if header.transport == .datagram { words.append("datagram") }
  case .unix(let source, let destination):
    words += [source, destination].map { $0.isEmpty ? "-" : hexadecimal(bytes[$0]) }
  case .none: words.append("none")
  }
  var found: [(UInt8, String)] = []
  var walk = ProxyTLVWalk(header.tlvs)
  while let tlv = try walk.next(in: bytes.span) {
    found.append((tlv.kind.rawValue, hexadecimal(bytes[tlv.value])))
  }
  found.sort { $0.0 < $1.0 }
  words += found.filter { $0.0 != 0x03 }.map { "\(hexadecimal($0.0, digits: 2))=\($0.1)" }
  return words.joined(separator: " ")
}

/// Without `::` and with all zeros, so that nothing depends on how addresses are shortened.
private func exploded(_ address: SocketAddress) -> String {
  switch address {
  case .ipv4(let word, _):
    return (0..<4).map { "\(word >> (24 - 8 * UInt32($0)) & 255)" }.joined(separator: ".")
  case .ipv6(let high, let low, _, _):
    return [high, low].flatMap { (half: UInt64) -> [String] in
      [48, 32, 16, 0].map { hexadecimal(half >> $0 & 0xffff, digits: 4) }
    }.joined(separator: ":")
  case .unix(let path): return path
  }
}

/// What we make of a whole header: its description, or nil when it is refused or not all of it.
private func ours(_ bytes: [UInt8]) throws -> String? {
  guard case .done(let header, bytes.count) = ProxyHeader.decode(bytes.span, ended: true) else {
    return nil
  }
  return try describe(header, in: bytes)
}

@Test("we read what the package writes")
func readPackage() throws {
  let lines = try runPackage(["encode", "4000", "20261121"])
  #expect(lines.count == 4000)
  for line in lines {
    let (header, wanted) = try parts(of: line)
    #expect(try ours(header) == wanted, "\(line)")
  }
}

private func parts(of line: Substring) throws -> ([UInt8], String) {
  let space = try #require(line.firstIndex(of: " "), "\(line)")
  return (bytes(hexadecimal: line[..<space]), String(line[line.index(after: space)...]))
}

/// A header of ours about a random connection, and what it is meant to say.
///
/// The package computes checksums as if TLVs were in the order of their types, whatever order they
/// came in. So ours, which come last, are seen only behind types that are less.
private func written(
  _ generator: inout SeededGenerator, checksum: Bool
) throws -> ([UInt8], String) {
  let isSix = Bool.random(using: &generator)
  func address() -> SocketAddress {
    let port = UInt16.random(in: 0...65_535, using: &generator)
    guard isSix else {
      return .ipv4(UInt32.random(in: 0...UInt32.max, using: &generator), port: port)
    }
    let lows: [UInt64] = [generator.next(), generator.next() & 0xffff, 0, 1]
    let highs: [UInt64] = [generator.next(), 0, 0x2001_0db8_0000_0000]
    return .ipv6(
      high: highs.randomElement(using: &generator) ?? 1,
      low: lows.randomElement(using: &generator) ?? 1, port: port, scope: 0)
  }
  var source = address()
  var destination = address()
  // Both unmapped would be IPv4; one of them stays what it is.
  if isSix, case .ipv6(0, _, let port, _) = source {
    source = .ipv6(high: 0xfd00_0000_0000_0000, low: 1, port: port, scope: 0)
  }
  if isSix, case .ipv6(0, let low, let port, _) = destination, low >> 32 == 0xffff {
    destination = .ipv6(high: 1, low: low, port: port, scope: 0)
  }
  let addresses = [source, destination].map { "\(exploded($0)) \($0.port ?? 0)" }
  let version = Int.random(in: 1...3, using: &generator) == 1 ? 1 : 2
  var wanted = "v\(version) proxy \(addresses.joined(separator: " "))"
  var area: [UInt8] = []
  if version == 2 {
    var types: Set<UInt8> = []
    for _ in 0..<Int.random(in: 0...4, using: &generator) {
      let candidates: [UInt8] = [0x01, 0x02] + (checksum ? [] : [0x05, 0x30] + Array(0xe0...0xef))
      types.insert(candidates.randomElement(using: &generator) ?? 0xe0)
    }
    for type in types.sorted() {
      let value = (0..<Int.random(in: 0...60, using: &generator)).map { _ in
        UInt8.random(in: 0x61...0x7a, using: &generator)
      }
      area += [type, 0, UInt8(value.count)] + value
      wanted += " \(hexadecimal(type, digits: 2))=\(hexadecimal(value))"
    }
  }
  let header = try [UInt8](unsafeUninitializedCapacity: 1024) { buffer, used in
    var output = OutputSpan(buffer: buffer, initializedCount: 0)
    if version == 1 {
      _ = try ProxyV1.encode(source: source, destination: destination, into: &output)
    } else {
      _ = try ProxyV2.encode(
        source: source, destination: destination, tlvs: area.span, checksum: checksum,
        into: &output)
    }
    used = output.finalize(for: buffer)
  }
  return (header, wanted)
}

@Test("the package reads what we write")
func packageReads() throws {
  var generator = SeededGenerator(seed: 77)
  let headers = try (0..<4000).map { index in
    try written(&generator, checksum: index.isMultiple(of: 3))
  }
  let lines = try runPackage(
    ["decode"], input: headers.map { hexadecimal($0.0) }.joined(separator: "\n") + "\n")
  #expect(lines.count == headers.count)
  for (line, (header, wanted)) in zip(lines, headers) {
    #expect(line == "\(hexadecimal(header)) \(wanted)")
  }
}

/// Where the two may differ although both are right: the text leaves it open what an unspecified
/// family holds, LOCAL's block is "discarded", and the package has no place for a type that comes
/// twice, for paths that aren't ASCII, or for text right behind UNKNOWN.
private func isOpen(_ bytes: [UInt8]) throws -> Bool {
  guard case .done(let header, _) = ProxyHeader.decode(bytes.span) else { return false }
  if header.version == .v1 { return header.streamAddresses == nil }
  guard header.command == .proxy, bytes[13] >> 4 != 0, bytes[13] & 15 != 0, bytes[13] >> 4 != 3
  else { return true }
  var types: Set<UInt8> = []
  var walk = ProxyTLVWalk(header.tlvs)
  while let tlv = try walk.next(in: bytes.span) {
    if !types.insert(tlv.kind.rawValue).inserted { return true }
  }
  return false
}

@Test("of damaged headers we accept none that the package refuses")
func damagedHeaders() throws {
  var generator = SeededGenerator(seed: 99)
  // Where there is a checksum nearly every damage is found, so most have none.
  let theirHeaders = try runPackage(["encode", "2000", "7"]).map { try parts(of: $0).0 }
  let ourHeaders = try (0..<4000).map { _ in try written(&generator, checksum: false).0 }
  let damaged = (theirHeaders + ourHeaders).map { undamaged in
    var header = undamaged
    for _ in 0..<Int.random(in: 1...2, using: &generator) {
      // Most of the addresses' bytes are as good as others; the rest is what matters.
      let reach = Bool.random(using: &generator) ? min(17, header.count) : header.count
      let place = Int.random(in: 0..<reach, using: &generator)
      header[place] ^= 1 << UInt8.random(in: 0...7, using: &generator)
    }
    return header
  }
  let lines = try runPackage(
    ["decode"], input: damaged.map { hexadecimal($0) }.joined(separator: "\n") + "\n")
  #expect(lines.count == damaged.count)
  var (same, refused, stricter) = (0, 0, 0)
  for (line, header) in zip(lines, damaged) {
    let theirs = try parts(of: line).1
    guard let ours = try ours(header) else {
      if theirs.hasPrefix("refused") { refused += 1 } else { stricter += 1 }
      continue
    }
    if try isOpen(header) { continue }
    #expect(ours == theirs, "\(line)")
    same += 1
  }
  print("differential_package: \(same) alike, \(refused) refused by both, \(stricter) by us alone")
  #expect(same > 300 && refused > 1000)
}

/// What `sluice decode-proxy --json` says of a header, in the words of the Python program; nil when
/// it says that it is none.
private func commandDescription(_ header: [UInt8]) throws -> String? {
  let result = try ChildProcess.run(
    SluiceBinary.path, ["decode-proxy", "--json"], input: hexadecimal(header) + "\n")
  let json = try JSONValue(result.output)
  guard json["status"]?.string == "valid" else {
    #expect(result.exit == .code(1) && json["reason"] != .null, "\(result.output)")
    return nil
  }
  #expect(result.exit == .code(0))
  #expect(json["header_bytes"]?.number == Double(header.count))
  guard case .array(let members)? = json["fields"], case .array(let tlvs)? = json["tlvs"] else {
    throw TestFailure("neither fields nor TLVs: \(result.output)")
  }
  func field(_ name: String) -> String? {
    members.first { $0["name"]?.string == name }?["value"]?.string
  }
  let isLocal = field("command")?.hasPrefix("LOCAL") == true
  var words = ["v\(field("version") ?? "?")", isLocal ? "local" : "proxy"]
  if let ports = field("source port") {
    for (name, port) in [("source", ports), ("destination", field("destination port") ?? "")] {
      let host = (field(name) ?? "").filter { $0 != "[" && $0 != "]" }
      let text = host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
      words += [exploded(try #require(SocketAddress(text), "\(text)")), port]
    }
    if field("family")?.contains("DGRAM") == true { words.append("datagram") }
  } else if let source = field("source"), let destination = field("destination") {
    words += [source, destination].map { hexadecimal(Array($0.utf8.dropFirst().dropLast())) }
  } else {
    words.append("none")
  }
  let found = try tlvs.map { tlv in
    let (offset, length) = (tlv["offset"]?.number ?? 0, tlv["length"]?.number ?? 0)
    let value = header[(Int(offset) + 3)..<(Int(offset) + 3 + Int(length))]
    return "\(try #require(tlv["type"]?.string).dropFirst(2))=\(hexadecimal(value))"
  }
  words += found.filter { !$0.hasPrefix("03=") }.sorted()
  return words.joined(separator: " ")
}

@Test("decode-proxy reads what the package writes")
func decodeProxyReadsPackage() throws {
  for line in try runPackage(["encode", "80", "5"]) {
    let (header, wanted) = try parts(of: line)
    #expect(try commandDescription(header) == wanted, "\(line)")
    // With a bit of the signature wrong it is no header.
    var damaged = header
    damaged[3] ^= 0x20
    #expect(try commandDescription(damaged) == nil)
  }
}
