#!/usr/bin/env python3
"""Compares Sluice with HAProxy, nginx, sniproxy and no proxy at all, side by side on one machine.

Every contender is started once and sits idle while another runs. In every round each workload is
run by all of them back to back, in random order, and what is reported is the median of the
per-round ratios to the base: a shared machine drifts by half within minutes, and a ratio of two
neighbouring runs does not. `tools/bench` builds what this needs and passes its arguments on.
"""

import argparse
import fcntl
import json
import os
import platform
import random
import re
import resource
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import plans
import required
import self_test
from configs import HOST
from contenders import KINDS, Contender, tool
from measuring import Bench
from tables import render, render_foreign_load, render_idle, summarise
from workloads import WORKLOAD_HELP, Workload

HERE = Path(__file__).resolve().parent
RUN_AS = {"self": "the calling user", "apart": "unprivileged users, one each"}
CONGESTION = "/proc/sys/net/ipv4/tcp_congestion_control"
DEFAULT_ROUNDS = {"standard": 5, "required": required.ROUNDS, "quick": 3, "logs": 10, "custom": 5}
# What is written without being asked for.
WRITTEN = ("standard", "required")


def environment(options):
    with open("/proc/cpuinfo") as file:
        model = re.search(r"model name\s*: (.*)", file.read())
    return {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "cpu": model.group(1) if model else platform.machine(), "cores": os.cpu_count(),
        "kernel": platform.release(),
        "congestion_control": options.congestion if options.congestion != "system"
        else Path(CONGESTION).read_text().strip(),
        "network_namespace": options.in_netns, "nofile": os.sysconf("SC_OPEN_MAX"),
        "proxies_run_as": RUN_AS.get(options.as_user, f"user {options.as_user}"),
        "proxy_core": options.proxy_core, "load_core": options.load_core,
        "rounds": options.rounds, "seconds": options.seconds, "seed": options.seed,
        "versions": {},
    }


# ---- the comparison ----


def start_all(bench, names, reloadable):
    contenders = []
    for name in names:
        contender = Contender(name, bench, reloadable)
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
    for number in range(bench.options.rounds if workloads else 0):
        begun = time.monotonic()
        results = {}
        for workload in workloads:
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


def run_group(bench, group, facts):
    """What one group measured: {rounds, idle, failed, ...}."""
    print(f"\n== {group.name} ==", flush=True)
    bench.failed = []
    workloads = [Workload(name) for name in group.workloads]
    contenders = start_all(bench, group.contenders, any(w.kind == "reload" for w in workloads))
    begun = time.monotonic()
    try:
        # The speed of a proxy that loses or alters bytes is of no interest.
        sound = [c for c in contenders if bench.check_integrity(c, workloads)]
        rounds = run_rounds(bench, sound, [w for w in workloads if w.kind != "idle"])
    finally:
        for contender in contenders:
            contender.stop()
    idle = {}
    for workload in (w for w in workloads if w.kind == "idle"):
        idle[workload.name] = {c.name: measured for c in sound if c.is_proxy
                               and (measured := bench.measure_idle(c.name, workload))}
    versions = {c.name: version for c in contenders if (version := c.version())}
    return {"base": group.base, "contenders": [c.name for c in sound],
            "workloads": list(group.workloads), "rounds": rounds, "idle": idle,
            "environment": {**facts, "versions": versions}, "failed": sorted(set(bench.failed)),
            "took": time.monotonic() - begun}


def render_group(name, result):
    workloads = [Workload(workload) for workload in result["workloads"]]
    summary = summarise(result["rounds"], result["base"])
    texts = [f"## {name}\n", render_foreign_load(result["rounds"]),
             render(summary, workloads, result["contenders"], result["base"]),
             render_idle(result["idle"], result["contenders"])]
    if result["failed"]:
        texts.append("FAILED: " + ", ".join(result["failed"]) + "\n")
    return "\n".join(text for text in texts if text)


# ---- the document: what is written as JSON ----


def document_of(groups, preset):
    summary, idle, versions = {}, {}, {}
    for result in groups.values():
        for workload, cells in summarise(result["rounds"], result["base"]).items():
            known = summary.setdefault(workload, {})
            known.update({name: cell for name, cell in cells.items() if name not in known})
        for workload, cells in result["idle"].items():
            idle.setdefault(workload, {}).update(cells)
        versions.update(result["environment"]["versions"])
    last = list(groups.values())[-1]
    verdicts = [required.judge(row, groups) for row in required.rows()]
    return {
        "environment": {**last["environment"], "versions": versions, "base": last["base"],
                        "preset": preset},
        "verdicts": verdicts if preset == "required" else [], "summary": summary, "idle": idle,
        "failed": sorted({what for result in groups.values() for what in result["failed"]}),
        "groups": groups,
    }


