/// A metric's name, kind and meaning. All that are ever written stand in `all`, in their order on
/// the page; docs/operations.md has a row for each.
package struct MetricFamily: Hashable, Sendable {
  package enum Kind: String, Sendable { case counter, gauge, histogram, summary }

  package let name: String
  package let kind: Kind
  package let help: String
  /// Every sample has all of them. What they can be is bounded by the configuration and by words
  /// of our own, never by what clients send.
  package let labels: [String]

  private init(_ name: String, _ kind: Kind, _ labels: [String], _ help: String) {
    self.name = name
    self.kind = kind
    self.help = help
    self.labels = labels
  }

  private init(_ name: String, _ kind: Kind, _ help: String) { self.init(name, kind, [], help) }
}

extension MetricFamily {
  static let buildInfo = MetricFamily(
    "sluice_build_info", .gauge, ["version", "events"],
    "Always 1; which version runs, and where its events come from (ring or epoll).")
  static let connections = MetricFamily(
    "sluice_connections", .gauge, "Client connections open now.")
  static let connectionsLimit = MetricFamily(
    "sluice_connections_limit", .gauge, "Client connections that limits.max-connections allows.")
  static let generation = MetricFamily(
    "sluice_configuration_generation", .gauge,
    "Number of the configuration in force; it rises with each reload that changes something.")
  static let loadedTime = MetricFamily(
    "sluice_configuration_loaded_timestamp_seconds", .gauge,
    "When the configuration in force was taken, in seconds since 1970.")
  static let reloads = MetricFamily(
    "sluice_reloads_total", .counter, ["outcome"], "Reloads by outcome.")
  static let bans = MetricFamily(
    "sluice_bans", .gauge, "Addresses and networks that are banned now.")

  static let listenerConnections = MetricFamily(
    "sluice_listener_connections", .gauge, ["listener"], "Client connections open now.")
  static let listenerAccepted = MetricFamily(
    "sluice_listener_accepted_total", .counter, ["listener"], "Client connections accepted.")
  static let listenerBytes = MetricFamily(
    "sluice_listener_bytes_total", .counter, ["listener", "direction"],
    "Bytes relayed, up from client to server or down.")
  static let listenerSpliced = MetricFamily(
    "sluice_listener_spliced_bytes_total", .counter, ["listener", "direction"],
    "The part of the bytes that was never copied to user space; counted when a connection ends.")
  static let listenerEnds = MetricFamily(
    "sluice_listener_ends_total", .counter, ["listener", "end"],
    "Connections that ended, by who ended them first and how.")
  static let listenerRejected = MetricFamily(
    "sluice_listener_rejected_total", .counter, ["listener", "reason"],
    "Connections turned away, by reason code; probes are not among them.")
  static let listenerHeaders = MetricFamily(
    "sluice_listener_headers_total", .counter, ["listener", "header"],
    "PROXY headers taken, by kind; none where one was allowed and did not come.")
  static let listenerProbes = MetricFamily(
    "sluice_listener_probes_total", .counter, ["listener", "kind"],
    "Health probes: silent ones sent nothing where a header or a ClientHello had to come, "
      + "local ones a LOCAL header.")
  static let listenerDuration = MetricFamily(
    "sluice_listener_duration_seconds", .histogram, ["listener"],
    "How long connections lived; counted when they end.")

  static let listenerHandshakes = MetricFamily(
    "sluice_listener_handshakes_total", .counter, ["listener", "result"],
    "TLS handshakes with clients where TLS ends: full, resumed by a ticket, or failed.")
  static let certificateExpiry = MetricFamily(
    "sluice_certificate_expiry_timestamp_seconds", .gauge, ["listener", "certificate"],
    "When a certificate that is served is good no longer, in seconds since 1970, by its file.")

  static let listenerQueue = MetricFamily(
    "sluice_listener_queue", .gauge, ["listener"], "Connections that wait for a place now.")
  static let listenerQueued = MetricFamily(
    "sluice_listener_queued_total", .counter, ["listener"],
    "Connections that met a limit and began to wait for a place.")

  static let ruleTaken = MetricFamily(
    "sluice_rule_taken_total", .counter, ["listener", "rule"],
    "Connections that a rule took; rules that took none are left out.")

  static let backendConnections = MetricFamily(
    "sluice_backend_connections", .gauge, ["backend"],
    "Connections that are at a server of the backend now or being dialled.")
  static let backendDials = MetricFamily(
    "sluice_backend_dials_total", .counter, ["backend"], "Dials begun, retries among them.")
  static let backendDialFailures = MetricFamily(
    "sluice_backend_dial_failures_total", .counter, ["backend", "reason"],
    "Dials that failed, by reason code.")
  static let backendBytes = MetricFamily(
    "sluice_backend_bytes_total", .counter, ["backend", "direction"],
    "Bytes relayed, up from client to server or down.")
  static let backendConnect = MetricFamily(
    "sluice_backend_connect_seconds", .histogram, ["backend"],
    "How long dials took that worked; counted when the connection ends.")
  static let backendFirstByte = MetricFamily(
    "sluice_backend_first_byte_seconds", .histogram, ["backend"],
    "From accept to the server's first byte; counted when the connection ends.")

