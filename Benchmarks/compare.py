#!/usr/bin/env python3
"""Compares Sluice with HAProxy, nginx and no proxy at all, side by side on one machine.

Every contender is started once and sits idle while another runs. In every round each workload is
run by all of them back to back, in random order, and what is reported is the median of the
per-round ratios to the base: a shared machine drifts by half within minutes, and a ratio of two
neighbouring runs does not. `tools/bench` builds what this needs and passes its arguments on.
"""

import argparse
import ctypes
import fcntl
import json
import os
import platform
import random
import re
import resource
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import self_test
from contenders import ADDRESSES, HOST, ROUTED, Contender, make_certificate

HERE = Path(__file__).resolve().parent
STANDARD_CONTENDERS = ["haproxy-forced", "haproxy-auto", "nginx", "direct", "sluice",
                       "sluice-epoll", "sluice-ring-splice", "sluice-copy"]
QUICK_CONTENDERS = ["haproxy-forced", "haproxy-auto", "nginx", "direct", "sluice"]
STANDARD_WORKLOADS = """bulk-up-1 bulk-up-8 bulk-up-64 bulk-down-8 bulk-duplex-8
  rtt-64-1 rtt-64-64 rtt-64-1000 rtt-16k-1 rtt-16k-64 rtt-16k-1000 open-64-5000 open-64-20000
  churn-16 churn-client-16 churn-v1-16 churn-v2-16 idle-1000 idle-5000""".split()
QUICK_WORKLOADS = "bulk-up-8 rtt-64-1 rtt-64-64 rtt-16k-64 churn-16 idle-1000".split()
QUICK_ROUNDS = 3
RUN_AS = {"self": "the calling user", "apart": "unprivileged users, one each"}
# More foreign CPU time than this share of a run makes the run suspect.
FOREIGN_SHARE = 0.15
# An open loop spreads its fixed rate over this many connections.
OPEN_CONNECTIONS = 64

# What is measured, per kind of workload: key, heading, digits. Lower is better except for rates.
METRICS = {
    "bulk": [("cpu", "CPU s/GB", 3), ("rate", "GB/s", 2)],
    "rtt": [("cpu", "CPU us/round trip", 1), ("rate", "round trips/s", 0),
            ("p50", "p50 us", 0), ("p99", "p99 us", 0)],
    "open": [("cpu", "CPU us/request", 1), ("p50", "p50 us", 0), ("p99", "p99 us", 0),
             ("p999", "p99.9 us", 0)],
    "mixed": [("rate", "GB/s of bulk", 2), ("p50", "p50 us of round trips", 0),
              ("p99", "p99 us of round trips", 0)],
    "churn": [("cpu", "CPU us/connection", 1), ("rate", "connections/s", 0),
              ("p50", "p50 us", 0), ("p99", "p99 us", 0)],
}


class Workload:
    """A name such as bulk-up-8, rtt-16k-64, open-64-5000, churn-client-v2-16 or idle-1000."""

    def __init__(self, name):
        self.name = name
        self.header = "none"
        self.bytes_each = 0
        parts = name.split("-")
        secured = {"tls": "full", "resumed": "resumed"}.get(parts[0])
        if secured:
            parts = parts[1:]
        self.kind = parts[0]
        try:
            getattr(self, f"_read_{self.kind}")(*parts[1:])
        except (AttributeError, TypeError, ValueError):
            sys.exit(f"compare: unknown workload {name}\n{WORKLOAD_HELP}")
        if secured:
            if self.header != "none":
                sys.exit(f"compare: {name}: the listener that ends TLS sends no header")
            self.header = "tls"
            self.arguments += ["--tls", secured]

    def _read_bulk(self, direction, streams):
        if direction not in ("up", "down", "duplex"):
            raise ValueError
        self.arguments = ["--workload", "bulk", "--direction", direction,
                          "--connections", str(int(streams))]

    def _read_rtt(self, size, connections):
        self.arguments = ["--workload", "rtt", "--size", str(read_size(size)),
                          "--connections", str(int(connections))]

    def _read_open(self, size, rate):
        self.arguments = ["--workload", "open", "--size", str(read_size(size)),
                          "--rate", str(int(rate)), "--connections", str(OPEN_CONNECTIONS)]

    def _read_mixed(self, direction, streams, connections):
        self._read_bulk(direction, streams)
        both = int(streams) + int(connections)
        self.arguments = ["--workload", "mixed", "--direction", direction,
                          "--streams", str(int(streams)), "--connections", str(both)]

    def _read_churn(self, *parts):
        *options, connections = parts
        self.arguments = ["--workload", "churn", "--connections", str(int(connections))]
        for option in options:
            if option == "client":
                self.arguments += ["--close", "client"]
            elif option in ("v1", "v2"):
                self.header = option
                self.arguments += ["--proxy", option]
            elif option == "sni":
                self.header = option
                self.arguments += ["--sni", ROUTED]
            else:
                raise ValueError

    def _read_idle(self, connections):
        self.connections = int(connections)
        self.arguments = ["--workload", "idle", "--connections", str(self.connections)]


