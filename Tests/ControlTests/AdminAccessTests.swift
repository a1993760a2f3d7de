import Config
import Glibc
import System
import TestSupport
import Testing

@testable import Control

private let directory = AdminAccess.Directory(
  overflowUser: 65_534, overflowGroup: 65_534,
  user: { name in
    switch name {
    case "root": Accounts.User(name: name, number: 0, groups: [0])
    case "alice": Accounts.User(name: name, number: 1000, groups: [1000, 4])
    case "bob": Accounts.User(name: name, number: 1001, groups: [1001])
    case "nobody": Accounts.User(name: name, number: 65_534, groups: [65_534])
    default: nil
    }
  },
  group: { ["root": 0, "adm": 4, "staff": 50, "nogroup": 65_534][$0] })

private func settings(
  mode: UInt32 = 0o660, group: String? = nil, operate: [String] = [], view: [String] = []
) -> AdminSettings {
  AdminSettings(
    socket: "/run/sluice/admin.sock", mode: mode, group: group,
    operate: operate.compactMap { AdminSettings.Account($0) },
    view: view.compactMap { AdminSettings.Account($0) })
}

private func caller(_ user: UInt32, _ groups: UInt32...) -> LocalSockets.Caller {
  LocalSockets.Caller(process: 1, user: user, groups: Set(groups))
}

@Suite struct AdminAccessTests {
  private func access(operate: [String], view: [String]) throws -> AdminAccess {
    try AdminAccess(settings(operate: operate, view: view), ownUser: 900, directory)
  }

  @Test func usersAndGroupsHaveTheirRoles() throws {
    let access = try access(operate: ["alice"], view: ["@adm", "1001"])
    #expect(access.role(of: caller(1000, 1000)) == .operate)
    #expect(access.role(of: caller(1001, 1001)) == .view)
    #expect(access.role(of: caller(1002, 1002, 4)) == .view)
    #expect(access.role(of: caller(1002, 1002)) == nil)
  }

  @Test func theHigherRoleWinsWhereverItComesFrom() throws {
    let access = try access(operate: ["@adm"], view: ["alice", "@staff"])
    #expect(access.role(of: caller(1000, 1000)) == .view)
    #expect(access.role(of: caller(1000, 4)) == .operate)
    #expect(access.role(of: caller(1002, 4, 50)) == .operate)
    #expect(access.role(of: caller(1002, 50)) == .view)
  }

  @Test func aUserInBothListsOperates() throws {
    #expect(
      try access(operate: ["alice"], view: ["alice"]).role(of: caller(1000)) == .operate)
  }

  @Test func rootAndTheServersOwnUserAlwaysOperate() throws {
    let access = try access(operate: [], view: ["root"])
    #expect(access.role(of: caller(0, 0)) == .operate)
    #expect(access.role(of: caller(900, 900)) == .operate)
  }

  // user_namespaces(7): what has no mapping shows as the overflow user, whoever it is.
  @Test func theOverflowUserIsAStrangerWhateverItsGroups() throws {
    let access = try access(operate: ["@adm"], view: ["@staff"])
    #expect(access.role(of: caller(65_534, 4, 50)) == nil)
    #expect(access.role(of: caller(1002, 65_534)) == nil)
  }

  @Test func theOverflowAccountsCannotBeListed() {
    for name in ["nobody", "@nogroup", "65534"] {
      #expect(throws: AdminFault.self, "\(name)") { try access(operate: [], view: [name]) }
    }
  }

  @Test func everyUnknownAccountIsNamed() {
    let fault = #expect(throws: AdminFault.self) {
      try access(operate: ["carol"], view: ["@mail", "alice"])
    }
    #expect(
      fault?.sentences == [
        "admin.view: there is no group mail", "admin.operate: there is no user carol",
      ])
  }
}

@Suite struct AdminReachTests {
  private func problems(
    _ settings: AdminSettings, socket: (user: UInt32, group: UInt32),
    directories: [(String, Files.Access)] = []
  ) -> [String] {
    let last = Files.Access(
      user: socket.user, group: socket.group, mode: settings.mode, isSocket: true)
    let places = directories.map { AdminReach.Place($0.0, $0.1) }
    return AdminReach.problems(
      settings, ownUser: 900, places: places + [AdminReach.Place(settings.socket, last)],
      directory)
  }

  @Test func whoIsInTheSocketsGroupConnects() {
    let settings = settings(group: "adm", operate: ["root", "alice"], view: ["@adm"])
    #expect(problems(settings, socket: (900, 4)) == [])
  }

