"""One measurement of one contender: the load beside it, its CPU time and its memory."""

import ctypes
import json
import os
import random
import re
import subprocess
import time

from configs import ADDRESSES, HOST
from contenders import ENDS_BOTH_WAYS, Contender, make_certificate
from workloads import Workload

# While connections arrive, a reload so often.
RELOAD_EVERY = 0.3
# The bulk of a mixed load runs this much longer than what is measured beside it.
BULK_LONGER = 0.02


class Bench:
    def __init__(self, options, directory):
        self.options = options
        self.directory = directory
        self.as_user = options.as_user
        self.proxy_core = options.proxy_core
        self.load_core = options.load_core
        self.sluice = options.sluice
        self.floor = options.floor
        self.certificate = make_certificate(directory, options.key)
        self.failed = []

    # ---- running the load ----

    def command(self, contender, workload, extra=()):
        core = str(self.load_core)
        command = [str(self.options.load),
                   "--listen", f"{HOST}:{contender.backend_of(workload)}",
                   "--addresses", str(ADDRESSES), "--to", f"{HOST}:{contender.port(workload)}",
                   "--client-core", core, "--backend-core", core, *workload.arguments, *extra]
        for pid in contender.pids():
            command += ["--cpu", str(pid)]
        return command

    def start_load(self, contender, workload, seconds, extra=(), first=False):
        """`first`: before everything else on its core, so that what is measured is the delay of
        the proxy and not that of a second load. Takes root; without, it is like any other."""
        def prepare():
            if first and os.getuid() == 0:
                os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))

        extra = ["--seconds", str(seconds), "--deadline", str(seconds + 15), *extra]
        return subprocess.Popen(self.command(contender, workload, extra), text=True,
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, preexec_fn=prepare)

    def run_load(self, contender, workload, seconds, first=False):
        before = busy_seconds()
        begun = time.monotonic()
        answer = answer_of(self.start_load(contender, workload, seconds, first=first), seconds)
        if "proxy_cpu" in answer:
            # Ticks are 10 ms and connections are set up outside the window: a hint, no more.
            ours = answer["proxy_cpu"] + answer["load_cpu"]
            elapsed = time.monotonic() - begun
            answer["foreign"] = max(0.0, busy_seconds() - before - ours) / elapsed
        return answer

    def check_integrity(self, contender, workloads):
        """Duplex transfers with half-closes, every byte checked, through each listener that the
        workloads use. True when all of them passed."""
        if contender.kind.program in ENDS_BOTH_WAYS:
            print(f"integrity through {contender.name}: left out, it loses bytes at half-closes")
            return True
        checked = {}
        for workload in (Workload("rtt-64-1"), *workloads):
            for part in workload.parts or (workload,):
                # What sends a header has no integrity run: churn looks at every one of them.
                if contender.can_run(workload) and part.entry not in ("v1", "v2"):
                    checked.setdefault(contender.port(part), part)
        for part in checked.values():
            answer = self.run_load(contender, part.as_integrity(), 5)
            if answer["errors"] or answer["count"] != 64:
                print(f"integrity through {contender.name} ({part.entry}): FAILED, left out: "
                      f"{answer.get('first_error')}")
                self.failed.append(f"integrity {contender.name}")
                return False
        print(f"integrity through {contender.name}: ok", flush=True)
        return True

    # ---- one measurement ----

    def measure(self, contender, workload):
        """One run as {metric: value}, or None when it is not possible or had errors."""
        if not contender.can_run(workload):
            return None
        try:
            if workload.kind == "mixed":
                return self.measure_mixed(contender, workload)
            if workload.kind == "reload":
                return self.measure_reload(contender, workload)
            return values_of(self.run_load(contender, workload, self.options.seconds), contender,
                             workload)
        except RuntimeError as error:
            print(f"  {workload.name} through {contender.name}: {error}", flush=True)
            self.failed.append(f"{workload.name} {contender.name}")
            return None

    def measure_mixed(self, contender, workload):
        """The bulk alone, the round trips alone, and both at once, in random order."""
        bulk, other = workload.parts
        seconds, first = self.options.seconds, other.kind == "open"

        def both():
            loads = [self.start_load(contender, bulk, seconds + BULK_LONGER, ["--wait"]),
                     self.start_load(contender, other, seconds, ["--wait"], first)]
            for load in loads:
                load.stdout.readline()  # all connections are open
            for load in loads:
                load.stdin.write("go\n")
                load.stdin.flush()
            answers = [answer_of(load, seconds) for load in loads]
            return [values_of(answer, contender, part)
                    for answer, part in zip(answers, workload.parts)]

        runs = {"bulk": lambda: values_of(self.run_load(contender, bulk, seconds), contender, bulk),
                "other": lambda: values_of(self.run_load(contender, other, seconds, first),
                                           contender, other), "both": both}
        got = {name: runs[name]() for name in random.sample(list(runs), len(runs))}
        mixed_bulk, mixed = got["both"]
        return {"rate": mixed_bulk["rate"], "p50": mixed["p50"], "p99": mixed["p99"],
                "p999": mixed["p999"], "rate_alone": got["bulk"]["rate"],
                "p50_alone": got["other"]["p50"], "p99_alone": got["other"]["p99"],
                "p99_times": mixed["p99"] / got["other"]["p99"],
                "rate_share": mixed_bulk["rate"] / got["bulk"]["rate"],
                "foreign": got["bulk"]["foreign"]}

    def measure_reload(self, contender, workload):
        """Connections at a fixed rate, first without and then with reloads. Failed connections
        are a figure here, and no reason to drop the run."""
        seconds = self.options.seconds
        calm = values_of(self.run_load(contender, workload, seconds), contender, workload)
        load = self.start_load(contender, workload, seconds)
        reloads = 0
        while load.poll() is None:
            contender.reload()
            reloads += 1
            time.sleep(RELOAD_EVERY)
        answer = answer_of(load, seconds)
        if not answer.get("count"):
            raise RuntimeError(answer.get("first_error"))
        latency = answer["latency_us"]
        return {"p50": latency["p50"], "p99": latency["p99"], "p999": latency["p999"],
                "p99_alone": calm["p99"], "p99_times": latency["p99"] / calm["p99"],
                "failed": answer["errors"], "reloads": reloads, "foreign": calm["foreign"]}

    def measure_idle(self, name, workload):
        """A fresh process holds the connections, first cold, then after each moved 64 KiB both
        ways. {metric: value}, or None."""
        contender = Contender(name, self)
        if not contender.can_run(workload):
            return None
        load = None
        try:
            contender.start()
            # What is allocated once, for the first connection of all, is no cost per connection.
            first = {"tls": "tls-rtt-64-1", "sni": "sni-rtt-64-1"}.get(workload.entry, "rtt-64-1")
            self.run_load(contender, Workload(first), 0.05)
            time.sleep(0.3)  # until its connections are closed on both sides
            before = memory_of(contender.pids())
            load = self.start_load(contender, workload, 30)
            ready = json.loads(load.stdout.readline() or "{}")
            if ready.get("connections") != workload.connections:
                raise RuntimeError(ready.get("first_error", "the load ended early"))
            return read_idle(load, contender.pids(), before, workload.connections)
        except (RuntimeError, ValueError, KeyError, OSError) as error:
            print(f"  {workload.name} through {name}: {error}", flush=True)
            self.failed.append(f"{workload.name} {name}")
            return None
        finally:
            if load is not None and load.poll() is None:
                load.kill()
                load.wait()
            contender.stop()


