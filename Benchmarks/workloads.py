"""What is run: workloads by name, and what is measured of each."""

import copy
import sys

from configs import ROUTED

# An open loop spreads its fixed rate over this many connections.
OPEN_CONNECTIONS = 64
# Connections that a paced churn may have open at once.
PACED_CONNECTIONS = 512
# Messages from this size on are moved by splice where a contender can choose: the floor.
BULKY = 65536

# What is measured, per kind of workload: key, heading, digits. Lower is better except for rates.
METRICS = {
    "bulk": [("cpu", "CPU s/GB", 3), ("rate", "GB/s", 2)],
    "rtt": [("cpu", "CPU us/round trip", 1), ("rate", "round trips/s", 0),
            ("p50", "p50 us", 0), ("p99", "p99 us", 0)],
    "open": [("cpu", "CPU us/request", 1), ("p50", "p50 us", 0), ("p99", "p99 us", 0),
             ("p999", "p99.9 us", 0)],
    "churn": [("cpu", "CPU us/connection", 1), ("rate", "connections/s", 0),
              ("p50", "p50 us", 0), ("p99", "p99 us", 0)],
    "mixed": [("rate", "GB/s of bulk", 2), ("p50", "p50 us of the interactive ones", 0),
              ("p99", "p99 us of the interactive ones", 0),
              ("p99_times", "their p99, times that without bulk", 2),
              ("rate_share", "GB/s, share of the same bulk alone", 2)],
    "reload": [("p50", "p50 us while it reloads", 0), ("p99", "p99 us while it reloads", 0),
               ("p99_times", "p99, times that without reloads", 2),
               ("failed", "connections that failed", 1)],
}

WORKLOAD_HELP = """workloads: bulk-(up|down|duplex)-STREAMS, rtt-SIZE-CONNECTIONS,
  open-SIZE-RATE (open loop: latency counts from when a request was due),
  churn[-client][-v1|-v2|-sni]-CONNECTIONS (the backend closes first, or the client; with a PROXY
  header; routed by the name in a ClientHello), idle-CONNECTIONS (memory of a fresh process),
  mixed-(up|down)-STREAMS-CONNECTIONS[-RATE] (bulk, and beside it round trips of 64 B on their own
  connections: as fast as they go, or an open loop of that rate), reload-RATE (connections that
  arrive at that rate, without and with reloads).
  Sizes are bytes, or KiB with a k behind them. Before any of them: tls-, over TLS that the proxy
  ends, every handshake a full one; resumed-, every one but the first a resumed one; sni-, every
  connection begins with a ClientHello and is routed by its name"""


def read_size(text):
    return int(text[:-1]) * 1024 if text.endswith("k") else int(text)


class Workload:
    """A name such as bulk-up-8, rtt-16k-64, open-64-5000, churn-client-v2-16 or sni-idle-1000.

    `entry` is the listener of the contender that it goes to, `arguments` are the load's."""

    def __init__(self, name):
        self.name = name
        self.entry = "none"
        self.bulky = False
        self.parts = ()  # mixed: the bulk, and the round trips
        first, _, rest = name.partition("-")
        prefixed = first in ("tls", "resumed", "sni")
        self.kind, *parts = (rest if prefixed else name).split("-")
        try:
            getattr(self, f"_read_{self.kind}")(*parts)
        except (AttributeError, TypeError, ValueError):
            sys.exit(f"compare: unknown workload {name}\n{WORKLOAD_HELP}")
        if prefixed and (self.entry != "none" or self.parts):
            sys.exit(f"compare: {name}: not with {first}-")
        if first in ("tls", "resumed"):
            self.entry = "tls"
            self.arguments += ["--tls", "full" if first == "tls" else first]
        elif first == "sni":
            self._route()

    def _route(self):
        self.entry = "sni"
        self.arguments += ["--sni", ROUTED]

    def _read_bulk(self, direction, streams):
        if direction not in ("up", "down", "duplex"):
            raise ValueError
        self.bulky = True
        self.connections = int(streams)
        self.arguments = ["--workload", "bulk", "--direction", direction,
                          "--connections", str(self.connections)]

    def _read_rtt(self, size, connections):
        self.bulky = read_size(size) >= BULKY
        self.connections = int(connections)
        self.arguments = ["--workload", "rtt", "--size", str(read_size(size)),
                          "--connections", str(self.connections)]

    def _read_open(self, size, rate, connections=OPEN_CONNECTIONS):
        self.connections = int(connections)
        self.arguments = ["--workload", "open", "--size", str(read_size(size)),
                          "--rate", str(int(rate)), "--connections", str(self.connections)]

    def _read_mixed(self, direction, streams, connections, rate=None):
        bulk = Workload(f"bulk-{direction}-{streams}")
        other = Workload(f"open-64-{rate}-{connections}" if rate else f"rtt-64-{connections}")
        other.entry = "aside"
        self.parts = (bulk, other)
        self.connections = bulk.connections + other.connections

    def _read_churn(self, *parts):
        *options, connections = parts
        self.connections = int(connections)
        self.arguments = ["--workload", "churn", "--connections", str(self.connections)]
        for option in options:
            if option == "client":
                self.arguments += ["--close", "client"]
            elif option in ("v1", "v2"):
                self.entry = option
                self.arguments += ["--proxy", option]
            elif option == "sni":
                self._route()
            else:
                raise ValueError

    def _read_reload(self, rate):
        self.connections = PACED_CONNECTIONS
        self.arguments = ["--workload", "churn", "--connections", str(PACED_CONNECTIONS),
                          "--paced", "--rate", str(int(rate))]

    def _read_idle(self, connections):
        self.connections = int(connections)
        self.arguments = ["--workload", "idle", "--connections", str(self.connections)]

    def as_integrity(self):
        """The same listener with duplex transfers and half-closes, every byte checked."""
        checked = copy.copy(self)
        checked.arguments = ["--workload", "integrity", "--count", "64", "--connections", "16",
                             *self.arguments[self.arguments.index("--connections") + 2:]]
        return checked