  static let serverUp = MetricFamily(
    "sluice_server_up", .gauge, ["backend", "server"],
    "1 while the server gets new connections, 0 while it is down or drained.")
  static let serverWeight = MetricFamily(
    "sluice_server_weight", .gauge, ["backend", "server"],
    "The server's share among the servers of its backend.")
  static let serverConnections = MetricFamily(
    "sluice_server_connections", .gauge, ["backend", "server"],
    "Connections of this backend that are at the server now or being dialled.")
  static let serverDials = MetricFamily(
    "sluice_server_dials_total", .counter, ["backend", "server"], "Dials begun.")
  static let serverDialFailures = MetricFamily(
    "sluice_server_dial_failures_total", .counter, ["backend", "server", "reason"],
    "Dials that failed, by reason code.")
  static let serverBytes = MetricFamily(
    "sluice_server_bytes_total", .counter, ["backend", "server", "direction"],
    "Bytes relayed, up from client to server or down.")
  static let serverConnect = MetricFamily(
    "sluice_server_connect_seconds", .summary, ["backend", "server"],
    "How long dials took that worked; counted when the connection ends.")

  static let workerUp = MetricFamily(
    "sluice_worker_up", .gauge, ["worker"],
    "1 when the worker answered within a second; 0 and no counts of it when it did not.")
  static let workerConnections = MetricFamily(
    "sluice_worker_connections", .gauge, ["worker"], "Client connections of the worker.")
  static let workerTurns = MetricFamily(
    "sluice_worker_turns_total", .counter, ["worker"], "Turns of the worker's loop.")
  static let workerPromotions = MetricFamily(
    "sluice_worker_lane_promotions_total", .counter, ["worker"],
    "Halves that went from the copy lane to the splice lane.")
  static let workerDemotions = MetricFamily(
    "sluice_worker_lane_demotions_total", .counter, ["worker"],
    "Halves that went back to the copy lane.")
  static let workerPipes = MetricFamily(
    "sluice_worker_pipes", .gauge, ["worker"], "Pipes made and kept for the splice lane.")
  static let workerPipeMisses = MetricFamily(
    "sluice_worker_pipe_misses_total", .counter, ["worker"],
    "Times a half wanted a pipe, got none, and copied instead.")
  static let workerBuffers = MetricFamily(
    "sluice_worker_buffers", .gauge, ["worker"], "Buffers of 64 KiB in use.")
  static let workerOverflows = MetricFamily(
    "sluice_worker_event_overflows_total", .counter, ["worker"],
    "Times the event source lost its place and was armed anew.")
  static let workerHandedOver = MetricFamily(
    "sluice_worker_handed_over_total", .counter, ["worker"],
    "Connections that the worker accepted and gave to one that had fewer.")
  static let workerReceived = MetricFamily(
    "sluice_worker_received_total", .counter, ["worker"],
    "Connections that the worker got from others.")
  static let workerSpins = MetricFamily(
    "sluice_worker_spins_total", .counter, ["worker"],
    "Times the worker looked for events before it slept (`latency: low`).")
  static let workerSpinHits = MetricFamily(
    "sluice_worker_spin_hits_total", .counter, ["worker"],
    "Those of them that found some, so that it need not sleep.")
  static let workerAcceptPaused = MetricFamily(
    "sluice_worker_accept_paused", .gauge, ["worker"],
    "1 while the worker does not accept, for want of descriptors, connections or memory.")
  static let workerAcceptPauses = MetricFamily(
    "sluice_worker_accept_pauses_total", .counter, ["worker"],
    "Times the worker stopped accepting.")

  static let logLines = MetricFamily(
    "sluice_log_lines_total", .counter, "Lines of the connection log that were written.")
  static let logDropped = MetricFamily(
    "sluice_log_dropped_total", .counter,
    "Lines that were lost: the disk is full, or whoever reads them is too slow.")
  static let logSuppressed = MetricFamily(
    "sluice_log_suppressed_total", .counter,
    "Lines about rejections that were left out because there were too many of one reason.")

  static let processCPU = MetricFamily(
    "process_cpu_seconds_total", .counter, "User and system CPU time spent.")
  static let processResident = MetricFamily(
    "process_resident_memory_bytes", .gauge, "Resident memory size.")
  static let processVirtual = MetricFamily(
    "process_virtual_memory_bytes", .gauge, "Virtual memory size; most of it is only reserved.")
  static let processThreads = MetricFamily(
    "process_threads", .gauge, "Threads of the process.")
  static let processStart = MetricFamily(
    "process_start_time_seconds", .gauge, "When the process started, in seconds since 1970.")
  static let processOpenDescriptors = MetricFamily(
    "process_open_fds", .gauge, "Descriptors open now.")
  static let processDescriptorLimit = MetricFamily(
    "process_max_fds", .gauge, "Descriptors that may be open at once.")

  package static let all: [MetricFamily] = [
    buildInfo, connections, connectionsLimit, generation, loadedTime, reloads, bans,
    listenerConnections, listenerAccepted, listenerBytes, listenerSpliced, listenerEnds,
    listenerRejected, listenerHeaders, listenerProbes, listenerDuration, listenerHandshakes,
    certificateExpiry, listenerQueue, listenerQueued, ruleTaken, backendConnections, backendDials,
    backendDialFailures, backendBytes, backendConnect, backendFirstByte, serverUp, serverWeight,
    serverConnections, serverDials, serverDialFailures, serverBytes, serverConnect, workerUp,
    workerConnections, workerTurns, workerPromotions, workerDemotions, workerPipes,
    workerPipeMisses, workerBuffers, workerOverflows, workerHandedOver, workerReceived,
    workerSpins, workerSpinHits, workerAcceptPaused, workerAcceptPauses, logLines, logDropped,
    logSuppressed, processCPU, processResident, processVirtual, processThreads, processStart,
    processOpenDescriptors, processDescriptorLimit,
  ]
}
