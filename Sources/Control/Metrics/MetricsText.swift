internal import Wire

/// Writes the text format of Prometheus, version 0.0.4: per family two comments, then its samples.
/// https://prometheus.io/docs/instrumenting/exposition_formats/
struct MetricsText {
  private(set) var bytes: [UInt8] = []

  /// Written even when there is no sample, so that whoever looks finds every family.
  mutating func begin(_ family: MetricFamily) {
    bytes.append(text: "# HELP \(family.name) ")
    append(escaped: family.help, quotes: false)
    bytes.append(text: "\n# TYPE \(family.name) \(family.kind.rawValue)\n")
  }

  /// - Parameter values: of the family's labels, in their order.
  mutating func sample(_ family: MetricFamily, _ values: [String], _ value: UInt64) {
    name(family, "", values)
    bytes.append(decimal: value)
    bytes.append(UInt8(ascii: "\n"))
  }

  mutating func sample(_ family: MetricFamily, _ values: [String], seconds us: UInt64) {
    name(family, "", values)
    append(seconds: us)
    bytes.append(UInt8(ascii: "\n"))
  }

  mutating func histogram(_ family: MetricFamily, _ values: [String], _ histogram: Histogram) {
    var sum: UInt64 = 0
    for (bound, bucket) in zip(histogram.boundsUs, histogram.buckets) {
      sum += bucket
      var text: [UInt8] = []
      text.append(seconds: bound)
      name(family, "_bucket", values, le: String(decoding: text, as: UTF8.self))
      bytes.append(decimal: sum)
      bytes.append(UInt8(ascii: "\n"))
    }
    name(family, "_bucket", values, le: "+Inf")
    bytes.append(decimal: histogram.count)
    bytes.append(UInt8(ascii: "\n"))
    summary(family, values, sumUs: histogram.sumUs, count: histogram.count)
  }

  mutating func summary(
    _ family: MetricFamily, _ values: [String], sumUs: UInt64, count: UInt64
  ) {
    name(family, "_sum", values)
    append(seconds: sumUs)
    bytes.append(UInt8(ascii: "\n"))
    name(family, "_count", values)
    bytes.append(decimal: count)
    bytes.append(UInt8(ascii: "\n"))
  }

  private mutating func name(
    _ family: MetricFamily, _ suffix: String, _ values: [String], le: String? = nil
  ) {
    precondition(values.count == family.labels.count)
    bytes.append(text: family.name)
    bytes.append(text: suffix)
    var separator = "{"
    for (label, value) in zip(family.labels, values) {
      bytes.append(text: "\(separator)\(label)=\"")
      append(escaped: value, quotes: true)
      bytes.append(UInt8(ascii: "\""))
      separator = ","
    }
    if let le {
      bytes.append(text: "\(separator)le=\"\(le)\"")
      separator = ","
    }
    bytes.append(text: separator == "{" ? " " : "} ")
  }

  /// "label_value can be any sequence of UTF-8 characters, but the backslash (\), double-quote
  /// ("), and line feed (\n) characters have to be escaped"; help texts likewise without quotes.
  private mutating func append(escaped text: String, quotes: Bool) {
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: "\\"): bytes.append(text: "\\\\")
      case UInt8(ascii: "\n"): bytes.append(text: "\\n")
      case UInt8(ascii: "\"") where quotes: bytes.append(text: "\\\"")
      default: bytes.append(byte)
      }
    }
  }

  private mutating func append(seconds us: UInt64) { bytes.append(seconds: us) }
}

extension [UInt8] {
  /// Microseconds as seconds: 2500 is `0.0025`, 1000000 is `1`.
  mutating func append(seconds us: UInt64) {
    append(decimal: us / 1_000_000)
    var (rest, unit) = (us % 1_000_000, 100_000 as UInt64)
    guard rest > 0 else { return }
    append(UInt8(ascii: "."))
    while rest > 0 {
      append(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest / unit))
      rest %= unit
      unit /= 10
    }
  }
}
