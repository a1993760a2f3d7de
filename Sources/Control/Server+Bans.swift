package import AdminAPI
internal import DataPlane
internal import Routing
internal import System
internal import Wire

/// Clients that are turned away, whatever they ask for.
extension Server {
  package func bans() -> [Ban] { banList.all }

  /// Turns a network away from now on; live connections go on.
  package func ban(_ request: BanRequest) throws(Failure) -> Ban {
    let network = try Server.network(request.network)
    var untilMs: UInt64?
    if let seconds = request.seconds {
      guard seconds > 0, seconds <= Server.longestBanSeconds else {
        throw Failure(.invalid, "a ban lasts more than 0 and at most 10 years, in seconds")
      }
      untilMs = Clock.wallMs + UInt64((seconds * 1000).rounded(.up))
    }
    if let reason = request.reason, reason.utf8.count > BanList.reasonLimit {
      throw Failure(.invalid, "a reason has at most \(BanList.reasonLimit) bytes")
    }
    let ban = try banList.add(network, untilMs: untilMs, reason: request.reason)
    applyBans()
    events.post("ban", "\(network) is banned", ["network": "\(network)"])
    return ban
  }

  /// - Parameter text: the very network that was banned.
  package func unban(_ text: String) throws(Failure) {
    let network = try Server.network(text)
    guard banList.remove(network) else {
      throw Failure(.notFound, "there is no ban of \(network)")
    }
    applyBans()
    events.post("ban", "\(network) is no longer banned", ["network": "\(network)"])
  }

  /// From the main loop: bans that are over, and the file.
  func expireBans() {
    if banList.expire(wallMs: Clock.wallMs) { applyBans() }
    banList.save()
  }

  private func applyBans() {
    pool.install(banList.table)
    banList.save()
    wakeUp()
  }

  private static let longestBanSeconds = 10 * 366 * 86_400.0

  static func network(_ text: String) throws(Failure) -> Network {
    do throws(NetworkFault) {
      let network = try Network(parsing: text)
      guard network != .unix else {
        throw NetworkFault.badAddress
      }
      return network
    } catch {
      switch error {
      case .badAddress:
        throw Failure(.invalid, "\"\(text)\" is no address and no network such as 192.0.2.0/24")
      case .badPrefix:
        throw Failure(.invalid, "the prefix of \"\(text)\" is no length of a network")
      case .hostBits(let network):
        throw Failure(.invalid, "\"\(text)\" has bits beyond its prefix; it may mean \(network)")
      }
    }
  }
}
