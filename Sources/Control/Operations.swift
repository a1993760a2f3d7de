package import AdminAPI

/// What an operator may ask of the running server: all that the admin API, signals and the metrics
/// page do goes through here.
///
/// Calls block, some for up to a few seconds (a worker that does not answer), and may come from any
/// thread; they are never made on an event loop nor on a worker. They throw `Failure` only.
package protocol Operations: AnyObject, Sendable {
  func status() -> Status
  func listeners() -> [ListenerStatus]
  func backends() -> [BackendStatus]
  func sessions(_ query: SessionQuery) throws(Failure) -> SessionList
  /// What would become of a connection. Throws `notFound` and `invalid`.
  func explain(_ query: ExplainQuery) throws(Failure) -> Explanation
  func kill(_ request: KillRequest) throws(Failure) -> KillResult
  /// Two phases; a refused one is a result, not an error. Throws `busy` while another one runs.
  func reload(_ request: ReloadRequest) throws(Failure) -> ReloadResult
  func drain(_ target: Target) throws(Failure)
  func resume(_ target: Target) throws(Failure)
  func setWeight(_ request: WeightRequest) throws(Failure)
  func setLogLevel(_ request: LogLevelRequest) throws(Failure)
  /// The configuration in force as YAML, without secrets; with `defaults` every key is there.
  func configuration(defaults: Bool) -> String
  /// Prometheus text, version 0.0.4.
  func metrics() -> [UInt8]
  func bans() -> [Ban]
  func ban(_ request: BanRequest) throws(Failure) -> Ban
  func unban(_ network: String) throws(Failure)
  /// What happens from now on.
  var events: EventHub { get }
}
