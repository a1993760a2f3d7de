/// The keys of what a listener takes of the PROXY protocol, when it is no plain `off`.
enum ProxyProtocolKey: String, SchemaKey {
  case sources, inherit
  case maxHeader = "max-header"
  case unknown

  var takes: String {
    switch self {
    case .sources: "a list of networks and what their header is"
    case .inherit: "true or false"
    case .maxHeader: "a size such as 4KiB"
    case .unknown: "accept or reject"
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

  var takes: String {
    switch self {
    case .networks: "networks such as 192.0.2.0/28, addresses, or unix"
    case .header: "require, accept or forbid"
    }
  }

  var defaultText: String? { nil }
}

/// The keys of an item of `proxy-tlvs` that is not a name alone.
enum TLVKey: String, SchemaKey {
  case netns, type, value

  var takes: String {
    switch self {
    case .netns: "the name of a network namespace"
    case .type: "a number from 0xE0 to 0xEF"
    case .value: "a text, in which ${listener} and others stand for what they name"
    }
  }

  var defaultText: String? { nil }
}

/// The keys of the size and shape of the headers that a backend gets.
enum ProxyHeaderKey: String, SchemaKey {
  case limit, align

  var takes: String {
    switch self {
    case .limit: "a number of bytes, or a size such as 1KiB"
    case .align: "a number from 1 to 1024"
    }
  }

  var defaultText: String? {
    switch self {
    case .limit: "536"
    case .align: "1"
    }
  }
}
