/// Any bytes as a name server's reply to each kind of question.
func fuzzDNSReply(_ bytes: Span<UInt8>) {
  for kind in DNSReply.Kind.allCases {
    do throws(DNSReply.Fault) {
      let reply = try DNSReply(bytes, to: kind)
      demand(reply.values.isEmpty == (reply.ttl == nil), "a time to live of nothing")
      demand(Set(reply.values).count == reply.values.count, "the same value twice")
      demand(reply.code < 16, "a code of more than four bits")
      if let ttl = reply.ttl { demand(ttl >> 31 == 0, "a time to live that is to count as zero") }
      for value in reply.values { demand(isOf(kind, value), "a value of another kind") }
    } catch {
      continue
    }
  }
}

private func isOf(_ kind: DNSReply.Kind, _ value: DNSReply.Value) -> Bool {
  switch (kind, value) {
  case (.ipv4, .ipv4), (.ipv6, .ipv6), (.service, .service): true
  case (.ipv4, _), (.ipv6, _), (.service, _): false
  }
}
