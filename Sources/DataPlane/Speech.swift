internal import CSluice
internal import System

/// Where a worker puts together what it says to one side of a connection.
@safe struct Speech: ~Copyable {
  private let storage: UnsafeMutableBufferPointer<UInt8>
  private var count = 0

  /// What fits one buffer of the data plane.
  private static let capacity = 1 << 16

  init() { unsafe storage = .allocate(capacity: Speech.capacity) }

  deinit { unsafe storage.deallocate() }

  mutating func clear() { count = 0 }

  mutating func add(_ bytes: [UInt8]) {
    write { $0.append(bytes: bytes.span) }
  }

  /// Adds what `body` writes, which finds its output empty.
  mutating func write<Result>(_ body: (inout OutputSpan<UInt8>) -> Result) -> Result {
    let rest = unsafe UnsafeMutableBufferPointer(rebasing: storage[count...])
    var output = unsafe OutputSpan(buffer: rest, initializedCount: 0)
    let result = body(&output)
    count += unsafe output.finalize(for: rest)
    return result
  }

  /// Lent until something else is said.
  var bytes: sluice_bytes {
    var bytes = sluice_bytes()
    unsafe bytes.start = UnsafePointer(unsafe storage.baseAddress)
    bytes.length = UInt32(count)
    return bytes
  }
}