def rounded(value):
    """Six digits are more than any of this is worth."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    return [rounded(inner) for inner in value] if isinstance(value, list) else value


def render_document(document):
    facts = document["environment"]
    lines = [f"- {key.replace('_', ' ')}: {value}" for key, value in facts.items()
             if key not in ("versions", "base")]
    lines += [f"- {name}: {version}" for name, version in facts["versions"].items()]
    texts = ["# What was measured\n", "\n".join(lines) + "\n"]
    if document["verdicts"]:
        texts += ["## What must be reached\n", required.render_verdicts(document["verdicts"])]
    texts += ["Medians over rounds, in brackets the median of the per-round ratios.\n"]
    texts += [render_group(name, result) for name, result in document["groups"].items()]
    return "\n".join(texts)


def load_groups(path, facts):
    """The groups of an earlier run, when its network was the same."""
    if not path.exists():
        return {}
    document = json.loads(path.read_text())
    for key in ("network_namespace", "congestion_control", "cpu", "kernel"):
        if document["environment"].get(key) != facts[key]:
            sys.exit(f"compare: {path} was measured with another {key.replace('_', ' ')}")
    return document.get("groups", {})


def target_of(options, facts):
    """Where the results go, or None."""
    if options.json or options.merge:
        return Path(options.json or options.merge)
    if options.preset not in WRITTEN:
        return None
    network = "netns" if facts["network_namespace"] else "loopback"
    name = f"{facts['date'][:10]}-{options.preset}-{network}-{facts['congestion_control']}.json"
    return HERE / "results" / name


def write(document, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(rounded(document), separators=(",", ":")) + "\n")
    target.with_suffix(".md").write_text(render_document(document))


def compare(bench):
    options = bench.options
    facts = environment(options)
    target = target_of(options, facts)
    groups = load_groups(Path(options.merge), facts) if options.merge else {}
    print("\n".join(f"{key}: {value}" for key, value in facts.items() if value != {}), flush=True)
    good = True
    for group in options.groups:
        groups[group.name] = result = run_group(bench, group, facts)
        good = good and not result["failed"]
        print("\n" + render_group(group.name, result), flush=True)
        # After each group: what is measured stays, whatever comes.
        document = document_of(groups, options.preset)
        if target:
            write(document, target)
    if document["verdicts"]:
        print(required.render_verdicts(document["verdicts"]))
    if target:
        print(f"written: {target}, and as Markdown beside it")
        if options.preset == "standard":
            subprocess.run([sys.executable, "-B", str(HERE / "plots.py"), str(target)], check=True)
    return good


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
    if options.congestion != "system":
        choose_congestion(options.congestion)


def choose_congestion(name):
    """By the routes: a namespace may not make any but the unrestricted ones its default, and what
    is unrestricted is a setting of the machine."""
    for network in ("127.0.0.0/8", "127.0.0.1"):
        subprocess.run([tool("ip"), "route", "replace", "table", "local", "local", network, "dev",
                        "lo", "proto", "kernel", "scope", "host", "src", HOST, "congctl", name],
                       check=True)
    with socket.create_server((HOST, 0)) as server:
        with socket.create_connection(server.getsockname()) as client:
            used = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
    if used.rstrip(b"\0").decode() != name:
        sys.exit(f"compare: congestion control is {used}, not {name}")


def default_sluice():
    path = HERE.parent / ".build" / "release" / "sluice"
    return path if path.exists() else None


def parse_options():
    parser = argparse.ArgumentParser(
        description="Compares proxies side by side on loopback.", epilog=WORKLOAD_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    preset = parser.add_mutually_exclusive_group()
    preset.add_argument("--required", action="store_true",
                        help="what must be reached, 10 rounds, with verdicts")
    preset.add_argument("--quick", action="store_true", help="about a minute: few of everything")
    preset.add_argument("--logs", action="store_true",
                        help="connections where every proxy writes a line for each to a file")
    parser.add_argument("--only", help="comma-separated groups of the plan; see --dry-run")
    parser.add_argument("--merge", help="add to the groups of this file, or replace those run now")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and its time")
    parser.add_argument("--contenders", help=f"comma-separated, of: {', '.join(KINDS)}")
    parser.add_argument("--workloads", help="comma-separated; see below")
    parser.add_argument("--base", default="haproxy-forced",
                        help="ratios are to this one, with --contenders or --workloads")
    parser.add_argument("--rounds", type=int, help="default 5, with --required 10")
    parser.add_argument("--seconds", type=float, default=0.5, help="length of one run")
    parser.add_argument("--as-user", help="run the proxies as this user, as the caller ('self'), "
                        "or each as an unprivileged user of its own ('apart', the default for "
                        "root: the kernel's quotas of pipe pages are per user)")
    parser.add_argument("--netns", action="store_true",
                        help="everything in a new network namespace")
    parser.add_argument("--congestion", choices=("system", "cubic", "reno", "bbr"),
                        help="congestion control in that namespace, by default reno: no pacing")
    parser.add_argument("--proxy-core", type=int, default=0)
    parser.add_argument("--load-core", type=int, default=1)
    parser.add_argument("--sluice", type=Path, help="its binary (default: this package's release)")
    parser.add_argument("--load", type=Path, default=HERE / ".build" / "load")
    parser.add_argument("--floor", type=Path, default=HERE / ".build" / "floor")
    parser.add_argument("--key", choices=("ec", "rsa"), default="ec",
                        help="of the certificate where TLS ends: P-256 or 2048 bits")
    parser.add_argument("--json", help="write all results to this file")
    parser.add_argument("--seed", type=int, default=0, help="of the order of runs; 0 draws one")
    parser.add_argument("--self-test", action="store_true",
                        help="show that the load generator catches broken relays, and end")
    parser.add_argument("--in-netns", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def plan(options):
    """The name of the preset, and its groups."""
    if options.contenders or options.workloads:
        quick = plans.QUICK[0]
        contenders = options.contenders or ",".join(quick.contenders)
        workloads = options.workloads or ",".join(quick.workloads)
        return "custom", [plans.group("custom", contenders.replace(",", " "),
                                      workloads.replace(",", " "), options.base)]
    for name, groups in (("required", required.GROUPS), ("quick", plans.QUICK),
                         ("logs", plans.LOGS)):
        if getattr(options, name):
            return name, groups
    return "standard", plans.STANDARD


def complete(options):
    """Fills in what depends on other options or on the machine."""
    options.preset, options.groups = plan(options)
    if options.only:
        wanted = options.only.split(",")
        known = [group.name for group in options.groups]
        if unknown := set(wanted) - set(known):
            sys.exit(f"compare: no group {', '.join(unknown)}; there are {', '.join(known)}")
        options.groups = [group for group in options.groups if group.name in wanted]
    options.rounds = options.rounds or DEFAULT_ROUNDS[options.preset]
    options.seed = options.seed or random.randrange(1, 1 << 31)
    random.seed(options.seed)
    for group in options.groups:
        for name in group.contenders:
            if name not in KINDS:
                sys.exit(f"compare: unknown contender {name}; known: {', '.join(KINDS)}")
        if group.base not in group.contenders:
            sys.exit(f"compare: the base {group.base} must be one of the contenders")
    if options.congestion not in (None, "system") and not options.netns:
        sys.exit("compare: --congestion is for --netns; the machine's own is not changed")
    options.congestion = options.congestion or ("reno" if options.netns else "system")


def show_plan(options):
    total = 0.0
    for group in options.groups:
        seconds = group.seconds(options.rounds, options.seconds)
        total += seconds
        print(f"{group.name}: about {seconds:.0f} s, ratios to {group.base}\n"
              f"  {' '.join(group.contenders)}\n  {' '.join(group.workloads)}")
    print(f"{options.preset}: {options.rounds} rounds of {options.seconds} s, about "
          f"{total / 60:.0f} minutes")


def check_machine(options):
    """What the comparison needs is there, or the program ends."""
    for program in (options.load, options.floor):
        if not program.exists():
            sys.exit(f"compare: {program} is missing; tools/bench builds it")
    options.sluice = options.sluice or default_sluice()
    wants_sluice = any(KINDS[name].program == "sluice" for group in options.groups
                       for name in group.contenders)
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
    if options.self_test:
        sys.exit(0 if self_test.run(options.load) else 1)
    complete(options)
    if options.dry_run:
        show_plan(options)
        return
    check_machine(options)
    if options.netns:
        enter_netns(options)
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    directory = Path(tempfile.mkdtemp(prefix="sluice-bench-"))
    try:
        os.chmod(directory, 0o755)
        if options.as_user != "self":
            # Another user may not be able to reach into the build directory.
            for name in ("sluice", "floor"):
                if getattr(options, name):
                    setattr(options, name, Path(shutil.copy(getattr(options, name),
                                                            directory / f"{name}-binary")))
        good = compare(Bench(options, directory))
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
