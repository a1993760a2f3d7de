internal import Synchronization
package import System
package import Wire

/// A server inside the demo's own process. It demands a PROXY header, tells the client whose
/// address it learnt from it, and then sends back whatever it gets.
package final class DemoBackend: Sendable {
  package let address: SocketAddress
  private let listener: Guarded<Descriptor>
  private let listenerNumber: Int32
  private let thread: Guarded<Thread?> = Guarded(nil)
  private let live = Atomic<Int>(0)

  /// Listens on a loopback port that the kernel chooses. [socket(2), bind(2), pthread_create(3)]
  package init() throws(SystemError) {
    let socket = try Sockets.listen(at: .ipv4(0x7f00_0001, port: 0))
    address = try Sockets.localAddress(of: socket)
    listenerNumber = socket.number
    listener = Guarded(socket)
    let accepting = try Thread(name: "demo") { [self] in
      listener.withLock { acceptAll($0) }
    }
    thread.withLock { $0 = accepting }
  }

  /// Accepts no more. Connections that still run end with their clients.
  package func stop() {
    // Only the accepting thread owns the descriptor; shutting it down is what wakes it.
    Sockets.shutdownBoth(number: listenerNumber)
    thread.withLock { $0 }?.join()
  }

  /// Threads, one for each client: enough for a demo, and a bound.
  private static let mostClients = 64
  /// A client of the demo comes through Sluice, which sends the header at once.
  private static let headerWaitMs: Int32 = 3000
  private static let readSize = 16 * 1024

  private func acceptAll(_ listener: borrowing Descriptor) {
    while true {
      do throws(SystemError) {
        let accepted = try Sockets.accept(listener)
        guard live.load(ordering: .relaxed) < DemoBackend.mostClients else { continue }
        live.add(1, ordering: .relaxed)
        let number = accepted.release()
        do throws(SystemError) {
          _ = try Thread(name: "demo-client") { [self] in
            DemoBackend.serve(Descriptor(owning: number))
            live.subtract(1, ordering: .relaxed)
          }
        } catch {
          _ = Descriptor(owning: number)
          live.subtract(1, ordering: .relaxed)
        }
      } catch {
        switch error.code {
        // Out of descriptors: those in use come back.
        case .tooManyOpen, .tooManyInSystem: Thread.sleep(ms: 50)
        default: return
        }
      }
    }
  }

  /// One client from the header to its FIN. Errors of the socket end it, and nobody needs to know.
  private static func serve(_ client: borrowing Descriptor) {
    do throws(SystemError) {
      var bytes: [UInt8] = []
      let answer = try readHeader(from: client, &bytes)
      try client.writeAll(Array(answer.utf8).span)
      while true {
        try client.writeAll(bytes.span)
        bytes.removeAll(keepingCapacity: true)
        if try client.read(atMost: readSize, appendingTo: &bytes) == 0 { return }
      }
    } catch {
      return
    }
  }

  /// The line for the client; what came after the header stays in `bytes`.
  private static func readHeader(
    from client: borrowing Descriptor, _ bytes: inout [UInt8]
  ) throws(SystemError) -> String {
    while true {
      var isOver = try Readiness.reading(client.number, waitingAtMostMs: headerWaitMs) == []
      if !isOver { isOver = try client.read(atMost: readSize, appendingTo: &bytes) == 0 }
      switch ProxyHeader.decode(bytes.span, ended: isOver) {
      case .needMore:
        continue
      case .done(let header, let consumed):
        bytes.removeFirst(consumed)
        return greeting(header)
      case .invalid(let reason):
        bytes.removeAll()
        return "sorry, no PROXY header came: \(reason.code.rawValue)\n"
      }
    }
  }

  private static func greeting(_ header: ProxyHeader) -> String {
    guard let (source, destination) = header.streamAddresses else {
      return "hello, whoever you are: the PROXY header names no address\n"
    }
    return "hello \(source), you reached \(destination) through sluice\n"
  }
}
