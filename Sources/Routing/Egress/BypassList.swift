internal import Wire

/// Which requests go past the parent proxies: NO_PROXY with the rules of Go's httpproxy, in the
/// semantics it has since CVE-2025-22870 (zones are dropped before addresses are compared, and
/// entries that are names never match hosts that are addresses).
///
/// Names are never resolved. The order of entries does not matter. What clients of libcurl expect
/// differs: there a blank parts entries too, and `.example.com` is the domain itself as well.
package struct BypassList: Hashable, Sendable {
  package let entries: [BypassEntry]

  package init(_ entries: [BypassEntry] = []) { self.entries = entries }

  /// The value of the variable: entries with commas between them.
  package init(_ text: String) {
    entries = text.split(separator: ",").compactMap { BypassEntry($0) }
  }

  /// Why a request goes past the parents.
  package enum Match: Hashable, Sendable {
    /// The host `localhost`, which always does.
    case localhost
    /// An address of the loopback network, as above.
    case loopback
    /// The first entry that matches; an index into `entries`.
    case entry(Int)
  }

  /// Nil for a request that goes to a parent.
  ///
  /// - Parameters:
  ///   - host: of the URL or the authority, an IPv6 address without its brackets. It is compared
  ///     without regard to case, and with the dot at its end if there is one.
  ///   - port: of the request, or the default of its scheme.
  package func match(host: String, port: UInt16) -> Match? {
    if host == "localhost" { return .localhost }
    let address = BypassList.literal(host)
    if let address, address.isLoopback { return .loopback }
    let name = Array(host.lowercased().utf8)
    let found = entries.firstIndex { entry in
      switch entry.form {
      case .everything: return true
      case .network(let network): return address.map { network.contains($0) } ?? false
      case .address(let wanted, let wantedPort):
        return address == wanted && wantedPort.takes(port)
      case .name(let suffix, let takesApex, let wantedPort):
        guard address == nil, wantedPort.takes(port) else { return false }
        return BypassList.ends(name, in: suffix) || takesApex && name[...] == suffix.dropFirst()
      case .nothing: return false
      }
    }
    return found.map { .entry($0) }
  }

  package func match(_ target: EgressTarget) -> Match? {
    switch target.host {
    case .name(let name): match(host: name.text, port: target.port)
    case .address(let address): match(host: address.hostDescription, port: target.port)
    }
  }

  /// The address that a host is, without its zone; nil for a name.
  private static func literal(_ host: String) -> SocketAddress? {
    var bytes = Array(host.utf8)
    guard !bytes.contains(UInt8(ascii: "[")) else { return nil }
    if let percent = bytes.firstIndex(of: UInt8(ascii: "%")) {
      // Only IPv6 addresses have zones, and none is empty.
      guard percent + 1 < bytes.count, bytes[..<percent].contains(UInt8(ascii: ":")) else {
        return nil
      }
      bytes.removeSubrange(percent...)
    }
    return SocketAddress(host: String(decoding: bytes, as: UTF8.self), port: 0)?.unmapped()
  }

  private static func ends(_ name: [UInt8], in suffix: [UInt8]) -> Bool {
    name.count >= suffix.count && name.suffix(suffix.count) == suffix[...]
  }
}
