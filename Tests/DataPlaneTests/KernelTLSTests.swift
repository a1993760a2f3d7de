import Glibc
import TestSupport
import Testing

@testable import DataPlane

/// Who seals is what the kernel says of itself.
@Test func theKernelsTLSIsFoundWhereItIs() {
  let found = KernelTLS.look()
  // The look has loaded the module, where there is one and this user may.
  let words = contents(of: "/proc/sys/net/ipv4/tcp_available_ulp").split { " \n".contains($0) }
  #expect(found == (words.contains("tls") ? .used : .absent))
}
