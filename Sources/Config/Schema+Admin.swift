enum AdminKey: String, SchemaKey {
  case socket, mode, group, operate, view

  var type: ValueType {
    switch self {
    case .socket: .path
    case .mode: .text("permissions in octal digits, such as \"0660\"")
    case .group: .text("the name of a group")
    case .operate, .view:
      .list(
        of: .text("a name"), takes: "names of users, and of groups after an \"@\"",
        atMost: Reader.rolesMax, mayBeEmpty: true)
    }
  }

  var defaultText: String? {
    switch self {
    case .socket: AdminSettings.socketDefault
    case .mode: "\"0660\""
    case .group: nil
    case .operate: "[root]"
    case .view: "[]"
    }
  }
}

enum MetricsKey: String, SchemaKey {
  case bind, page, hosts
  case topClients = "top-clients"

  var type: ValueType {
    switch self {
    case .bind:
      .list(
        of: .text("an address", pattern: ":"),
        takes: "an address such as \"127.0.0.1:9180\", or a list", atMost: Reader.metricsBindsMax)
    case .page: .truth
    case .hosts:
      .list(
        of: .text("a host name"), takes: "host names", atMost: Reader.hostsMax, mayBeEmpty: true)
    case .topClients: .either([.words(["off"]), .number(1...1000)])
    }
  }

  var defaultText: String? {
    switch self {
    case .bind: "127.0.0.1:9180"
    case .page: "true"
    case .hosts: "[]"
    case .topClients: "\(MetricsSettings.topClientsDefault)"
    }
  }
}

/// The keys of one item of `servers` that is more than an address.
enum ServerKey: String, SchemaKey {
  case address, weight, backup
  case maxConnections = "max-connections"

  var type: ValueType {
    switch self {
    case .address:
      .text(
        "an address such as \"192.0.2.10:25\", or a name such as \"mail.example:25\"",
        pattern: ":")
    case .weight: .number(0...Server.weightMax)
    case .backup: .truth
    case .maxConnections: .limit
    }
  }

  var isRequired: Bool { self == .address }

  var defaultText: String? {
    switch self {
    case .address: nil
    case .weight: "1"
    case .backup: "false"
    case .maxConnections: "off"
    }
  }
}
