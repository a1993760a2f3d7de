import TestSupport
import Testing

// What is known of a server shows wherever an operator looks: in `ctl backends`, in the metrics and
// on the page, with the reason, for as long as it holds.

@Test("states of servers are shown")
func statesOfServersAreShown() throws {
  let bad = try Greeter(.greets("421 4.3.2 not now\r\n"))
  let good = try Greeter(.greets("220 good\r\n"))
  let front = Endpoint.loopback(ReservedPort.take())
  let page = ReservedPort.take()
  let yaml = """
    metrics: { bind: "127.0.0.1:\(page)" }
    listeners: { front: { bind: "\(front)", type: server-first, backend: back } }
    backends:
      back:
        servers: ["\(bad.endpoint)", "\(good.endpoint)"]
        check: { type: smtp, interval: 100ms, timeout: 15s, rise: 1, fall: 1 }
    """
  try withReloadedSluice(Engine(events: "auto", splice: "auto"), yaml, at: front) { sluice in
    func shown() throws -> [[String?]] {
      let asked = try #require(try sluice.done("backends").all.first)
      let data = try JSONValue(httpGet(page, "/page/data.json").body)
      let onPage = try #require(data["backends"]?.items.first)
      let metrics = try httpGet(page, "/metrics").body
      return [bad, good].map { server in
        let name = "\(server.endpoint)"
        let line = "sluice_server_up{backend=\"back\",server=\"\(name)\"} "
        let sample = metrics.split(separator: "\n").first { $0.hasPrefix(line) }
        let states = [asked, onPage].map { backend in
          backend["servers"]?.items.first { $0["name"]?.string == name }
        }
        return states.flatMap { [$0?["state"]?.string, $0?["reason"]?.string] }
          + [sample.map { String($0.dropFirst(line.count)) }]
      }
    }
    let why = "220 expected, got \"421 4.3.2 not now\""
    let up: [String?] = ["up", nil, "up", nil, "1"]
    try wait(for: "the bad one to be down") {
      try shown() == [["down", why, "down", why, "0"], up]
    }
    try bad.stop()
    let better = try Greeter(.greets("220 better\r\n"), at: bad.endpoint)
    try wait(for: "both to be up") { try shown() == [up, up] }
    try better.stop()
    try wait(for: "the other reason") {
      try shown().first?.prefix(2) == ["down", "connection refused"]
    }
  }
  try good.stop()
}
