"""Shows that the load generator sees what a broken relay does, and nothing where there is nothing.

A relay in Python with one deliberate fault at a time stands in for the proxy. Verdicts are given on
figures made up for it.
"""

import json
import socket
import subprocess
import threading

from configs import HOST
from contenders import free_ports
from required import Row, judge

FAULT_OFFSET = 20000  # bytes of one direction that pass before the fault strikes


class Relay:
    """A relay with a fault: none, flip, drop, repeat, cut, or a kind of PROXY header."""

    def __init__(self, backend_port, fault):
        self.backend_port = backend_port
        self.fault = fault
        self.listener = socket.create_server((HOST, 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
                upstream = socket.create_connection((HOST, self.backend_port), timeout=5)
                upstream.settimeout(10)
                client.settimeout(10)
                upstream.sendall(self._header(client))
            except OSError:
                return
            for source, sink in ((client, upstream), (upstream, client)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _header(self, client):
        (source, port), (destination, own) = client.getpeername(), client.getsockname()
        if self.fault.endswith("wrong-port"):
            port ^= 1
        if self.fault.startswith("v1"):
            return f"PROXY TCP4 {source} {destination} {port} {own}\r\n".encode()
        if self.fault.startswith("v2"):
            body = socket.inet_aton(source) + socket.inet_aton(destination)
            body += port.to_bytes(2, "big") + own.to_bytes(2, "big")
            if self.fault == "v2-with-tlv":
                body += b"\x05\x00\x04abcd"
            return b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + len(body).to_bytes(2, "big") + body
        return b""

    def _pump(self, source, sink):
        passed = 0
        try:
            while data := source.recv(16384):
                struck = passed <= FAULT_OFFSET < passed + len(data)
                passed += len(data)
                if struck and self.fault == "flip":
                    data = data[:-1] + bytes([data[-1] ^ 1])
                elif struck and self.fault == "drop":
                    continue
                elif struck and self.fault == "repeat":
                    data += data
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
            if self.fault == "cut":  # takes the first half-close for the end of the connection
                source.shutdown(socket.SHUT_RDWR)
        except OSError:
            for end in (source, sink):
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass


INTEGRITY = ["--workload", "integrity", "--connections", "4", "--count", "16"]
ROUND_TRIPS = ["--workload", "rtt", "--connections", "4", "--size", "16384", "--seconds", "0.3"]
BULK = ["--workload", "bulk", "--connections", "2", "--bytes", "1000000", "--direction"]
CHURN = ["--workload", "churn", "--connections", "4", "--seconds", "0.2", "--proxy"]

# What runs, through which relay, and which kinds of failure must be seen (none: it must pass).
CASES = [
    (INTEGRITY, "none", ()),
    (INTEGRITY, "flip", ("mismatch",)),
    (INTEGRITY, "drop", ("mismatch", "short")),
    (INTEGRITY, "repeat", ("mismatch", "extra")),
    (INTEGRITY, "cut", ("short", "reset")),
    (ROUND_TRIPS, "none", ()),
    (ROUND_TRIPS, "flip", ("mismatch",)),
    (BULK + ["up"], "none", ()),
    (BULK + ["up"], "drop", ("short",)),
    (BULK + ["down"], "drop", ("short",)),
    (BULK + ["duplex"], "repeat", ("short",)),
    (CHURN + ["none", "--close", "client"], "none", ()),
    (CHURN + ["v1"], "v1", ()),
    (CHURN + ["v2"], "v2", ()),
    (CHURN + ["v2"], "v2-with-tlv", ()),
    (CHURN + ["v1"], "v1-wrong-port", ("proxy",)),
    (CHURN + ["v2"], "v2-wrong-port", ("proxy",)),
    (CHURN + ["v1"], "v2", ("proxy",)),
    (CHURN + ["v2"], "none", ("proxy",)),
]


# What is required and wanted, the ratios of single rounds, and the verdict on their median. Rounds
# without one of the two do not count.
LESS = Row("g", "w", "cpu", "a", "b", 0.9, 0.7)
MORE = Row("g", "w", "cpu", "a", "b", 1.05, at_least=True)
VERDICTS = [
    (LESS, [0.6, 0.7, 5.0], "met, goal too"), (LESS, [0.1, 0.9, 0.91], "met"),
    (LESS, [0.1, 0.92, 0.95], "missed"), (LESS, [None, 0.8, None], "met"),
    (LESS, [None, None], "not measured"), (MORE, [1.0, 1.04, 9.0], "missed"),
    (MORE, [1.0, 1.05, 1.1], "met"), (Row("g", "w", "cpu", "a", "b", None), [3.0], "stated"),
]


def check_verdicts():
    good = True
    for row, ratios, expected in VERDICTS:
        rounds = [{"w": {"a": ratio and {"cpu": ratio * 2}, "b": {"cpu": 2}}} for ratio in ratios]
        verdict = judge(row, {"g": {"rounds": rounds}})["verdict"]
        good = good and verdict == expected
        print(f"{'ok  ' if verdict == expected else 'FAIL'} verdict on {ratios}: {verdict}")
    return good


def run(load):
    """Runs every case; true when each ended as it must."""
    good = check_verdicts()
    for arguments, fault, expected in CASES:
        [backend_port] = free_ports(1)
        relay = Relay(backend_port, fault)
        command = [str(load), "--listen", f"{HOST}:{backend_port}", "--to", f"{HOST}:{relay.port}",
                   "--deadline", "8", *arguments]
        result = subprocess.run(command, capture_output=True, text=True, timeout=30,
                                stdin=subprocess.DEVNULL)
        relay.close()
        answer = json.loads(result.stdout) if result.stdout else {"errors": -1}
        seen = set(answer.get("error_kinds", {}))
        passed = bool(seen & set(expected)) if expected else answer["errors"] == 0
        passed = passed and (result.returncode == 0) == (not expected)
        good = good and passed
        told = answer.get("first_error") or result.stderr.strip() or "no errors"
        print(f"{'ok  ' if passed else 'FAIL'} {arguments[1]} through {fault}: {told}")
    return good
