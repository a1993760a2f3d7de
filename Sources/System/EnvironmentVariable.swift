internal import CLibc

/// What whoever started this process told it in the environment.
enum EnvironmentVariable {
  /// The value of a variable that was meant for this process alone, and so is taken out of the
  /// environment, where children would find it. Nil when it is not set or longer than `limit`
  /// bytes. To be called before other threads start: getenv(3) and unsetenv(3) do not go together.
  static func take(_ name: String, atMost limit: Int = 4096) -> String? {
    var bytes = [UInt8](repeating: 0, count: limit)
    let length = unsafe system_environment_take(name, &bytes, limit)
    return length < 0 ? nil : String(decoding: bytes.prefix(Int(length)), as: UTF8.self)
  }
}
