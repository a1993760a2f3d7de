internal import CLibc
package import Wire

/// A listening socket that a service manager opened and handed over. sd_listen_fds(3)
package struct InheritedSocket: Sendable, Equatable {
  /// Stays open; whoever takes it over closes it.
  package let descriptor: Int32
  package let address: SocketAddress
  /// Whether it is IPv6 and takes IPv4 clients as well (IPV6_V6ONLY is off).
  package let takesIPv4: Bool

  /// What the service manager calls it (FileDescriptorName=, LISTEN_FDNAMES); nil when nothing.
  package let name: String?

  package init(
    descriptor: Int32, address: SocketAddress, takesIPv4: Bool, name: String? = nil
  ) {
    self.descriptor = descriptor
    self.address = address
    self.takesIPv4 = takesIPv4
    self.name = name
  }

  /// Whether clients of `bind` come in here.
  package func serves(_ bind: SocketAddress) -> Bool {
    if bind == address { return true }
    guard takesIPv4, address.isWildcard, bind.isWildcard else { return false }
    return bind.port == address.port
  }
}

/// All that was handed over at the start.
package struct InheritedSockets: Sendable, Equatable {
  package var listening: [InheritedSocket] = []
  /// The descriptors among them that are no listening stream sockets, with their names. They are
  /// left alone.
  package var others: [Other] = []

  package struct Other: Sendable, Equatable {
    package let descriptor: Int32
    package let name: String?

    package init(descriptor: Int32, name: String? = nil) {
      self.descriptor = descriptor
      self.name = name
    }
  }

  /// The first descriptor that is handed over (SD_LISTEN_FDS_START).
  private static let first: Int32 = 3
  /// As many names as descriptors are taken, of 255 bytes each: FileDescriptorName= allows no more.
  private static let namesLimit = 1024 * 256

  package init(listening: [InheritedSocket] = [], others: [Other] = []) {
    self.listening = listening
    self.others = others
  }

  /// What this process inherited, close-on-exec and non-blocking from now on. To be called once,
  /// before other threads start: it changes the environment.
  package static func take() -> InheritedSockets {
    let text = EnvironmentVariable.take("LISTEN_FDNAMES", atMost: namesLimit) ?? ""
    let names = text.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
    var taken = InheritedSockets()
    for offset in 0..<Int(system_listen_descriptors()) {
      let name = names.indices.contains(offset) && !names[offset].isEmpty ? names[offset] : nil
      taken.add(first + Int32(offset), name)
    }
    return taken
  }

  private mutating func add(_ descriptor: Int32, _ name: String?) {
    var dual = false
    var raw = system_address()
    guard unsafe system_adopt_listener(descriptor, &dual) == 0,
      unsafe system_local_address(descriptor, &raw) == 0
    else { return others.append(Other(descriptor: descriptor, name: name)) }
    listening.append(
      InheritedSocket(
        descriptor: descriptor, address: Sockets.socketAddress(raw), takesIPv4: dual, name: name))
  }
}
