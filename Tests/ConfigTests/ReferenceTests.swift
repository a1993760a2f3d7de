import Routing
import TestSupport
import Testing

@testable import Config

/// docs/configuration.md says what the schema says, no more and no less.
@Suite struct ReferenceTests {
  static let document = "docs/configuration.md"

  @Test func everyKeyHasItsRow() throws {
    let tables = try ReferenceTests.tables()
    #expect(Set(tables.keys) == Set(Schema.sections.map(\.path)))
    for (path, keys) in Schema.sections {
      let rows = try #require(tables[path], "\(path)")
      #expect(rows.map { $0[0] } == keys.map { "`\(Schema.name(of: $0))`" }, "\(path)")
      for (row, key) in zip(rows, keys) {
        #expect(row[1] == key.takes, "\(path) \(row[0])")
        let meaning = Schema.meanings[path]?.first { $0.key == Schema.name(of: key) }?.value
        #expect(row[3] == meaning, "\(path) \(row[0])")
        // Below listeners and backends, a time-out's default is the one of the mapping above.
        guard !path.hasSuffix(".timeouts") else { continue }
        #expect(row[2] == (key.defaultText.map { "`\($0)`" } ?? ""), "\(path) \(row[0])")
      }
    }
  }

  /// What the schema says to be the default is what a file without the key means.
  @Test func defaultsAreTheReaders() throws {
    let head = "listeners: { a: { bind: \":25\", backend: b"
    let middle = " } }\nbackends: { b: { servers: [127.0.0.1:1]"
    let bare = try #require(parse(head + middle + " } }").snapshot)
    for (path, keys) in Schema.sections {
      for key in keys {
        guard let text = key.defaultText else { continue }
        let pair = "\(Schema.name(of: key)): \(text)"
        let written =
          switch path {
          case "backends.NAME.servers":
            "\(head) } }\nbackends: { b: { servers: [{ address: 127.0.0.1:1, \(pair) }] } }"
          case "": "\(pair)\n\(head)\(middle) } }"
          case "listeners.NAME" where ReferenceTests.ofHellos.contains(Schema.name(of: key)):
            "\(head), type: tls, \(pair)\(middle) } }"
          case "listeners.NAME": "\(head), \(pair)\(middle) } }"
          case "listeners.NAME.proxy-protocol":
            "\(head), proxy-protocol: { \(pair) }\(middle) } }"
          case "listeners.NAME.starttls":
            "\(head), type: starttls, protocol: smtp, starttls: { \(pair) }\(middle) } }"
          case "listeners.NAME.tls":
            "\(head), tls: { certificates: /c, \(pair) }\(middle) } }"
          case "backends.NAME.tls": "\(head)\(middle), tls: { \(pair) } } }"
          case "listeners.NAME.queue": "\(head), queue: { \(pair) }\(middle) } }"
          case "listeners.NAME.timeouts": "\(head), timeouts: { \(pair) }\(middle) } }"
          case "backends.NAME": "\(head)\(middle), \(pair) } }"
          case "backends.NAME.proxy-header":
            "\(head)\(middle), send-proxy: v2, proxy-header: { \(pair) } } }"
          case "backends.NAME.check":
            "\(head)\(middle), check: { type: http, \(pair) } } }"
          case "backends.NAME.eject": "\(head)\(middle), eject: { \(pair) } } }"
          case "backends.NAME.timeouts": "\(head)\(middle), timeouts: { \(pair) } } }"
          case "egress.NAME": ReferenceTests.withEgress(pair)
          case let path where path.hasPrefix("egress.NAME."):
            ReferenceTests.withEgress("\(path.dropFirst("egress.NAME.".utf8.count)): { \(pair) }")
          default: "\(path): { \(pair) }\n\(head)\(middle) } }"
          }
        var (snapshot, diagnostics) = parse(written)
        #expect(diagnostics.lines == [], "\(path) \(pair)")
        // Set for the backend alone, it must still be the time-outs in force.
        if path == "backends.NAME.timeouts", let made = snapshot {
          #expect(made.timeouts(of: made.listeners[0]) == bare.listeners[0].timeouts, "\(pair)")
          snapshot?.backends[0].timeouts = TimeoutOverrides()
        }
        // It is for this header only, which is no default.
        if path == "backends.NAME.proxy-header" { snapshot?.backends[0].sendProxy = .none }
        if ReferenceTests.ofHellos.contains(Schema.name(of: key)) {
          snapshot?.listeners[0].type = .tcp
        }
        if path == "listeners.NAME.starttls" {
          snapshot?.listeners[0].type = .tcp
          snapshot?.listeners[0].spoken = nil
        }
        // These are on as soon as they are there.
        var expected = bare
        if path.hasPrefix("egress.") {
          expected = try #require(parse(ReferenceTests.withEgress("")).snapshot)
        }
        if path == "admin" { expected.admin = AdminSettings() }
        if path == "backends.NAME.check" {
          let kind = CheckKind.http(path: "/", host: nil, statuses: [200...399])
          expected.backends[0].check = CheckSettings(kind: kind)
        }
        if path == "listeners.NAME.queue" {
          expected.listeners[0].queue = QueueRule(length: 1000, timeoutMs: 10_000)
        }
        if path == "listeners.NAME.tls" {
          expected.listeners[0].tls = ListenerTLS(certificates: ["/c"])
        }
        if path == "backends.NAME.tls" { expected.backends[0].tls = UpstreamTLS() }
        if path == "metrics" { expected.metrics = MetricsSettings() }
        #expect(snapshot == expected, "\(path) \(pair)")
      }
    }
  }

  private static func withEgress(_ pairs: String) -> String {
    """
    listeners: { a: { bind: "127.0.0.1:3128", type: http-proxy, egress: e } }
    egress: { e: { rules: [{ action: allow }], \(pairs) } }
    """
  }

  /// What only listeners that read a ClientHello may have.
  private static let ofHellos = ["no-sni", "not-tls"]

  @Test func examplesAreGood() throws {
    let examples = try ProjectFiles.examples(in: ReferenceTests.document)
    #expect(examples.count == 18)
    let surroundings = Surroundings(
      contents: { path, _ in
        path.hasPrefix("/etc/sluice/")
          ? .success(.file(Array("ann:\(EgressConfigTests.hash)\n".utf8)))
          : .success(.directory([]))
      },
      variable: { $0 == "POSTFIX" ? "127.0.0.1:10025" : nil })
    for example in examples {
      let (_, diagnostics) = Snapshot.parse(
        Array(example.utf8), file: "f.yaml", surroundings: surroundings)
      #expect(diagnostics.lines == [], "\(example)")
    }
    // The last one is there to show every key.
    let words = Set(examples.last?.split { " \n:{".contains($0) }.map(String.init) ?? [])
    for (_, keys) in Schema.sections.filter({ !$0.path.hasSuffix(".timeouts") }) {
      for key in keys { #expect(words.contains(Schema.name(of: key))) }
    }
  }

  /// The rows of each section's table, by the section's path; a row is its cells.
  private static func tables() throws -> [String: [[String]]] {
    var tables: [String: [[String]]] = [:]
    var path: String?
    for line in try ProjectFiles.lines(document) {
      if line.hasPrefix("## ") {
        let title = line.dropFirst(3)
        path = title == "Top level" ? "" : title.hasPrefix("`") ? title.filter { $0 != "`" } : nil
      } else if let path, line.hasPrefix("| `") {
        let cells = line.split(separator: "|", omittingEmptySubsequences: false).dropFirst()
        tables[path, default: []].append(
          cells.map { cell in
            String(cell.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
          })
      }
    }
    return tables
  }
}
