/// The keys of a backend's `check`.
enum CheckKey: String, SchemaKey {
  case type, interval, timeout, jitter, rise, fall
  case onDown = "on-down"
  case path, host, status, send, expect, proxy

  var type: ValueType {
    switch self {
    case .type: .words(CheckType.words)
    case .interval, .timeout: .duration(mayBeOff: false, mayBeZero: false)
    case .jitter: .text("a percentage from 0% to 50%", pattern: "^([0-9]|[1-4][0-9]|50)%$")
    case .rise, .fall: .number(1...100)
    case .onDown: .either([.words(["keep", "close"]), .duration(mayBeOff: false, mayBeZero: false)])
    case .path: .text("the path of a request such as /health", pattern: "^/")
    case .host: .text("the name of a host")
    case .status:
      .list(
        of: .either([
          .number(100...599), .text("a range", pattern: "^[1-5][0-9]{2}(-[1-5][0-9]{2})?$"),
        ]), takes: "statuses such as 204, or ranges such as 200-399", atMost: Reader.statusesMax)
    case .send, .expect:
      .text("a text, in which \\r, \\n, \\t, \\\\ and \\x1f stand for bytes")
    case .proxy: .truth
    }
  }

  var defaultText: String? {
    switch self {
    case .type, .host, .send, .expect: nil
    case .interval: "5s"
    case .timeout: "3s"
    case .jitter: "10%"
    case .rise: "2"
    case .fall: "3"
    case .onDown: "keep"
    case .path: "/"
    case .status: "200-399"
    case .proxy: "true"
    }
  }
}

/// The keys of a backend's `eject`, when it is not off.
enum EjectKey: String, SchemaKey {
  case failures, time
  case maxTime = "max-time"

  var type: ValueType {
    switch self {
    case .failures: .number(1...1000)
    case .time, .maxTime: .duration(mayBeOff: false, mayBeZero: false)
    }
  }

  var defaultText: String? {
    switch self {
    case .failures: "3"
    case .time: "5s"
    case .maxTime: "5m"
    }
  }
}