WORKLOAD_HELP = """workloads: bulk-(up|down|duplex)-STREAMS, rtt-SIZE-CONNECTIONS, open-SIZE-RATE,
  mixed-(up|down)-STREAMS-CONNECTIONS (bulk, and round trips of 64 B beside it),
  churn[-client][-v1|-v2|-sni]-CONNECTIONS (the backend closes first, or the client; with a PROXY
  header; routed by the name in a ClientHello), idle-CONNECTIONS;
  sizes are bytes, or KiB with a k behind them; tls- before any of them: over TLS that the proxy
  ends, every handshake a full one, or resumed-: every one but the first a resumed one"""


def read_size(text):
    return int(text[:-1]) * 1024 if text.endswith("k") else int(text)


# ---- running the load ----


class Bench:
    def __init__(self, options, directory):
        self.options = options
        self.directory = directory
        self.as_user = options.as_user
        self.proxy_core = options.proxy_core
        self.sluice = options.sluice
        self.certificate = make_certificate(directory, options.key)
        self.failed = []

    def command(self, contender, workload, extra=()):
        core = str(self.options.load_core)
        command = [str(self.options.load), "--listen", f"{HOST}:{contender.backend_port}",
                   "--addresses", str(ADDRESSES),
                   "--to", f"{HOST}:{contender.port(workload.header)}",
                   "--client-core", core, "--backend-core", core, *workload.arguments, *extra]
        for pid in contender.pids():
            command += ["--cpu", str(pid)]
        return command

    def run_load(self, contender, workload, seconds):
        extra = ["--seconds", str(seconds), "--deadline", str(seconds + 15)]
        before = busy_seconds()
        begun = time.monotonic()
        result = subprocess.run(self.command(contender, workload, extra), capture_output=True,
                                text=True, timeout=seconds + 30, stdin=subprocess.DEVNULL)
        elapsed = time.monotonic() - begun
        try:
            answer = json.loads(result.stdout)
        except ValueError:
            answer = {"errors": 1, "first_error": f"load ended with {result.returncode}: "
                      f"{result.stderr.strip()}"}
            return answer
        # Ticks are 10 ms and connections are set up outside the window: a hint, no measurement.
        ours = answer["proxy_cpu"] + answer["load_cpu"]
        answer["foreign"] = max(0.0, busy_seconds() - before - ours) / elapsed
        return answer

    def check_integrity(self, contender):
        """Duplex transfers with half-closes, every byte checked. True when all of them passed."""
        for name in ("rtt-64-1", "tls-rtt-64-1"):
            workload = Workload(name)
            if not contender.can_send(workload.header):
                continue
            workload.arguments[:2] = ["--workload", "integrity"]
            workload.arguments += ["--connections", "16", "--count", "64"]
            answer = self.run_load(contender, workload, 5)
            if answer["errors"] or answer["count"] != 64:
                print(f"integrity through {contender.name} ({workload.header}): FAILED, left out: "
                      f"{answer.get('first_error')}")
                self.failed.append(f"integrity {contender.name}")
                return False
        print(f"integrity through {contender.name}: ok", flush=True)
        return True

    def measure(self, contender, workload):
        """One run as {metric: value}, or None when it is not possible or had errors."""
        if not contender.can_send(workload.header):
            return None
        answer = self.run_load(contender, workload, self.options.seconds)
        if answer["errors"] or not (answer["count"] or answer["bytes"]):
            print(f"  {workload.name} through {contender.name}: {answer.get('first_error')}")
            self.failed.append(f"{workload.name} {contender.name}")
            return None
        # Without a proxy its own client and backend are all the CPU there is.
        cpu = answer["proxy_cpu"] if contender.is_proxy else answer["load_cpu"]
        values = {"foreign": answer["foreign"]}
        if workload.kind in ("bulk", "mixed"):
            values["cpu"] = cpu / answer["bytes"] * 1e9
            values["rate"] = answer["bytes"] / answer["seconds"] / 1e9
            values.update(answer.get("latency_us", {}))
        else:
            values["cpu"] = cpu / answer["count"] * 1e6
            values["rate"] = answer["count"] / answer["seconds"]
            values.update(answer["latency_us"])
        return values


