enum AdminKey: String, SchemaKey {
  case socket, mode, group, operate, view

  var takes: String {
    switch self {
    case .socket: "an absolute path"
    case .mode: "permissions in octal digits, such as \"0660\""
    case .group: "the name of a group"
    case .operate, .view: "names of users, and of groups after an \"@\""
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

  var takes: String {
    switch self {
    case .bind: "an address such as \"127.0.0.1:9180\", or a list"
    case .page: "true or false"
    case .hosts: "host names"
    case .topClients: "off, or a number from 1 to 1000"
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
  case address, weight

  var takes: String {
    switch self {
    case .address: "an address such as \"192.0.2.10:25\" or \"unix:/run/x.sock\""
    case .weight: "a number from 0 to 256"
    }
  }

  var defaultText: String? {
    switch self {
    case .address: nil
    case .weight: "1"
    }
  }
}
