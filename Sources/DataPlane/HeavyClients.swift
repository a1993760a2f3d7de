package import Wire

/// The clients with the most connections and bytes lately, in little memory however many there are:
/// the space-saving sketch of Metwally and others (2005), in sets of eight so that a count costs
/// eight comparisons. A newcomer takes the place of the least one in its set, and its count too,
/// which bounds the error. Counts halve every minute.
///
/// IPv6 clients are counted by their /64, as one customer has no less.
package struct HeavyClients: Sendable {
  /// An estimate, never too small.
  package struct Client: Sendable, Equatable {
    package let address: SocketAddress
    package var weight: UInt64
  }

  /// Kept for each client that is to be shown, so that the least of those kept matter little.
  private static let placesPerClient = 4
  private static let ways = 8
  private static let halfLifeMs: UInt64 = 60_000

  private struct Place {
    var high: UInt64 = 0
    var low: UInt64 = 0
    var weight: UInt64 = 0
  }

  private var places: [Place] = []
  private let seed: UInt64
  private var halvedMs: UInt64 = 0

  /// - Parameter shown: how many there shall be in the end; 0 keeps nothing.
  init(shown: Int, seed: UInt64) {
    self.seed = seed
    guard shown > 0 else { return }
    var sets = 1
    while sets * HeavyClients.ways < shown * HeavyClients.placesPerClient { sets *= 2 }
    places = [Place](repeating: Place(), count: sets * HeavyClients.ways)
  }

  var isOn: Bool { !places.isEmpty }

  mutating func add(_ client: SocketAddress, _ weight: UInt64, wallMs: UInt64) {
    guard isOn, weight > 0, let (high, low) = HeavyClients.key(client) else { return }
    halve(wallMs: wallMs)
    let sets = UInt64(places.count / HeavyClients.ways)
    let first = Int(mix(high, low) & (sets - 1)) * HeavyClients.ways
    var least = first
    for place in first..<first + HeavyClients.ways {
      if places[place].high == high, places[place].low == low {
        places[place].weight &+= weight
        return
      }
      if places[place].weight < places[least].weight { least = place }
    }
    places[least] = Place(high: high, low: low, weight: places[least].weight &+ weight)
  }

  /// Brings the counts to the present, also when nobody came for a while.
  mutating func halve(wallMs: UInt64) {
    if halvedMs == 0 { halvedMs = wallMs }
    guard wallMs > halvedMs + HeavyClients.halfLifeMs else { return }
    let times = (wallMs - halvedMs) / HeavyClients.halfLifeMs
    halvedMs += times * HeavyClients.halfLifeMs
    for place in places.indices { places[place].weight >>= min(times, 63) }
  }

  /// Those with any weight, in no order.
  package var clients: [Client] {
    places.compactMap { place in
      guard place.weight > 0 else { return nil }
      return Client(address: HeavyClients.address(place.high, place.low), weight: place.weight)
    }
  }

  /// IPv4 as mapped into IPv6, and the first half of IPv6 with an impossible second one; nil for
  /// Unix clients, who have no address.
  private static func key(_ address: SocketAddress) -> (UInt64, UInt64)? {
    switch address {
    case .ipv4(let word, _): (0, mapped | UInt64(word))
    case .ipv6(let high, _, _, _): (high, 0)
    case .unix: nil
    }
  }

  private static func address(_ high: UInt64, _ low: UInt64) -> SocketAddress {
    low & mapped == mapped
      ? .ipv4(UInt32(truncatingIfNeeded: low), port: 0)
      : .ipv6(high: high, low: 0, port: 0, scope: 0)
  }

  private static let mapped: UInt64 = 0xffff_0000_0000

  /// Seeded, so that nobody can choose addresses that share a set.
  private func mix(_ high: UInt64, _ low: UInt64) -> UInt64 {
    var mixed = (high ^ seed) &* 0x9e37_79b9_7f4a_7c15
    mixed = (mixed ^ (mixed >> 32) ^ low) &* 0xbf58_476d_1ce4_e5b9
    return mixed ^ (mixed >> 31)
  }
}
