import Config
import Glibc
import System
import TestSupport
import Testing

@testable import Control

@Suite struct AdminSocketTests {
  private func settings(_ path: String, mode: UInt32 = 0o660) -> AdminSettings {
    AdminSettings(socket: path, mode: mode)
  }

  private func sentence(_ settings: AdminSettings) throws -> String {
    let fault = #expect(throws: AdminFault.self) { try AdminSocket(settings, group: nil) }
    return fault?.sentences.joined(separator: "\n") ?? ""
  }

  // bind(2) takes the umask from the file's mode; the configuration's mode is what counts.
  @Test(arguments: [0o600, 0o660, 0o666] as [UInt32])
  func theModeIsTheOneAskedFor(mode: UInt32) throws {
    let directory = try TemporaryDirectory()
    let path = directory.file("admin.sock")
    let socket = try AdminSocket(settings(path, mode: mode), group: nil)
    let access = try Files.access(of: path)
    #expect(access.isSocket && access.mode == mode)
    #expect(try Files.access(of: path + ".lock").mode == 0o600)
    socket.remove()
    #expect(entries(of: directory.path) == [])
  }

  @Test(.enabled(if: geteuid() == 0, "only root may give files away"))
  func theGroupIsTheOneAskedFor() throws {
    let directory = try TemporaryDirectory()
    let socket = try AdminSocket(settings(directory.file("admin.sock")), group: 4)
    #expect(try Files.access(of: socket.path).group == 4)
    socket.remove()
  }

  @Test func whatADeadProcessLeftIsReplaced() throws {
    let directory = try TemporaryDirectory()
    let path = directory.file("admin.sock")
    do {
      _ = try LocalSockets.listen(at: path, mode: 0o600, group: nil)
    }
    #expect(fileExists(path))
    let socket = try AdminSocket(settings(path), group: nil)
    #expect(try LocalSockets.isAlive(path))
    socket.remove()
  }

  @Test func aSocketThatIsAliveIsRefused() throws {
    let directory = try TemporaryDirectory()
    let path = directory.file("admin.sock")
    let other = try LocalSockets.listen(at: path, mode: 0o600, group: nil)
    #expect(try sentence(settings(path)).contains("another process serves \(path)"))
    #expect(try LocalSockets.isAlive(path))
    #expect(!fileExists(path + ".lock"))
    withExtendedLifetime(other) {}
  }

  @Test func whatIsNoSocketIsRefusedAndKept() throws {
    let directory = try TemporaryDirectory()
    let path = directory.file("admin.sock")
    try writeFile(path, "precious")
    #expect(try sentence(settings(path)).contains("is no socket"))
    #expect(AdminSocket.obstacles(path).count == 1)
    #expect(contents(of: path) == "precious")
    unlink(path)
    symlink(directory.file("elsewhere"), path)
    #expect(try sentence(settings(path)).contains("is no socket"))
  }

  @Test func aSecondInstanceIsKeptOut() throws {
    let directory = try TemporaryDirectory()
    let path = directory.file("admin.sock")
    let first = try AdminSocket(settings(path), group: nil)
    #expect(try sentence(settings(path)).contains("another instance"))
    #expect(try LocalSockets.isAlive(path))
    first.remove()
    let second = try AdminSocket(settings(path), group: nil)
    // What was removed once is the successor's now.
    first.remove()
    #expect(try LocalSockets.isAlive(path))
    second.remove()
  }

  @Test func aMissingDirectoryIsMade() throws {
    let directory = try TemporaryDirectory()
    let path = directory.file("run/admin.sock")
    #expect(AdminSocket.obstacles(path) == [])
    let socket = try AdminSocket(settings(path), group: nil)
    #expect(try Files.access(of: directory.file("run")).mode & 0o022 == 0)
    socket.remove()
    #expect(AdminSocket.obstacles(directory.file("no/such/admin.sock")).count == 1)
    #expect(try sentence(settings(directory.file("no/such/admin.sock"))).contains("No such file"))
  }

  @Test func aDirectoryThatEverybodyWritesToIsRefused() throws {
    let directory = try TemporaryDirectory()
    let path = directory.file("admin.sock")
    chmod(directory.path, 0o777)
    #expect(try sentence(settings(path)).contains("replace the socket"))
    #expect(AdminSocket.obstacles(path).count == 1)
    chmod(directory.path, 0o1777)
    try AdminSocket(settings(path), group: nil).remove()
  }

  @Test func aPathThatIsTooLongIsRefused() throws {
    let directory = try TemporaryDirectory()
    let path = directory.file(String(repeating: "x", count: 108))
    #expect(try sentence(settings(path)).contains("admin.socket"))
  }
}
