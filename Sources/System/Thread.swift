internal import CLibc
internal import Glibc

/// A POSIX thread. Detached when it is let go of without `join()`.
package final class Thread: Sendable {
  private let identifier: Guarded<pthread_t?>

  /// Starts `body` on a new thread.
  ///
  /// - Parameters:
  ///   - name: as `ps -L` and `top -H` show it; the kernel keeps 15 bytes.
  ///   - cpu: the only processor it may run on, or any. Pinning that fails is no error: a
  ///     container may shrink its set of processors at any time.
  /// - Throws: EAGAIN at the limit of threads. pthread_create(3)
  package init(
    name: String, cpu: Int? = nil, _ body: @escaping @Sendable () -> Void
  ) throws(SystemError) {
    let start = Start(name: name, cpu: cpu, body: body)
    let box = unsafe Unmanaged.passRetained(start)
    var thread = pthread_t()
    let code = unsafe pthread_create(
      &thread, nil,
      { raw in
        guard let raw = unsafe raw else { return nil }
        unsafe Unmanaged<Start>.fromOpaque(raw).takeRetainedValue().run()
        return nil
      }, box.toOpaque())
    guard code == 0 else {
      unsafe box.release()
      throw SystemError("pthread_create", .init(rawValue: code))
    }
    identifier = Guarded(thread)
  }

  deinit {
    if let thread = identifier.withLock({ $0 }) { pthread_detach(thread) }
  }

  /// Waits until the body has returned. A second call returns at once.
  package func join() {
    identifier.withLock { thread in
      if let running = thread { _ = pthread_join(running, nil) }
      thread = nil
    }
  }

  /// Suspends the calling thread.
  package static func sleep(ms: UInt32) {
    _ = system_sleep_ms(ms)
  }

  /// From here on the calling thread, and those it starts, take what processor time others leave
  /// over, and a quarter where they leave none (nice 5). Cannot be taken back. sched_setattr(2)
  package static func giveWay() { system_thread_yield(5) }

  /// Runs `body` on a thread of its own that takes what processor time all others leave over, and
  /// next to none where they leave none (nice 19), and waits for it. For long computations: it must
  /// not hold a lock that a busy thread wants, and threads that it starts are as slow.
  package static func aside<Value: Sendable>(
    _ name: String, _ body: @escaping @Sendable () -> Value
  ) -> Value {
    let result = Guarded<Value?>(nil)
    let thread = try? Thread(name: name) {
      system_thread_yield(19)
      let value = body()
      result.withLock { $0 = value }
    }
    thread?.join()
    // At the limit of threads it is computed here.
    return result.withLock { $0 } ?? body()
  }

  private final class Start: Sendable {
    let name: String
    let cpu: Int?
    let body: @Sendable () -> Void

    init(name: String, cpu: Int?, body: @escaping @Sendable () -> Void) {
      self.name = name
      self.cpu = cpu
      self.body = body
    }

    func run() {
      _ = unsafe system_thread_name(name)
      if let cpu { _ = system_thread_pin(Int32(truncatingIfNeeded: cpu)) }
      body()
    }
  }
}
