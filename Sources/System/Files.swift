internal import CLibc

/// Whole files and log files.
package enum Files {
  package enum ReadError: Error, Sendable, CustomStringConvertible {
    case system(SystemError)
    case tooBig(limit: Int)

    package var description: String {
      switch self {
      case .system(let error): return error.description
      case .tooBig(let limit): return "larger than \(limit) bytes"
      }
    }
  }

  /// Which file a path or descriptor means; equal for two names of one file.
  package struct Identity: Hashable, Sendable {
    package let device: UInt64
    package let inode: UInt64
  }

  package enum Kind: Sendable { case regular, directory, pipe, socket, other }

  /// All bytes of a file, or an error once it turns out to be longer than `limit` bytes.
  /// Works on files without a size, as in /proc. [open(2), read(2)]
  package static func read(_ path: String, atMost limit: Int) throws(ReadError) -> [UInt8] {
    do {
      let file = Descriptor(owning: try checked(unsafe system_open_reading(path), "open"))
      var bytes: [UInt8] = []
      while bytes.count <= limit {
        let piece = min(readPiece, limit + 1 - bytes.count)
        if try file.read(atMost: piece, appendingTo: &bytes) == 0 { return bytes }
      }
    } catch {
      throw .system(error)
    }
    throw .tooBig(limit: limit)
  }

  /// The names in a directory, in no order. [opendir(3); EFBIG for more than 1 MiB of names]
  package static func names(in path: String) throws(SystemError) -> [String] {
    var bytes = [UInt8](repeating: 0, count: namesLimit)
    let count = try checked(
      unsafe system_directory_names(path, &bytes, bytes.count), "opendir")
    return bytes[..<count].split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
  }

  /// The first line of a small file, as /proc/sys and /sys offer them; nil when it cannot be read.
  package static func firstLine(of path: String) -> String? {
    guard let bytes = try? read(path, atMost: smallFileLimit) else { return nil }
    return String(decoding: bytes.prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
  }

  /// The text of a small file; nil when it cannot be read.
  package static func text(of path: String) -> String? {
    guard let bytes = try? read(path, atMost: smallFileLimit) else { return nil }
    return String(decoding: bytes, as: UTF8.self)
  }

  /// Opens for appending, creating with mode 0640 (a log names clients). [open(2); ENXIO for a
  /// FIFO that nobody reads]
  package static func openAppending(_ path: String) throws(SystemError) -> Descriptor {
    Descriptor(owning: try checked(unsafe system_open_appending(path, 0o640), "open"))
  }

  package static func identity(of descriptor: Int32) throws(SystemError) -> Identity {
    Identity(try describe(descriptor))
  }

  /// [ENOENT when the name is gone]
  package static func identity(at path: String) throws(SystemError) -> Identity {
    Identity(try describe(path))
  }

  package static func kind(of descriptor: Int32) throws(SystemError) -> Kind {
    Kind(try describe(descriptor))
  }

  package static func kind(at path: String) throws(SystemError) -> Kind {
    Kind(try describe(path))
  }

  /// Gives `path` these bytes at once: a reader, or a start after a power cut, finds what was there
  /// before or all of it. `path` with `.new` behind it is used on the way. [ENOENT: no such
  /// directory; EACCES, ENOSPC, EROFS, …: open(2), write(2), fsync(2), rename(2)]
  package static func replace(
    _ path: String, with bytes: [UInt8], mode: UInt32
  ) throws(SystemError) {
    let result = unsafe bytes.withUnsafeBufferPointer { buffer in
      // An empty array may have no address.
      let none: UInt8 = 0
      return unsafe withUnsafePointer(to: none) { none in
        unsafe system_replace_file(path, buffer.baseAddress ?? none, buffer.count, mode)
      }
    }
    _ = try checked(result, "write")
  }

  /// The permission bits.
  package static func mode(at path: String) throws(SystemError) -> UInt32 {
    try describe(path).mode
  }

  package static func remove(_ path: String) throws(SystemError) {
    _ = try checked(unsafe system_remove(path), "unlink")
  }

  /// Reads grow a file's buffer in pieces of this many bytes.
  private static let readPiece = 64 * 1024
  /// Files of /proc and /sys that we read are one page at most.
  private static let smallFileLimit = 64 * 1024
  /// Tens of thousands of files.
  private static let namesLimit = 1 << 20

  private static func describe(_ descriptor: Int32) throws(SystemError) -> system_file {
    var file = system_file()
    _ = try checked(unsafe system_file_of(descriptor, &file), "fstat")
    return file
  }

  private static func describe(_ path: String) throws(SystemError) -> system_file {
    var file = system_file()
    _ = try checked(unsafe system_file_at(path, &file), "stat")
    return file
  }
}

extension Files.Identity {
  fileprivate init(_ file: system_file) {
    self.init(device: file.device, inode: file.inode)
  }
}

extension Files.Kind {
  fileprivate init(_ file: system_file) {
    switch file.kind {
    case .regular: self = .regular
    case .directory: self = .directory
    case .pipe: self = .pipe
    case .socket: self = .socket
    case .other: self = .other
    }
  }
}
