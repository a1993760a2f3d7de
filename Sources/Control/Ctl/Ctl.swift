internal import AdminAPI
internal import Config
internal import FoundationEssentials
internal import System
internal import Wire

/// `sluice ctl`: asks the running server over its admin socket, and prints what it answers, for
/// people or (`json`) as it came.
package struct Ctl {
  /// How `sluice ctl` ends; 64 is a call that makes no sense, as for every other command.
  package enum Exit: Int32, Sendable {
    case done = 0
    /// The server said no, or what was asked for did not work out.
    case failed = 1
    /// Nobody answers.
    case unreachable = 3
    /// This user may not.
    case forbidden = 4
  }

  package static let socketVariable = "SLUICE_ADMIN"
  package static var defaultSocket: String { AdminSettings.socketDefault }

  let client: AdminClient
  let json: Bool

  /// - Parameter socket: the admin socket's path; nil looks at SLUICE_ADMIN and then takes
  ///   `defaultSocket`.
  package init(socket: String?, json: Bool) {
    let named = socket ?? Environment.variable(Ctl.socketVariable)
    client = AdminClient(path: named.flatMap { $0.isEmpty ? nil : $0 } ?? Ctl.defaultSocket)
    self.json = json
  }

  /// Asks, and prints the answer as it came or with `show`, which says how it went.
  func ask<Answer: Decodable>(
    _ method: String, _ target: String, body: (any Encodable)? = nil,
    waitingAtMostMs: UInt64 = AdminClient.answerMs, _ type: Answer.Type,
    _ show: (Answer) -> Exit
  ) -> Int32 {
    do throws(AdminClient.Fault) {
      let bytes = try client.call(
        method, target, body: body.map { AdminJSON.encode($0) } ?? [],
        waitingAtMostMs: waitingAtMostMs)
      let answer = try decode(type, bytes)
      guard json else { return show(answer).rawValue }
      StandardStream.output.write(AdminJSON.escapingControls(bytes))
      return judge(answer).rawValue
    } catch {
      return complain(error).rawValue
    }
  }

  func decode<Answer: Decodable>(
    _ type: Answer.Type, _ bytes: [UInt8]
  ) throws(AdminClient.Fault) -> Answer {
    do {
      return try JSONDecoder().decode(type, from: Data(bytes))
    } catch {
      throw .broken("the answer is not understood; is the server of another version?")
    }
  }

  /// The exit code of an answer that is printed as it came: the same as for people.
  private func judge(_ answer: some Decodable) -> Exit {
    guard let result = answer as? ReloadResult else { return .done }
    return result.outcome == .refused ? .failed : .done
  }

  func complain(_ fault: AdminClient.Fault) -> Exit {
    switch fault {
    case .unreachable(let text):
      Ctl.say(text)
      return .unreachable
    case .denied(let text):
      Ctl.say(text)
      return .forbidden
    case .broken(let text):
      Ctl.say(text)
      return .failed
    case .failure(let failure):
      if json { StandardStream.output.write(AdminJSON.encode(failure) + [UInt8(ascii: "\n")]) }
      Ctl.say(failure.message)
      return failure.code == .forbidden ? .forbidden : .failed
    }
  }

  static func say(_ text: String) {
    StandardStream.error.write("sluice: \(Visible.text(text))\n")
  }

  static func print(_ text: String) { StandardStream.output.write(text) }

  /// A value in a query, RFC 3986 section 2.3.
  static func encoded(_ text: String) -> String {
    var encoded = ""
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."),
        UInt8(ascii: "_"), UInt8(ascii: "~"):
        encoded.unicodeScalars.append(Unicode.Scalar(byte))
      default: encoded += "%" + hexadecimalText([byte]).uppercased()
      }
    }
    return encoded
  }
}
