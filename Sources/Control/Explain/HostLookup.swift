internal import Config
internal import Routing
internal import System
internal import Wire

/// The addresses of one name, for somebody who waits for them: asked for as the servers' names are,
/// of the hosts file and the name servers of the configuration.
enum HostLookup {
  enum Finding: Equatable {
    case found([SocketAddress])
    /// A clause for a person to read.
    case failed(String)
  }

  /// Blocks for at most this long.
  static func addresses(
    of name: HostName, port: UInt16, _ settings: ResolverSettings, atMostMs: UInt64
  ) -> Finding {
    let target = ServerTarget.host(name, port: port)
    let trouble = Guarded<String?>(nil)
    let names: Names
    do throws(SystemError) {
      names = try Names(
        settings,
        onNote: { note in
          if note.isTrouble { trouble.withLock { $0 = note.sentence } }
        }, onChange: {})
    } catch {
      return .failed("\(error)")
    }
    defer { names.stop() }
    names.want([target])
    names.settle([target], atMostMs: atMostMs)
    let found = (names.resolution[target] ?? []).map(\.address)
    if !found.isEmpty { return .found(found) }
    return .failed(trouble.withLock { $0 } ?? "no name server answered in time")
  }
}
