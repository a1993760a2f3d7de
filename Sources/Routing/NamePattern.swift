package import Wire

/// A host name, or many at once, as rules name them.
package struct NamePattern: Hashable, Sendable, CustomStringConvertible {
  package enum Kind: UInt8, Hashable, Sendable, CaseIterable {
    /// `mail.example.com`: that name.
    case exact
    /// `*.example.com`: names with one label in place of the star, as in certificates (RFC 9525
    /// section 6.3).
    case oneLabel
    /// `.example.com`: names beneath it, however deep; not the name itself.
    case beneath
  }

  package let kind: Kind
  /// Without the star and the dot in front.
  package let domain: HostName

  package init(_ kind: Kind, _ domain: HostName) {
    self.kind = kind
    self.domain = domain
  }

  /// Takes upper case and a dot at the end, as host names do; nil if it is none of the three.
  package init?(_ text: String) {
    let kind: Kind = text.hasPrefix("*.") ? .oneLabel : text.hasPrefix(".") ? .beneath : .exact
    let leader = kind == .oneLabel ? 2 : kind == .beneath ? 1 : 0
    guard let domain = HostName(String(text.dropFirst(leader))) else { return nil }
    // A name has 253 bytes at most, so longer ones would match nothing.
    guard kind == .exact || domain.text.utf8.count + 2 <= HostName.byteLimit else { return nil }
    self.init(kind, domain)
  }

  package var description: String {
    switch kind {
    case .exact: domain.text
    case .oneLabel: "*.\(domain.text)"
    case .beneath: ".\(domain.text)"
    }
  }

  package func matches(_ name: HostName) -> Bool {
    switch kind {
    case .exact: return name == domain
    case .oneLabel: return name.parent == domain
    case .beneath:
      var next = name.parent
      while let above = next {
        if above == domain { return true }
        next = above.parent
      }
      return false
    }
  }

  /// Whether every name that `other` matches is matched by this, too.
  package func covers(_ other: NamePattern) -> Bool {
    switch (kind, other.kind) {
    case (_, .exact): matches(other.domain)
    case (.oneLabel, .oneLabel), (.beneath, .oneLabel), (.beneath, .beneath):
      domain == other.domain || kind == .beneath && matches(other.domain)
    case (.exact, .oneLabel), (.exact, .beneath), (.oneLabel, .beneath): false
    }
  }
}

extension HostName {
  /// The name without its first label; nil for one of a single label.
  package var parent: HostName? {
    guard let dot = text.utf8.firstIndex(of: UInt8(ascii: ".")) else { return nil }
    return HostName(String(text[text.utf8.index(after: dot)...]))
  }
}
