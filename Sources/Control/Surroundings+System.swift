package import Config
internal import System

extension Surroundings {
  /// The files of this machine and the environment of this process.
  package static let system = Surroundings(
    contents: { path, limit in contents(of: path, limit) },
    variable: { Environment.variable($0) })

  /// Regular files and directories only: a pipe would be waited for.
  private static func contents(
    of path: String, _ limit: Int
  ) -> Result<Contents, Unobtainable> {
    do {
      switch try Files.kind(at: path) {
      case .regular: return .success(.file(try Files.read(path, atMost: limit)))
      case .directory: return .success(.directory(try Files.names(in: path)))
      case .pipe, .socket, .other: return .failure(Unobtainable("not a regular file"))
      }
    } catch {
      return .failure(Unobtainable("\(error)"))
    }
  }
}
