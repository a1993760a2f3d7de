#!/usr/bin/env python3
"""What a number of connections needs, and which limit it meets first: the tables of docs/scaling.md.

The constants are measured (where, stands beside each); the rest is arithmetic. With --machine it
computes with constants of your own:  Benchmarks/scaling.py --machine '{"churn_us": 30}'
"""

import argparse
import json
import math

MEASURED = {
    # README's table, on one core of its machine: CPU of one connection, round trip and GB.
    "churn_us": 23.9, "round_trip_us": 6.3, "gb_s": 0.074,
    # Benchmarks with idle-5000, and the slab caches of the kernel with 8,000 connections less those
    # of 8,000 without a proxy: two sockets, their files and inodes, two watches of the ring.
    "user_bytes": 347, "kernel_bytes": 7600,
    "descriptors": 2,
    # Two of nf_conntrack's entries (320 B each), where the firewall tracks.
    "conntrack_entries": 2, "conntrack_bytes": 320,
}
# As Linux comes; see proc(5), ip(7) and nf_conntrack's own documentation.
DEFAULTS = {"ports": 60999 - 32768 + 1, "nr_open": 1 << 20, "conntrack": 262144,
            "process_connections": 1_000_000}
# What a mail edge sees of each thousand connections: most of them idle in IMAP IDLE.
TRAFFIC = {"new_per_s": 1.0, "round_trips_per_s": 20.0, "mb_per_s": 0.25}
# Of a core; the rest is for bursts, and for the kernel's share that no process is charged for.
FULL = 0.6


def needs(connections, cores, constants):
    thousands = connections / 1000
    busy = thousands * (TRAFFIC["new_per_s"] * constants["churn_us"] / 1e6
                        + TRAFFIC["round_trips_per_s"] * constants["round_trip_us"] / 1e6
                        + TRAFFIC["mb_per_s"] / 1000 * constants["gb_s"])
    return {
        "memory": connections * (constants["user_bytes"] + constants["kernel_bytes"]),
        "descriptors": connections * constants["descriptors"],
        "conntrack": connections * constants["conntrack_entries"],
        "cores": busy / FULL,
        "share": busy / FULL / cores,
        "pairs": math.ceil(connections / DEFAULTS["ports"]),
        "processes": math.ceil(connections / DEFAULTS["process_connections"]),
    }


def first_limits(need):
    """What is in the way with everything as Linux comes, in the order in which it is met."""
    found = [(DEFAULTS["ports"], "ports of one source address to one server")]
    found += [(DEFAULTS["conntrack"] // 2, "nf_conntrack_max, where the firewall tracks")]
    found += [(DEFAULTS["nr_open"] // 2, "fs.nr_open, descriptors of one process")]
    found += [(DEFAULTS["process_connections"], "limits.max-connections, of one process")]
    connections = need["descriptors"] // 2
    return [text for limit, text in sorted(found) if connections > limit]


def show_bytes(value):
    return f"{value / 2**30:.1f} GiB" if value >= 2**30 else f"{value / 2**20:.0f} MiB"


def show_count(value):
    return f"{value / 1e6:g} M" if value >= 1e6 else f"{value / 1e3:g} k"


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--machine", default="{}", help="constants to replace, as JSON")
    constants = {**MEASURED, **json.loads(parser.parse_args().machine)}
    print("| connections | memory | descriptors | conntrack entries | source and server pairs |"
          " cores for the traffic |\n|---|---|---|---|---|---|")
    sizes = [10_000, 100_000, 1_000_000, 10_000_000]
    for connections in sizes:
        need = needs(connections, 1, constants)
        print(f"| {show_count(connections)} | {show_bytes(need['memory'])} | "
              f"{show_count(need['descriptors'])} | {show_count(need['conntrack'])} | "
              f"{need['pairs']} | {need['cores']:.1f} |")
    print("\n| cores | new connections/s | 64 B round trips/s | Gbit/s spliced |\n|---|---|---|---|")
    for cores in (1, 2, 4, 8, 16, 32, 64):
        print(f"| {cores} | {show_count(round(cores * FULL / constants['churn_us'] * 1e6, -3))} | "
              f"{show_count(round(cores * FULL / constants['round_trip_us'] * 1e6, -3))} | "
              f"{cores * FULL / constants['gb_s'] * 8:.0f} |")
    print()
    for connections in sizes:
        limits = first_limits(needs(connections, 1, constants))
        print(f"- {show_count(connections)}: {'; '.join(limits) or 'nothing'}")


main()
