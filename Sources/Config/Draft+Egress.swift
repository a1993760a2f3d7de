import Routing
import Wire

/// What the file says of one egress, as `Draft` has the rest.
struct EgressDraft: Sendable {
  var name: Located<String>
  var users: Located<EgressUsers>?
  /// Whether there are `users`, readable or not.
  var hasUsers = false
  var settings = EgressSettings()
  /// Nil when there is no such key.
  var rules: [EgressRuleDraft]?
  var exceptions: [AddressGuard.Exception] = []
  var isGuardOff = false
  var parents: [Located<ParentProxy>] = []
  /// Whether there are `parents`, readable or not.
  var hasParents = false
  var parentsCA: Located<String>?
  /// Each with the place of the text that it stands in.
  var bypass: [Located<BypassEntry>] = []
  var bypassPosition: Position?
  var isBypassInherited = false
  var timesPosition: Position?
}

/// One item of its `rules`.
struct EgressRuleDraft: Sendable {
  var position: Position
  var name: Located<String>?
  var conditions = EgressConditions()
  /// Of conditions that need something else to be there.
  var userPosition: Position?
  var addressPosition: Position?
  var certificatePosition: Position?
  var action: EgressAction?
  /// Whether a part of it could not be read.
  var isLost = false
}
