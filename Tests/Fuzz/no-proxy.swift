/// A line as the host of a request, and what follows as NO_PROXY.
func fuzzNoProxy(_ bytes: Span<UInt8>) {
  var end = 0
  while end < bytes.count, bytes[end] != 0x0a { end += 1 }
  let port = UInt16(truncatingIfNeeded: bytes.count) | 1
  let host = text(bytes.extracting(0..<end))
  let list = BypassList(text(bytes.extracting(min(end + 1, bytes.count)..<bytes.count)))
  let match = list.match(host: host, port: port)
  if case .entry(let place)? = match {
    demand(list.entries.indices.contains(place), "an entry that there is not")
    demand(BypassList([list.entries[place]]).match(host: host, port: port) != nil, "not alone")
  }
  let turned = BypassList(list.entries.reversed())
  demand((turned.match(host: host, port: port) == nil) == (match == nil), "order matters")
  let isAlways = BypassList().match(host: host, port: port) != nil
  for entry in list.entries {
    demand(BypassEntry(entry.text) == entry, "another entry from its own text")
    let alone = BypassList([entry]).match(host: host, port: port) != nil
    demand(!alone || match != nil, "an entry takes a match away")
  }
  // What may be the host of a request is never matched by an entry that is told to match none.
  guard let asked = try? EgressHost(host.contains(":") ? "[\(host)]" : host) else { return }
  let target = EgressTarget(host: asked, port: port, scheme: .connect)
  demand(BypassList([star]).match(target) != nil, "a star misses it")
  for entry in list.entries where entry.fault != nil && !isAlways {
    demand(BypassList([entry]).match(target) == nil, "\(entry.text) matches")
  }
}

private let star = BypassEntry("*")!

private func text(_ bytes: Span<UInt8>) -> String {
  var copy: [UInt8] = []
  for index in bytes.indices { copy.append(bytes[index]) }
  return String(decoding: copy, as: UTF8.self)
}
