internal import Glibc

/// A value that several threads share, each alone with it for the length of a call.
///
/// Stands on pthread_mutex(3) and not on the standard library's Mutex, whose futex calls
/// ThreadSanitizer cannot see: it would report every guarded access as a race.
@safe package final class Guarded<Value: ~Copyable>: @unchecked Sendable {
  private let lock: UnsafeMutablePointer<pthread_mutex_t>
  private let value: UnsafeMutablePointer<Value>

  package init(_ value: consuming sending Value) {
    unsafe lock = .allocate(capacity: 1)
    unsafe lock.initialize(to: pthread_mutex_t())
    // Fails only for want of memory, which the allocations around it would not survive either.
    precondition(unsafe pthread_mutex_init(lock, nil) == 0)
    unsafe self.value = .allocate(capacity: 1)
    unsafe self.value.initialize(to: value)
  }

  deinit {
    unsafe value.deinitialize(count: 1)
    unsafe value.deallocate()
    unsafe pthread_mutex_destroy(lock)
    unsafe lock.deallocate()
  }

  /// Not to be called from within its own `body`: that would wait for ever.
  package func withLock<Result: ~Copyable, Failure: Error>(
    _ body: (inout sending Value) throws(Failure) -> sending Result
  ) throws(Failure) -> sending Result {
    unsafe pthread_mutex_lock(lock)
    defer { unsafe pthread_mutex_unlock(lock) }
    return unsafe try body(&value.pointee)
  }
}