def answer_of(load, seconds):
    """What the load says at its end; always with `errors`."""
    try:
        output, complaint = load.communicate(timeout=seconds + 30)
        return json.loads(output.strip().split("\n")[-1])
    except ValueError:
        return {"errors": 1, "count": 0, "bytes": 0,
                "first_error": f"load ended with {load.returncode}: {complaint.strip()}"}


def values_of(answer, contender, workload):
    if answer["errors"] or not (answer["count"] or answer["bytes"]):
        raise RuntimeError(answer.get("first_error"))
    # Without a proxy its own client and backend are all the CPU there is.
    cpu = answer["proxy_cpu"] if contender.is_proxy else answer["load_cpu"]
    values = {"foreign": answer.get("foreign", 0.0), **answer.get("latency_us", {})}
    if workload.kind == "bulk":
        values["cpu"] = cpu / answer["bytes"] * 1e9
        values["rate"] = answer["bytes"] / answer["seconds"] / 1e9
    else:
        values["cpu"] = cpu / answer["count"] * 1e6
        values["rate"] = answer["count"] / answer["seconds"]
    return values


def busy_seconds():
    """CPU seconds of the whole machine that were not idle or waiting for a disk."""
    with open("/proc/stat") as file:
        fields = [int(field) for field in file.readline().split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


# ---- memory ----


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


def read_idle(load, pids, before, connections):
    """Figures per connection of a load that holds them, which ends with this."""
    time.sleep(0.2)
    cold, cpu = memory_of(pids), cpu_of(pids)
    time.sleep(0.5)
    idle_cpu = (cpu_of(pids) - cpu) / 0.5
    load.stdin.write("move\n")
    load.stdin.flush()
    load.stdout.readline()
    time.sleep(0.2)
    moved = memory_of(pids)
    answer = json.loads(load.communicate("end\n", timeout=30)[0].strip().split("\n")[-1])
    time.sleep(0.5)
    after = memory_of(pids)
    if answer["errors"]:
        raise RuntimeError(answer["first_error"])

    def each(later, key):
        return (later[key] - before[key]) / connections

    private = each(cold, "Private_Dirty")
    return {"rss": each(cold, "Rss"), "pss": each(cold, "Pss"),
            "private": private, "anonymous": each(cold, "Anonymous"),
            "moved": each(moved, "Private_Dirty"), "fds": each(cold, "fds"),
            "moved_fds": each(moved, "fds"),
            "moved_times": each(moved, "Private_Dirty") / private if private > 0 else 0.0,
            "start": before["Rss"], "closed": after["Rss"], "idle_cpu": idle_cpu}


def cpu_of(pids):
    """Exact CPU seconds: the process clock, where /proc/PID/stat has ticks of 10 ms."""
    total = 0.0
    for pid in pids:
        clock = ctypes.c_int()
        if ctypes.CDLL(None).clock_getcpuclockid(pid, ctypes.byref(clock)) == 0:
            total += time.clock_gettime(clock.value)
    return total
