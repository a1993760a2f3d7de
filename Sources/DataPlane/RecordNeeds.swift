extension RecordSink {
  package var needs: RecordNeeds { .records }
}

/// What of a record somebody will read: the rest is not found out.
package struct RecordNeeds: OptionSet, Sendable {
  package let rawValue: UInt8
  package init(rawValue: UInt8) { self.rawValue = rawValue }

  /// Records at all, with both addresses: two system calls for each connection.
  package static let records = RecordNeeds(rawValue: 1)
  /// What the kernel knows of both paths: two more.
  package static let paths = RecordNeeds(rawValue: 2)
}
