import TestSupport
import Testing

// What the package installs beside the program, as its readers read it: systemd's own checks, sh,
// man. `tools/gates package` runs it all under a systemd that is process 1.

@Suite struct UnitTests {
  /// The unit in a directory of its own, with a program that is there.
  private func unit(_ dropIn: String? = nil) throws -> (TemporaryDirectory, String) {
    let directory = try TemporaryDirectory()
    let text = contents(of: "\(packaging)/sluice.service")
    try writeFile(
      directory.file("sluice.service"),
      text.replacing("/usr/bin/sluice", with: SluiceBinary.path))
    return (directory, directory.file("sluice.service"))
  }

  @Test func systemdUnderstandsTheUnit() throws {
    let (directory, unit) = try unit()
    let said = try succeed("systemd-analyze", ["verify", "--man=no", unit])
    #expect(said == "", "\(directory.path)")
  }

  // systemd-analyze(1): 0 is safest, 10 exposed; the threshold is in tenths.
  @Test func theUnitIsHardened() throws {
    let (directory, unit) = try unit()
    try succeed(
      "systemd-analyze", ["security", "--no-pager", "--offline=true", "--threshold=16", unit])
    _ = directory
  }

  @Test func theUnitGrantsOneCapabilityAndIoUring() throws {
    let lines = contents(of: "\(packaging)/sluice.service").split(separator: "\n")
    for key in ["AmbientCapabilities", "CapabilityBoundingSet"] {
      #expect(lines.filter { $0.hasPrefix("\(key)=") } == ["\(key)=CAP_NET_BIND_SERVICE"])
    }
    let services = try succeed("systemd-analyze", ["syscall-filter", "@system-service"])
    #expect(services.contains("@aio"))
    let aio = try succeed("systemd-analyze", ["syscall-filter", "@aio"])
    for call in ["setup", "enter", "register"] { #expect(aio.contains("io_uring_\(call)")) }
  }

  @Test func everySettingHasAReasonOrIsWhatServicesHave() {
    // A setting follows a comment, or another setting of the same paragraph.
    let service = contents(of: "\(packaging)/sluice.service").split(at: "NoNewPrivileges").1
    for paragraph in service.split(at: "[Install]").0.split(separator: "\n\n").dropFirst() {
      #expect(paragraph.hasPrefix("#"), "no reason before: \(paragraph)")
    }
  }

  @Test func usersAndDirectoriesAreUnderstood() throws {
    let users = try succeed("systemd-sysusers", ["--dry-run", "\(packaging)/sluice.sysusers"])
    #expect(users.contains("sluice"))
    for script in ["postinst", "prerm", "postrm"] {
      try succeed("sh", ["-n", "\(packaging)/debian/\(script)"])
    }
    for script in ["boot", "prove", "../package"] {
      try succeed("bash", ["-n", "\(packaging)/\(script)"])
    }
  }

  @Test func aProgramThatNeedsASwiftRuntimeIsNotPacked() throws {
    let directory = try TemporaryDirectory()
    let (exit, output, error) = try ChildProcess.run(
      "\(sourceTree)/tools/package",
      ["--binary", "\(buildDirectory)/sluice", "--output", directory.path])
    #expect(exit == .code(1) && output == "")
    #expect(error.contains("needs a Swift runtime"), "said: \(error)")
  }
}

@Suite struct ExampleTests {
  @Test(arguments: [
    "tools/packaging/sluice.yaml", "docs/docker/sluice.yaml",
    "docs/examples/docker-mailserver.yaml", "docs/examples/starttls.yaml",
  ])
  func theExampleHasNoFault(path: String) throws {
    let directory = try TemporaryDirectory()
    let file = directory.file("sluice.yaml")
    // The package makes the group sluice; here is only our own.
    let group = try succeed("id", ["-gn"]).split(separator: "\n")[0]
    let text = contents(of: "\(sourceTree)/\(path)").replacing("@sluice", with: "@\(group)")
    try writeFile(file, withFreePorts(text))
    let said = try succeed(SluiceBinary.path, ["check", "-c", file])
    // What is said of the file has a line; what has none is about this machine.
    #expect(!said.contains(#/sluice.yaml:\d/#), "said: \(said)")
  }

  /// Postfix's side of docs/docker, on a master.cf with docker-mailserver's services.
  @Test func postfixTakesThePatches() throws {
    let directory = try TemporaryDirectory()
    try writeFile(
      directory.file("main.cf"),
      contents(of: "\(sourceTree)/docs/docker/mailserver/postfix-main.cf"))
    try writeFile(
      directory.file("master.cf"),
      """
      smtp      inet  n       -       n       -       1       postscreen
      smtpd     pass  -       -       n       -       -       smtpd
      submission inet n       -       n       -       -       smtpd
        -o syslog_name=postfix/submission
        -o smtpd_tls_security_level=encrypt
      submissions inet n      -       n       -       -       smtpd
        -o syslog_name=postfix/submissions
        -o smtpd_tls_wrappermode=yes

      """)
    let patches = contents(of: "\(sourceTree)/docs/docker/mailserver/user-patches.sh")
    try writeFile(
      directory.file("patches"),
      patches.replacing("/etc/postfix/master.cf", with: directory.file("master.cf")))
    let settings = ["MAIL_CONFIG": directory.path]
    try succeed("bash", ["-e", directory.file("patches")], environment: settings)
    let services = try succeed("postconf", ["-M"], environment: settings)
    let parameters = try succeed("postconf", ["-P"], environment: settings)
    for port in [12525, 10465, 10587] { #expect(services.contains("\(port) ")) }
    for (port, setting) in [
      (12525, "postscreen_upstream_proxy_protocol"), (10465, "smtpd_upstream_proxy_protocol"),
      (10587, "smtpd_upstream_proxy_protocol"),
    ] {
      #expect(parameters.contains("\(port)/inet/\(setting) = haproxy"), "\(parameters)")
    }
    // What the copies were copied for.
    #expect(parameters.contains("10465/inet/smtpd_tls_wrappermode = yes"))
    #expect(parameters.contains("10587/inet/smtpd_tls_security_level = encrypt"))
    // The usual ports want no header.
    #expect(!parameters.contains("smtp/inet/") && !parameters.contains("submission/inet/smtpd_up"))
  }

  @Test func dovecotTakesTheListeners() throws {
    let directory = try TemporaryDirectory()
    try writeFile(
      directory.file("dovecot.conf"),
      "protocols = imap sieve\nssl = no\n"
        + contents(of: "\(sourceTree)/docs/docker/mailserver/dovecot.cf"))
    let said = try succeed("doveconf", ["-n", "-c", directory.file("dovecot.conf")])
    #expect(said.contains("haproxy_trusted_networks = 172.31.25.2"))
    for port in [10143, 10993, 14190] { #expect(said.contains("port = \(port)")) }
    #expect(!said.lowercased().contains("error"), "\(said)")
  }
}
