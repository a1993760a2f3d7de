import Glibc

/// The whole of a file as text; "" when it can't be read (a process that has just ended, say).
package func contents(of path: String) -> String {
  let descriptor = open(path, O_RDONLY | O_CLOEXEC)
  guard descriptor >= 0 else { return "" }
  defer { close(descriptor) }
  var bytes: [UInt8] = []
  while true {
    var count = 0
    let chunk = [UInt8](unsafeUninitializedCapacity: 65536) { buffer, used in
      count = read(descriptor, buffer.baseAddress, 65536)
      used = max(0, count)
    }
    guard count > 0 else { break }
    bytes += chunk
  }
  return String(decoding: bytes, as: UTF8.self)
}

package func writeFile(_ path: String, _ text: String) throws {
  let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
  guard descriptor >= 0 else { throw TestFailure("\(path): \(errorText(errno))") }
  defer { close(descriptor) }
  var rest = Array(text.utf8)[...]
  while !rest.isEmpty {
    let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
    guard count > 0 else { throw TestFailure("\(path): \(errorText(errno))") }
    rest = rest.dropFirst(count)
  }
}

package func fileExists(_ path: String) -> Bool { access(path, F_OK) == 0 }

/// Names of a directory's entries, without `.` and `..`.
package func entries(of directory: String) -> [String] {
  guard let stream = opendir(directory) else { return [] }
  defer { closedir(stream) }
  var names: [String] = []
  while let entry = readdir(stream) {
    let name = withUnsafeBytes(of: &entry.pointee.d_name) {
      String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
    }
    if name != "." && name != ".." { names.append(name) }
  }
  return names
}

package func linkTarget(_ path: String) -> String? {
  var buffer = [UInt8](repeating: 0, count: 4096)
  let count = buffer.withUnsafeMutableBytes { bytes in
    bytes.withMemoryRebound(to: CChar.self) { characters in
      characters.baseAddress.map { readlink(path, $0, characters.count) } ?? -1
    }
  }
  return count < 0 ? nil : String(decoding: buffer.prefix(count), as: UTF8.self)
}

package func environment(_ name: String) -> String? {
  guard let value = getenv(name) else { return nil }
  return String(cString: value)
}

/// The directory that holds the running test program, and with it everything built beside it.
package var buildDirectory: String {
  let program = linkTarget("/proc/self/exe") ?? CommandLine.arguments[0]
  return String(program[..<(program.lastIndex(of: "/") ?? program.endIndex)])
}

/// A directory of one test's own; removed with its contents (files and flat directories) at the
/// end.
package final class TemporaryDirectory: Sendable {
  package let path: String

  package init(_ name: String = "sluice-test") throws {
    let base = environment("TMPDIR") ?? "/tmp"
    var template = Array("\(base)/\(name).XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw TestFailure("mkdtemp: \(errorText(errno))") }
    path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    chmod(path, 0o755)
  }

  package func file(_ name: String) -> String { "\(path)/\(name)" }

  deinit {
    for name in entries(of: path) {
      for inner in entries(of: file(name)) { unlink("\(file(name))/\(inner)") }
      if unlink(file(name)) != 0 { rmdir(file(name)) }
    }
    rmdir(path)
  }
}