  @Test func whoIsNotCannot() {
    let settings = settings(group: "adm", operate: ["bob"], view: ["@staff"])
    let found = problems(settings, socket: (900, 4))
    #expect(found.count == 2)
    #expect(found.first?.hasPrefix("admin.operate: bob cannot connect: the socket would") == true)
    #expect(found.last?.hasPrefix("admin.view: @staff cannot connect") == true)
  }

  @Test func everybodyConnectsWhenTheModeSaysSo() {
    #expect(problems(settings(mode: 0o666, view: ["bob", "@staff"]), socket: (900, 4)) == [])
  }

  @Test func rootNeedsNoPermission() {
    #expect(problems(settings(mode: 0o600, operate: ["root"]), socket: (900, 900)) == [])
  }

  // path_resolution(7): the first class that fits decides, even if a later one has more rights.
  @Test func aGroupWithLessThanOthersHasLess() {
    let settings = settings(mode: 0o606, view: ["alice", "bob"])
    #expect(problems(settings, socket: (900, 4)).count == 1)
    #expect(problems(settings, socket: (900, 4))[0].contains("alice"))
  }

  @Test func theDirectoriesAboveCountToo() {
    let closed = Files.Access(user: 900, group: 4, mode: 0o750, isDirectory: true)
    let found = problems(
      settings(mode: 0o666, view: ["alice", "bob", "@staff"]), socket: (900, 4),
      directories: [("/run/sluice", closed)])
    #expect(found.count == 2)
    #expect(found.allSatisfy { $0.contains("the directory /run/sluice has mode 0750") })
  }

  @Test func unknownAccountsAreProblemsOfTheirOwn() {
    #expect(
      problems(settings(mode: 0o666, view: ["carol"]), socket: (900, 4))
        == ["admin.view: there is no user carol"])
  }

  @Test func thisMachinesPlacesEndWithTheSocket() throws {
    let here = try TemporaryDirectory()
    var settings = settings(mode: 0o640, group: "adm")
    settings.socket = here.file("admin.sock")
    let places = AdminReach.places(settings, directory)
    #expect(places.last?.path == settings.socket)
    #expect(places.last?.access.mode == 0o640)
    #expect(places.last?.access.group == 4)
    #expect(places.dropLast().allSatisfy { $0.access.isDirectory })
    #expect(places.dropLast().last?.path == here.path)
  }

  /// Before the first start of a service whose manager makes the directory, root cannot know.
  @Test func aDirectoryThatIsNotThereIsNotJudged() throws {
    let here = try TemporaryDirectory()
    var settings = settings(mode: 0o600, group: "adm", view: ["alice"])
    settings.socket = here.file("later/admin.sock")
    let last = AdminReach.places(settings, directory).last?.path
    #expect(last == (geteuid() == 0 ? here.path : settings.socket))
  }
}

@Suite struct AdminCrowdTests {
  @Test func oneUserCannotTakeAll() {
    var crowd = AdminCrowd(.init())
    let entered = (0..<100).count { _ in crowd.enter(user: 1000, role: .operate) }
    #expect(entered == 64)
    let another = crowd.enter(user: 1001, role: .operate)
    #expect(another)
  }

  @Test func lookersLeaveRoomForOperators() {
    var crowd = AdminCrowd(.init())
    for user in 0..<100 as Range<UInt32> {
      for _ in 0..<10 { _ = crowd.enter(user: 1000 + user, role: .view) }
    }
    #expect(crowd.count == 192)
    let root = crowd.enter(user: 0, role: .operate)
    #expect(root)
  }

  @Test func strangersLeaveRoomForLookers() {
    var crowd = AdminCrowd(.init())
    for user in 0..<100 as Range<UInt32> {
      for _ in 0..<10 { _ = crowd.enter(user: 1000 + user, role: nil) }
    }
    #expect(crowd.count == 16)
    let looker = crowd.enter(user: 1, role: .view)
    #expect(looker)
  }

  @Test func whoLeavesMakesRoom() {
    var crowd = AdminCrowd(.small)
    for _ in 0..<100 { _ = crowd.enter(user: 5, role: nil) }
    #expect(crowd.count == 2)
    crowd.leave(user: 5, role: nil)
    #expect(crowd.count == 1)
    let entered = (0..<10).count { _ in crowd.enter(user: 5, role: nil) }
    #expect(entered == 1)
  }
}
