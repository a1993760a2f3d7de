package import Wire

/// A range that the guard keeps clients from, and what it is.
package struct GuardRange: Hashable, Sendable, CustomStringConvertible {
  package let network: Network
  package let name: String

  package init(_ network: Network, _ name: String) {
    self.network = network
    self.name = name
  }

  /// `loopback, 127.0.0.0/8`
  package var description: String { "\(name), \(network)" }
}

extension GuardRange {
  /// What is not of the public network, by the registries of special-purpose addresses (RFC 6890;
  /// https://www.iana.org/assignments/iana-ipv4-special-registry and iana-ipv6-special-registry).
  /// Those for documentation are left out: nobody has them.
  package static let denied: [GuardRange] = ipv4 + ipv6

  private static let ipv4: [GuardRange] = [
    range(0, 0, 0, 0, 8, "unspecified"),  // RFC 791; Linux dials 0.0.0.0 at 127.0.0.1.
    range(10, 0, 0, 0, 8, "private"),  // RFC 1918
    range(100, 64, 0, 0, 10, "shared by a carrier"),  // RFC 6598
    range(127, 0, 0, 0, 8, "loopback"),  // RFC 1122
    range(169, 254, 0, 0, 16, "link-local"),  // RFC 3927
    range(172, 16, 0, 0, 12, "private"),
    range(192, 0, 0, 0, 24, "protocol assignments"),  // RFC 6890
    range(192, 88, 99, 0, 24, "6to4 relays"),  // RFC 7526
    range(192, 168, 0, 0, 16, "private"),
    range(198, 18, 0, 0, 15, "benchmarking"),  // RFC 2544
    range(224, 0, 0, 0, 4, "multicast"),  // RFC 5771
    range(240, 0, 0, 0, 4, "reserved"),  // RFC 1112
    range(255, 255, 255, 255, 32, "broadcast"),
    // Where clouds tell a machine its secrets.
    range(169, 254, 169, 254, 32, metadata),  // AWS, Azure, Google, OpenStack and others
    range(169, 254, 170, 2, 32, metadata),  // AWS: tasks of ECS
    range(169, 254, 170, 23, 32, metadata),  // AWS: pods of EKS
    range(192, 0, 0, 192, 32, metadata),  // Oracle
    range(100, 100, 100, 200, 32, metadata),  // Alibaba
    range(168, 63, 129, 16, 32, metadata),  // Azure; an address of the public network
  ]

  private static let ipv6: [GuardRange] = [
    range(0, 0, 128, "unspecified"),
    range(0, 1, 128, "loopback"),
    range(0, 0, 96, "IPv4-compatible"),  // RFC 4291 section 2.5.5.1: deprecated
    range(0, 0xffff_0000_0000_0000, 96, "IPv4-translated"),  // RFC 2765: ::ffff:0:a.b.c.d
    range(0x0064_ff9b_0001_0000, 0, 48, "local NAT64"),  // RFC 8215
    range(0x0100_0000_0000_0000, 0, 64, "discarded"),  // RFC 6666
    range(0x5f00_0000_0000_0000, 0, 16, "segment routing"),  // RFC 9602
    range(0xfc00_0000_0000_0000, 0, 7, "unique local"),  // RFC 4193
    range(0xfe80_0000_0000_0000, 0, 10, "link-local"),
    range(0xfec0_0000_0000_0000, 0, 10, "site-local"),  // RFC 3879
    range(0xff00_0000_0000_0000, 0, 8, "multicast"),
    range(0xfd00_0ec2_0000_0000, 0x0254, 128, metadata),  // AWS
    range(0xfd20_00ce_0000_0000, 0x0254, 128, metadata),  // Google
    range(0xfd00_c1c1_0000_0000, 0x0192, 128, metadata),  // Oracle
  ]

  private static let metadata = "metadata of a cloud"

  private static func range(
    _ first: UInt32, _ second: UInt32, _ third: UInt32, _ fourth: UInt32, _ prefix: UInt8,
    _ name: String
  ) -> GuardRange {
    GuardRange(.ipv4(first << 24 | second << 16 | third << 8 | fourth, prefix: prefix), name)
  }

  private static func range(
    _ high: UInt64, _ low: UInt64, _ prefix: UInt8, _ name: String
  ) -> GuardRange {
    GuardRange(.ipv6(high: high, low: low, prefix: prefix), name)
  }

  /// IPv6 networks in which an address leads to an IPv4 one that is written in it.
  package enum Embedding: CaseIterable, Sendable {
    /// RFC 6052: the well-known prefix, of which the last 32 bits are the address.
    case nat64
    /// RFC 3056: the 32 bits behind 2002.
    case sixToFour
    /// RFC 4380: the server's behind 2001:0, and the client's at the end with each bit turned over.
    case teredo

    package var network: Network {
      switch self {
      case .nat64: .ipv6(high: 0x0064_ff9b_0000_0000, low: 0, prefix: 96)
      case .sixToFour: .ipv6(high: 0x2002_0000_0000_0000, low: 0, prefix: 16)
      case .teredo: .ipv6(high: 0x2001_0000_0000_0000, low: 0, prefix: 32)
      }
    }

    package var name: String {
      switch self {
      case .nat64: "NAT64"
      case .sixToFour: "6to4"
      case .teredo: "Teredo"
      }
    }

    func words(in address: SocketAddress) -> [UInt32] {
      guard case .ipv6(let high, let low, _, _) = address else { return [] }
      switch self {
      case .nat64: return [UInt32(truncatingIfNeeded: low)]
      case .sixToFour: return [UInt32(truncatingIfNeeded: high >> 16)]
      case .teredo:
        return [UInt32(truncatingIfNeeded: high), ~UInt32(truncatingIfNeeded: low)]
      }
    }
  }
}