def busy_seconds():
    """CPU seconds of the whole machine that were not idle or waiting for a disk."""
    with open("/proc/stat") as file:
        fields = [int(field) for field in file.readline().split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


# ---- idle memory ----


def memory_of(pids):
    """KiB of user-space memory and count of descriptors over a process tree."""
    total = dict.fromkeys(("Rss", "Pss", "Private_Dirty", "Anonymous", "fds"), 0)
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            for name, kib in re.findall(r"^(\w+): +(\d+) kB", file.read(), re.M):
                if name in total:
                    total[name] += int(kib)
        total["fds"] += len(os.listdir(f"/proc/{pid}/fd"))
    return total


def measure_idle(bench, name, workload):
    """A fresh process holds the connections, first cold, then after each moved 64 KiB both ways."""
    contender = Contender(name, bench)
    contender.start()
    load = None
    try:
        # What is allocated once, for the first connection of all, is no cost per connection.
        first = "tls-rtt-64-1" if workload.header == "tls" else "rtt-64-1"
        bench.run_load(contender, Workload(first), 0.05)
        time.sleep(0.3)  # until its connections are closed on both sides
        pids = contender.pids()
        before = memory_of(pids)
        command = bench.command(contender, workload, ["--seconds", "30"])
        load = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        ready = json.loads(load.stdout.readline() or "{}")
        if ready.get("connections") != workload.connections:
            raise RuntimeError(ready.get("first_error", "the load ended early"))
        time.sleep(0.2)
        cold, cpu = memory_of(pids), cpu_of(pids)
        time.sleep(0.5)
        idle_cpu = (cpu_of(pids) - cpu) / 0.5
        load.stdin.write("move\n")
        load.stdin.flush()
        load.stdout.readline()
        time.sleep(0.2)
        moved = memory_of(pids)
        answer = json.loads(load.communicate("end\n", timeout=30)[0])
        time.sleep(0.5)
        after = memory_of(pids)
        if answer["errors"]:
            raise RuntimeError(answer["first_error"])
        each = lambda later, key: (later[key] - before[key]) / workload.connections
        return {"rss": each(cold, "Rss"), "pss": each(cold, "Pss"),
                "private": each(cold, "Private_Dirty"), "anonymous": each(cold, "Anonymous"),
                "moved": each(moved, "Private_Dirty"), "fds": each(cold, "fds"),
                "start": before["Rss"], "closed": after["Rss"], "idle_cpu": idle_cpu}
    except (RuntimeError, ValueError, KeyError, OSError) as error:
        print(f"  {workload.name} through {name}: {error}")
        bench.failed.append(f"{workload.name} {name}")
        return None
    finally:
        if load is not None and load.poll() is None:
            load.kill()
            load.wait()
        contender.stop()


def cpu_of(pids):
    """Exact CPU seconds: the process clock, where /proc/PID/stat has ticks of 10 ms."""
    total = 0.0
    for pid in pids:
        clock = ctypes.c_int()
        if ctypes.CDLL(None).clock_getcpuclockid(pid, ctypes.byref(clock)) == 0:
            total += time.clock_gettime(clock.value)
    return total


# ---- results ----


def summarise(rounds, base):
    """{workload: {contender: {metric: {median, ratio, low, high}}}} of a list of rounds."""
    summary = {}
    for workload in rounds[0]:
        summary[workload] = {}
        for contender in rounds[0][workload]:
            runs = [r[workload].get(contender) for r in rounds]
            against = [r[workload].get(base) for r in rounds]
            cell = {}
            for metric in next((run for run in runs if run), {}):
                values = [run[metric] for run in runs if run]
                ratios = sorted(run[metric] / other[metric] for run, other in zip(runs, against)
                                if run and other and other[metric] > 0)
                cell[metric] = {"median": statistics.median(values), "runs": len(values)}
                if ratios:
                    cell[metric].update(ratio=statistics.median(ratios), low=ratios[0],
                                        high=ratios[-1])
            summary[workload][contender] = cell
    return summary


def table(title, columns, rows):
    lines = [f"### {title}", "", "| |" + "|".join(columns) + "|", "|---" * (len(columns) + 1) + "|"]
    lines += ["|" + name + "|" + "|".join(cells) + "|" for name, cells in rows]
    return "\n".join(lines) + "\n"


def render(summary, workloads, contenders, base):
    text = []
    for kind, metrics in METRICS.items():
        columns = [w.name for w in workloads if w.kind == kind]
        for metric, heading, digits in metrics if columns else []:
            rows = []
            for contender in contenders:
                cells = []
                for column in columns:
                    cell = summary[column].get(contender, {}).get(metric)
                    # The CPU of no proxy is that of the load: another thing, so no ratio.
                    star = "\\*" if contender == "direct" and metric == "cpu" else ""
                    ratio = cell and "ratio" in cell and contender != base and not star
                    cells.append("-" if not cell else f"{cell['median']:.{digits}f}{star}" +
                                 (f" ({cell['ratio']:.2f})" if ratio else ""))
                rows.append((contender, cells))
            text.append(table(f"{kind}: {heading} (ratio to {base})", columns, rows))
    if any("direct" in cells for cells in summary.values()):
        text.append("\\* the load's own client and backend, no proxy\n")
    return "\n".join(text)


def render_idle(idle, contenders):
    text = []
    columns = ["KiB private dirty", "KiB anonymous", "KiB RSS", "KiB PSS",
               "KiB private after 64 KiB each", "descriptors", "RSS MiB before", "after close",
               "idle CPU %"]
    for workload, cells in idle.items():
        rows = []
        for name in contenders:
            cell = cells.get(name)
            if cell:
                rows.append((name, [f"{cell[key]:.2f}" for key in
                                    ("private", "anonymous", "rss", "pss", "moved", "fds")] +
                             [f"{cell['start'] / 1024:.1f}", f"{cell['closed'] / 1024:.1f}",
                              f"{cell['idle_cpu'] * 100:.2f}"]))
        text.append(table(f"{workload}: per connection, a fresh process", columns, rows))
    return "\n".join(text)


def environment(bench, contenders):
    with open("/proc/cpuinfo") as file:
        model = re.search(r"model name\s*: (.*)", file.read())
    options = bench.options
    with open("/proc/sys/net/ipv4/tcp_congestion_control") as file:
        congestion = file.read().strip()
    return {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "cpu": model.group(1) if model else platform.machine(), "cores": os.cpu_count(),
        "kernel": platform.release(), "congestion_control": congestion,
        "network_namespace": options.in_netns, "nofile": os.sysconf("SC_OPEN_MAX"),
        "proxies_run_as": RUN_AS.get(options.as_user, f"user {options.as_user}"),
        "proxy_core": options.proxy_core, "load_core": options.load_core,
        "rounds": options.rounds, "seconds": options.seconds, "base": options.base,
        "seed": options.seed,
        "versions": {c.name: c.version() for c in contenders if c.is_proxy},
    }


# ---- the comparison ----


def start_all(bench, names):
    contenders = []
    for name in names:
        contender = Contender(name, bench)
        contenders.append(contender)
        try:
            contender.start()
        except (RuntimeError, OSError) as error:
            print(f"compare: {error}")
            bench.failed.append(f"start {name}")
            contenders.pop()
    return contenders


def run_rounds(bench, contenders, workloads):
    rounds = []
    timed = [w for w in workloads if w.kind != "idle"]
    for number in range(bench.options.rounds if timed else 0):
        begun = time.monotonic()
        results = {}
        for workload in timed:
            results[workload.name] = {}
            for contender in random.sample(contenders, len(contenders)):
                values = bench.measure(contender, workload)
                if values:
                    results[workload.name][contender.name] = values
            # Every contender has a place in every round, so that rounds can be paired.
            for contender in contenders:
                results[workload.name].setdefault(contender.name, None)
        rounds.append(results)
        print(f"round {number + 1} of {bench.options.rounds}: {time.monotonic() - begun:.0f} s",
              flush=True)
    return rounds


def report_foreign_load(rounds):
    shares = [cell["foreign"] for r in rounds for cells in r.values() for cell in cells.values()
              if cell]
    if not shares:
        return
    suspect = sum(share > FOREIGN_SHARE for share in shares)
    print(f"other programs' CPU during runs: median {statistics.median(shares) * 100:.0f} % of a "
          f"core; {suspect} of {len(shares)} runs above {FOREIGN_SHARE * 100:.0f} %\n")


def compare(bench):
    options = bench.options
    workloads = [Workload(name) for name in options.workloads]
    contenders = start_all(bench, options.contenders)
    try:
        facts = environment(bench, contenders)
        print("\n".join(f"{key}: {value}" for key, value in facts.items()), flush=True)
        # The speed of a proxy that loses or alters bytes is of no interest.
        sound = [contender for contender in contenders if bench.check_integrity(contender)]
        rounds = run_rounds(bench, sound, workloads)
    finally:
        for contender in contenders:
            contender.stop()
    idle = {}
    for workload in (w for w in workloads if w.kind == "idle"):
        idle[workload.name] = {c.name: measure_idle(bench, c.name, workload)
                               for c in sound if c.is_proxy}
    names = [contender.name for contender in sound]
    summary = summarise(rounds, options.base) if rounds else {}
    print("\nMedians over rounds, in brackets the median of the per-round ratios.\n")
    report_foreign_load(rounds)
    print(render(summary, workloads, names, options.base))
    print(render_idle(idle, names))
    if options.json:
        document = {"environment": facts, "summary": summary, "idle": idle, "rounds": rounds,
                    "failed": bench.failed}
        Path(options.json).write_text(json.dumps(document, indent=1) + "\n")
        print(f"written: {options.json}")
    if bench.failed:
        print("FAILED: " + ", ".join(sorted(set(bench.failed))))
    return not bench.failed


# ---- setting up ----


def enter_netns(options):
    """Starts this program again in a network namespace of its own, or prepares that namespace."""
    if not options.in_netns:
        if os.getuid() != 0:
            sys.exit("compare: --netns needs root")
        os.execvp("unshare", ["unshare", "--net", sys.executable, *sys.argv, "--in-netns"])
    with socket.socket() as any_socket:
        up = struct.pack("16sH14x", b"lo", 0x1 | 0x40)  # IFF_UP | IFF_RUNNING
        fcntl.ioctl(any_socket, 0x8914, up)  # SIOCSIFFLAGS
    Path("/proc/sys/net/ipv4/tcp_congestion_control").write_text(options.congestion)


def default_sluice():
    path = HERE.parent / ".build" / "release" / "sluice"
    return path if path.exists() else None


def parse_options():
    parser = argparse.ArgumentParser(
        description="Compares proxies side by side on loopback.", epilog=WORKLOAD_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    known = ", ".join(Contender.KINDS)
    parser.add_argument("--contenders", help=f"comma-separated, of: {known}")
    parser.add_argument("--workloads", help="comma-separated; see below")
    parser.add_argument("--base", default="haproxy-forced", help="ratios are to this contender")
    parser.add_argument("--rounds", type=int, help="default 5")
    parser.add_argument("--seconds", type=float, default=0.5, help="length of one run")
    parser.add_argument("--quick", action="store_true", help="about a minute: fewer of everything")
    parser.add_argument("--as-user", help="run the proxies as this user, as the caller ('self'), "
                        "or each as an unprivileged user of its own ('apart', the default for "
                        "root: the kernel's quotas of pipe pages are per user)")
    parser.add_argument("--netns", action="store_true",
                        help="everything in a new network namespace, without pacing")
    parser.add_argument("--congestion", default="reno", help="congestion control for --netns")
    parser.add_argument("--proxy-core", type=int, default=0)
    parser.add_argument("--load-core", type=int, default=1)
    parser.add_argument("--sluice", type=Path, help="its binary (default: this package's release)")
    parser.add_argument("--load", type=Path, default=HERE / ".build" / "load")
    parser.add_argument("--key", choices=("ec", "rsa"), default="ec",
                        help="of the certificate where TLS ends: P-256 or 2048 bits")
    parser.add_argument("--json", help="write all results to this file")
    parser.add_argument("--seed", type=int, default=0, help="of the order of runs; 0 draws one")
    parser.add_argument("--self-test", action="store_true",
                        help="show that the load generator catches broken relays, and end")
    parser.add_argument("--in-netns", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def complete(options):
    """Fills in what depends on other options or on the machine."""
    options.contenders = (options.contenders.split(",") if options.contenders
                          else QUICK_CONTENDERS if options.quick else STANDARD_CONTENDERS)
    options.workloads = (options.workloads.split(",") if options.workloads
                         else QUICK_WORKLOADS if options.quick else STANDARD_WORKLOADS)
    options.rounds = options.rounds or (QUICK_ROUNDS if options.quick else 5)
    options.seed = options.seed or random.randrange(1, 1 << 31)
    random.seed(options.seed)
    for name in options.contenders:
        if name not in Contender.KINDS:
            sys.exit(f"compare: unknown contender {name}; known: {', '.join(Contender.KINDS)}")
    if options.base not in options.contenders:
        sys.exit(f"compare: the base {options.base} must be one of the contenders")
    options.sluice = options.sluice or default_sluice()
    wants_sluice = any(name.startswith("sluice") for name in options.contenders)
    if wants_sluice and (options.sluice is None or not options.sluice.exists()):
        sys.exit("compare: no sluice binary; build it with `swift build -c release`, name it with "
                 "--sluice, or leave sluice out of --contenders")
    if options.as_user is None:
        options.as_user = "apart" if os.getuid() == 0 else "self"
    cores = os.sched_getaffinity(0)
    for core in (options.proxy_core, options.load_core):
        if core not in cores:
            sys.exit(f"compare: core {core} is not one of {sorted(cores)}")


def main():
    options = parse_options()
    if not options.load.exists():
        sys.exit(f"compare: {options.load} is missing; tools/bench builds it")
    if options.self_test:
        sys.exit(0 if self_test.run(options.load) else 1)
    complete(options)
    if options.netns:
        enter_netns(options)
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    directory = Path(tempfile.mkdtemp(prefix="sluice-bench-"))
    try:
        os.chmod(directory, 0o755)
        if options.sluice and options.as_user != "self":
            # Another user may not be able to reach into the build directory.
            options.sluice = Path(shutil.copy(options.sluice, directory / "sluice-binary"))
        good = compare(Bench(options, directory))
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
