internal import CLibc

/// Owns one open file descriptor and closes it at the end of its life.
package struct Descriptor: ~Copyable, Sendable {
  /// For calls that borrow the descriptor; it stays owned here.
  package let number: Int32

  /// Takes over an open descriptor: nobody else may close it from now on.
  package init(owning number: Int32) {
    self.number = number
  }

  deinit { _ = system_close(number) }

  /// Gives up ownership without closing.
  package consuming func release() -> Int32 {
    let number = number
    discard self
    return number
  }

  /// A second descriptor for the same open file, close-on-exec. [EMFILE, EBADF]
  package static func duplicate(of number: Int32) throws(SystemError) -> Descriptor {
    Descriptor(owning: try checked(system_duplicate(number), "dup"))
  }

  /// Appends at most `limit` bytes to `buffer`; returns how many, 0 at the end of the stream.
  /// [read(2); a non-blocking descriptor without data throws EAGAIN]
  package func read(
    atMost limit: Int, appendingTo buffer: inout [UInt8]
  ) throws(SystemError) -> Int {
    let before = buffer.count
    buffer.append(contentsOf: repeatElement(0, count: limit))
    let result = unsafe buffer.withUnsafeMutableBufferPointer { bytes -> Int64 in
      guard let start = bytes.baseAddress else { return 0 }
      return unsafe system_read(number, start + before, limit)
    }
    buffer.removeLast(limit - max(0, Int(result)))
    return try checked(result, "read")
  }

  /// Writes what the kernel takes at once and returns how many bytes that was. [write(2)]
  package func write(_ bytes: Span<UInt8>) throws(SystemError) -> Int {
    let result = unsafe bytes.withUnsafeBufferPointer { buffer -> Int64 in
      guard let start = buffer.baseAddress else { return 0 }
      return unsafe system_write(number, start, buffer.count)
    }
    return try checked(result, "write")
  }

  /// Writes all of it to a blocking descriptor. [write(2)]
  package func writeAll(_ bytes: Span<UInt8>) throws(SystemError) {
    var done = 0
    while done < bytes.count {
      done += try write(bytes.extracting(done..<bytes.count))
    }
  }
}

/// Waiting for a descriptor without owning it.
package enum Readiness {
  package struct Ready: OptionSet, Sendable {
    package let rawValue: UInt32
    package init(rawValue: UInt32) { self.rawValue = rawValue }
    package static let first = Ready(rawValue: 1)
    package static let second = Ready(rawValue: 2)
  }

  /// Waits until `first` can be read (or has failed), or `second` can, or the time is over.
  /// An interrupted wait reports nothing ready; a nil time waits for ever. [poll(2)]
  package static func reading(
    _ first: Int32, _ second: Int32 = -1, waitingAtMostMs timeoutMs: Int32? = nil
  ) throws(SystemError) -> Ready {
    try wait(first, SYSTEM_POLL_IN, second, SYSTEM_POLL_IN, timeoutMs)
  }

  /// The same, with `first` waited for until it takes bytes, and `second` until it can be read.
  package static func writing(
    _ first: Int32, orReading second: Int32 = -1, waitingAtMostMs timeoutMs: Int32? = nil
  ) throws(SystemError) -> Ready {
    try wait(first, SYSTEM_POLL_OUT, second, SYSTEM_POLL_IN, timeoutMs)
  }

  private static func wait(
    _ first: Int32, _ firstEvents: Int, _ second: Int32, _ secondEvents: Int,
    _ timeoutMs: Int32?
  ) throws(SystemError) -> Ready {
    var ready: UInt32 = 0
    let result = unsafe system_poll_two(
      first, Int32(firstEvents), second, Int32(secondEvents), timeoutMs ?? -1, &ready)
    _ = try checked(result, "poll")
    return Ready(rawValue: ready)
  }
}
