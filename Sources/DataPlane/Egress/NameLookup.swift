package import Wire

/// Addresses of the names that clients of a forward proxy ask for, looked up off the workers.
package protocol NameLookup: AnyObject, Sendable {
  /// Never blocks.
  ///
  /// - Parameter wake: called once from another thread, if the finding is `pending`: then it is to
  ///   be asked again.
  func addresses(of name: HostName, wake: @escaping @Sendable () -> Void) -> NameFinding
}

/// What is known of a name.
package enum NameFinding: Hashable, Sendable {
  /// With port 0, never empty: those this machine has a way to, families alternating, IPv6 first.
  case found([SocketAddress])
  /// There is no such name, or it has no address.
  case missing
  /// Nobody could tell; why, in words.
  case failed(String)
  /// It is being asked for.
  case pending
  /// Too many are being asked for.
  case busy
}
