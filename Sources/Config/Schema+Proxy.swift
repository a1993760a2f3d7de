import Routing
import Wire

/// The keys of what a listener takes of the PROXY protocol, when it is no plain `off`.
enum ProxyProtocolKey: String, SchemaKey {
  case sources, inherit
  case maxHeader = "max-header"
  case unknown

  var type: ValueType {
    switch self {
    case .sources:
      .list(
        of: .section("listeners.NAME.proxy-protocol.sources"),
        takes: "a list of networks and what their header is", atMost: Reader.sourcesMax)
    case .inherit: .truth
    case .maxHeader: .size
    case .unknown: .words(["accept", "reject"])
    }
  }

  var defaultText: String? {
    switch self {
    case .sources: nil
    case .inherit: "false"
    case .maxHeader: "4KiB"
    case .unknown: "accept"
    }
  }
}

/// The keys of one item of `sources`.
enum SourceKey: String, SchemaKey {
  case networks, header

  var type: ValueType {
    switch self {
    case .networks:
      .list(
        of: .text("a network"), takes: ValueType.networks.takes, atMost: Reader.networksMax)
    case .header: .words(HeaderRule.words)
    }
  }

  var isRequired: Bool { true }

  var defaultText: String? { nil }
}

/// The keys of an item of `proxy-tlvs` that is not a name alone.
enum TLVKey: String, SchemaKey {
  case netns, type, value

  var type: ValueType {
    switch self {
    case .netns: .text("the name of a network namespace")
    // Those for experiments are taken too, with a warning.
    case .type: .octet(0xe0...0xf7, takes: "a number from 0xE0 to 0xEF")
    case .value: .text("a text, in which ${listener} and others stand for what they name")
    }
  }

  var defaultText: String? { nil }
}

/// The keys of the size and shape of the headers that a backend gets.
enum ProxyHeaderKey: String, SchemaKey {
  case limit, align

  var type: ValueType {
    switch self {
    case .limit: .either([.number(ProxyV2.maximumLengthWithoutTLVs...Scalar.headerLimitMax), .size])
    // A larger block than the limit of most receivers helps none of them.
    case .align: .number(1...1024)
    }
  }

  var defaultText: String? {
    switch self {
    case .limit: "536"
    case .align: "1"
    }
  }
}
