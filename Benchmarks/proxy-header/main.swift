// What it costs to read and to write a PROXY header: nanoseconds and heap allocations, of which
// there must be none. Every header is another one than the header before it, since the optimiser
// would take a pure call with the same bytes out of the loop.

import Glibc

/// Different headers; a power of two, little enough for the caches nearest the core to hold them.
let variety = 256
/// Operations per round, and rounds: the fastest one is what counts on a machine with other work.
let operations = 1 << 17
let rounds = 9

/// SplitMix64, so that every run measures the same bytes.
struct Random {
  var state: UInt64 = 2

  mutating func word() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var word = state
    word = (word ^ word >> 30) &* 0xbf58_476d_1ce4_e5b9
    word = (word ^ word >> 27) &* 0x94d0_49bb_1331_11eb
    return word ^ word >> 31
  }

  mutating func address(_ family: Family) -> SocketAddress {
    let port = UInt16(truncatingIfNeeded: word())
    return switch family {
    case .ipv4: .ipv4(UInt32(truncatingIfNeeded: word()), port: port)
    case .ipv6: .ipv6(high: 0x2001_0db8 << 32 | word() >> 32, low: word(), port: port, scope: 0)
    }
  }

  mutating func bytes(_ count: Int) -> [UInt8] {
    (0..<count).map { _ in UInt8(truncatingIfNeeded: word()) }
  }
}

enum Family { case ipv4, ipv6 }

/// A kind of header: who and where, and what stands behind the addresses.
struct Kind {
  let name: String
  let version: ProxyHeader.Version
  let family: Family
  var tlvs = false
  var checksum = false

  static let all = [
    Kind(name: "v1 TCP4", version: .v1, family: .ipv4),
    Kind(name: "v1 TCP6", version: .v1, family: .ipv6),
    Kind(name: "v2 IPv4", version: .v2, family: .ipv4),
    Kind(name: "v2 IPv6", version: .v2, family: .ipv6),
    Kind(name: "v2 IPv4, 2 TLVs", version: .v2, family: .ipv4, tlvs: true),
    Kind(name: "v2 IPv4, CRC32C", version: .v2, family: .ipv4, checksum: true),
    Kind(
      name: "v2 IPv6, 2 TLVs, CRC32C", version: .v2, family: .ipv6, tlvs: true, checksum: true),
  ]
}

/// The headers of one kind, before and after they are written. One flat array each, so that taking
/// one out allocates nothing.
struct Samples {
  var pairs: [(source: SocketAddress, destination: SocketAddress)] = []
  var areas: [UInt8] = []
  var areaLength = 0
  var headers: [UInt8] = []
  var ranges: [Range<Int>] = []
}

/// Writes one header to the front of `room`; its length.
@inline(never)
func encode(
  _ kind: Kind, _ samples: borrowing Samples, _ index: Int,
  into room: UnsafeMutableBufferPointer<UInt8>
) -> Int {
  let pair = samples.pairs[index]
  var output = OutputSpan(buffer: room, initializedCount: 0)
  let start = index * samples.areaLength
  let area = samples.areas.span.extracting(start..<(start + samples.areaLength))
  do {
    switch kind.version {
    case .v1:
      _ = try ProxyV1.encode(source: pair.source, destination: pair.destination, into: &output)
    case .v2:
      _ = try ProxyV2.encode(
        source: pair.source, destination: pair.destination, tlvs: area, checksum: kind.checksum,
        into: &output)
    }
  } catch {
    fatalError("refused to write \(kind.name): \(error)")
  }
  return output.finalize(for: room)
}

/// Reads one header; a number that depends on all that was found.
@inline(never)
func decode(_ kind: Kind, _ samples: borrowing Samples, _ index: Int) -> Int {
  let result = ProxyHeader.decode(samples.headers.span.extracting(samples.ranges[index]))
  guard case .done(let header, let consumed) = result,
    let (source, destination) = header.streamAddresses
  else { fatalError("refused to read \(kind.name): \(result)") }
  return consumed &+ Int(source.port ?? 0) &+ Int(destination.port ?? 0) &+ header.tlvs.count
}

func samples(of kind: Kind, in room: UnsafeMutableBufferPointer<UInt8>) -> Samples {
  var random = Random()
  var samples = Samples()
  for index in 0..<variety {
    samples.pairs.append((random.address(kind.family), random.address(kind.family)))
    if kind.tlvs {
      let (id, name) = (random.bytes(26), random.bytes(16))
      let area = [UInt8](capacity: 64) { area in
        do {
          try ProxyTLV.append(.uniqueID, id.span, into: &area)
          try ProxyTLV.append(.authority, name.span, into: &area)
        } catch {
          fatalError("no room for TLVs: \(error)")
        }
      }
      samples.areas += area
      samples.areaLength = area.count
    }
    let length = encode(kind, samples, index, into: room)
    let start = samples.headers.count
    samples.headers += room[..<length]
    samples.ranges.append(start..<samples.headers.count)
  }
  return samples
}

struct Cost {
  var bestNs = Double.infinity
  var allocations: UInt64 = 0
}

func monotonicNs() -> UInt64 {
  var time = timespec()
  clock_gettime(CLOCK_MONOTONIC, &time)
  return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}

/// What `body` returns goes into here, so that it has to be computed.
nonisolated(unsafe) var seen = 0

func cost(_ body: (_ index: Int) -> Int) -> Cost {
  var cost = Cost()
  for index in 0..<variety { seen &+= body(index) }
  for _ in 0..<rounds {
    let before = heap_allocations()
    let start = monotonicNs()
    for index in 0..<operations { seen &+= body(index & (variety - 1)) }
    cost.bestNs = min(cost.bestNs, Double(monotonicNs() - start) / Double(operations))
    cost.allocations += heap_allocations() - before
  }
  return cost
}

/// Ends the program when an allocation by the Swift library would not be seen.
func requireCounting() {
  let before = heap_allocations()
  let bytes = [UInt8](repeating: 7, count: 4096 + Int(before & 1))
  seen &+= bytes.withUnsafeBufferPointer { Int(bitPattern: $0.baseAddress) & 1 }
  guard heap_allocations() > before else {
    print("proxy-header: allocations are not counted here")
    exit(2)
  }
}

func padded(_ text: String, _ width: Int) -> String {
  text + String(repeating: " ", count: max(0, width - text.utf8.count))
}

func row(_ name: String, _ bytes: Int, _ operation: String, _ cost: Cost) {
  let tenths = Int((cost.bestNs * 10).rounded())
  let each = Double(cost.allocations) / Double(operations * rounds)
  print(
    padded(name, 26), padded("\(bytes)", 6), padded(operation, 9),
    padded("\(tenths / 10).\(tenths % 10)", 8), cost.allocations == 0 ? "0" : "\(each)")
}

requireCounting()
let room = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: 1024)
var allocations: UInt64 = 0
print(padded("header", 26), padded("bytes", 6), padded("", 9), padded("ns", 8), "allocations")
for kind in Kind.all {
  let samples = samples(of: kind, in: room)
  let longest = samples.ranges.map(\.count).max() ?? 0
  let encoding = cost { index in
    let length = encode(kind, samples, index, into: room)
    return Int(room[length - 1]) &+ length
  }
  row(kind.name, longest, "encode", encoding)
  let decoding = cost { index in decode(kind, samples, index) }
  row(kind.name, longest, "decode", decoding)
  allocations += encoding.allocations + decoding.allocations
}
if allocations > 0 {
  print("proxy-header: \(allocations) allocations, and there must be none")
  exit(1)
}
