internal import CLibc

/// An eventfd: wakes a thread that waits for descriptors. eventfd(2)
package struct EventCounter: ~Copyable, Sendable {
  private let descriptor: Descriptor

  package init() throws(SystemError) {
    descriptor = Descriptor(owning: try checked(system_eventfd(), "eventfd"))
  }

  /// Readable while events are counted.
  package var number: Int32 { descriptor.number }

  /// Counts one event. Any thread may call it; it never blocks.
  package func signal() {
    // The eight bytes of the number 1 in the machine's order; x86 and arm64 Linux both put the
    // low byte first. At the highest count the kernel answers EAGAIN: the event already shows.
    let one: [8 of UInt8] = [1, 0, 0, 0, 0, 0, 0, 0]
    _ = try? descriptor.write(one.span)
  }

  /// Sets the count back to zero.
  package func clear() {
    var count: [UInt8] = []
    _ = try? descriptor.read(atMost: 8, appendingTo: &count)
  }
}
