import Glibc
import System
import TestLaunch

/// A program that a test started. Killed, by process id, when the last reference goes, and by the
/// kernel should the test program die before (see `Limits.killedWithUs`).
package final class ChildProcess: Sendable {
  /// What the program may and may not do.
  package struct Limits: Sendable {
    /// RLIMIT_NOFILE, soft and hard.
    package var descriptors: UInt64 = 0
    /// io_uring_setup(2) fails with EPERM, as under the default profiles of container engines.
    package var denyRing = false
    /// Without CAP_NET_BIND_SERVICE, so that ports below 1024 are refused.
    package var dropBindService = false
    /// Killed when the test program ends. A program that has to clean up after itself ends when its
    /// standard input does instead.
    package var killedWithUs = true
    package init() {}
  }

  package enum Exit: Hashable, Sendable, CustomStringConvertible {
    case code(Int32)
    case signal(Int32)
    package var description: String {
      switch self {
      case .code(let code): "exit code \(code)"
      case .signal(let number): "signal \(number)"
      }
    }
  }

  package let pid: pid_t
  package let command: String
  /// What it writes goes to files without a name, which can't outlive us whatever happens.
  private let output: Int32
  private let error: Int32
  private let ended = Guarded<Exit?>(nil)
  /// The write end of the program's standard input; -1 once closed.
  private let input: Guarded<Int32>

  /// `program` is a path or a name to be found along PATH.
  package init(
    _ program: String, _ arguments: [String], environment extra: [String: String] = [:],
    limits: Limits = Limits()
  ) throws {
    command = ([program] + arguments).joined(separator: " ")
    var ends: [Int32] = [0, 0]
    // A socket pair, not a pipe: it is close-on-exec at once, so no other child keeps it open.
    let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
    guard socketpair(AF_UNIX, kind, 0, &ends) == 0 else {
      throw TestFailure("socketpair: \(errorText(errno))")
    }
    defer { close(ends[0]) }
    let output = try Self.createNameless()
    let error = try Self.createNameless()
    self.output = output
    self.error = error
    var variables = Self.inherited()
    for (name, value) in extra { variables[name] = value }
    let settings = variables.map { "\($0.key)=\($0.value)" }
    let result = withStrings([program] + arguments) { argv in
      withStrings(settings) { envp in
        program.withCString { path in
          var request = launch_request(
            path: path, arguments: argv, environment: envp, input: ends[0], output: output,
            error: error, descriptor_limit: limits.descriptors, deny_io_uring: limits.denyRing,
            drop_bind_service: limits.dropBindService, killed_with_us: limits.killedWithUs)
          return launch_start(&request)
        }
      }
    }
    guard result > 0 else {
      close(ends[1])
      throw TestFailure("cannot start \(command): \(errorText(-result))")
    }
    pid = result
    input = Guarded(ends[1])
  }

  deinit {
    closeInput()
    if poll() == nil {
      kill(pid, SIGKILL)
      waitpid(pid, nil, 0)
    }
    close(output)
    close(error)
  }

  /// What the program has written so far.
  package var standardOutput: String { contents(of: "/proc/self/fd/\(output)") }
  package var standardError: String { contents(of: "/proc/self/fd/\(error)") }

  package func signal(_ number: Int32) {
    if poll() == nil { kill(pid, number) }
  }

  package func write(_ text: String) {
    let descriptor = input.withLock { $0 }
    _ = Array(text.utf8).withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
  }

  package func closeInput() {
    let old = input.withLock { descriptor in
      defer { descriptor = -1 }
      return descriptor
    }
    if old >= 0 { close(old) }
  }

  /// How it ended, or nil while it runs.
  package func poll() -> Exit? {
    ended.withLock { ended in
      if let ended { return ended }
      var status: Int32 = 0
      guard waitpid(pid, &status, WNOHANG) == pid else { return nil }
      ended = status & 0x7F == 0 ? .code((status >> 8) & 0xFF) : .signal(status & 0x7F)
      return ended
    }
  }

  /// Waits until the program has ended by itself.
  package func waitForExit(until deadline: Deadline = .generous) throws -> Exit {
    while true {
      if let exit = poll() { return exit }
      if deadline.hasPassed { throw TestFailure("still running: \(command)\n\(standardError)") }
      pause(ms: 5)
    }
  }

  /// Runs a program to its end.
  package static func run(
    _ program: String, _ arguments: [String], environment extra: [String: String] = [:],
    input: String = "", limits: Limits = Limits(), until deadline: Deadline = .generous
  ) throws -> (exit: Exit, output: String, error: String) {
    let child = try ChildProcess(program, arguments, environment: extra, limits: limits)
    if !input.isEmpty { child.write(input) }
    child.closeInput()
    let exit = try child.waitForExit(until: deadline)
    return (exit, child.standardOutput, child.standardError)
  }

  private static func createNameless() throws -> Int32 {
    let directory = try TemporaryDirectory("sluice-test-output")
    // Appending, so that several writers of one file don't overwrite each other.
    let flags = O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC
    let descriptor = open(directory.file("output"), flags, 0o600)
    guard descriptor >= 0 else { throw TestFailure("\(directory.path): \(errorText(errno))") }
    return descriptor
  }

  private static func inherited() -> [String: String] {
    var variables: [String: String] = [:]
    var next = environ
    while let entry = next.pointee {
      let text = String(cString: entry)
      if let equals = text.firstIndex(of: "=") {
        variables[String(text[..<equals])] = String(text[text.index(after: equals)...])
      }
      next += 1
    }
    // What makes the product's end reproducible: no debugger is started when a check fails.
    variables["SWIFT_BACKTRACE"] = variables["SWIFT_BACKTRACE"] ?? "enable=no"
    return variables
  }
}

/// Lends an array of C strings ended by a null pointer.
private func withStrings<Result>(
  _ strings: [String], _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>) -> Result
) -> Result {
  let copies = strings.map { strdup($0) } + [nil]
  defer { for copy in copies { free(copy) } }
  return copies.withUnsafeBufferPointer { buffer in
    guard let base = buffer.baseAddress else { preconditionFailure("never empty") }
    return body(base)
  }
}
