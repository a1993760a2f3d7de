import TestSupport
import Testing

// The guard as it comes, with nothing excepted: an origin with an address of the public network is
// reached on the ports that are open by themselves, and this machine's own address, which is as
// public, is not.

@Test("origins on the public network, and this machine's own address there")
func publicOrigin() throws {
  try require(["ip": "iproute2", "nginx": "nginx", "curl": "curl", "nsenter": "util-linux"])
  let directory = try TemporaryDirectory()
  _ = try TestCertificate("origin", ["DNS:origin.example"], in: directory)
  let result = try ChildProcess.run(
    "\(packageDirectory)/Tests/PeerTests/peers/public_origin.sh",
    [SluiceBinary.path, directory.path], until: Deadline(inMs: 60_000))
  let denied = "Denied by the guard: this host's own address, 198.41.0.1/32\negress.guard\n"
  let wanted =
    "good from 198.41.0.1\ngood from 198.41.0.1\n"
    + "Denied: this port is not allowed\negress.port\n\n\(denied)\n403\n\(denied)\n"
  #expect(
    result.output == wanted,
    "\(result.output)\(result.error)\(contents(of: directory.file("sluice.log")))")
}
