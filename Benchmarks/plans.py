"""Which contenders run which workloads: groups that take a few minutes each."""

from dataclasses import dataclass

from workloads import Workload

# Starting the load and opening its connections, beside the measured time of a run: seconds, and
# seconds per connection, as one machine had it. For the estimate of --dry-run only.
RUN_OVERHEAD, CONNECTION_OVERHEAD = 0.08, 0.0002
START_EACH, INTEGRITY_EACH, IDLE_EACH = 0.4, 0.8, 4.0


@dataclass(frozen=True)
class Group:
    name: str
    contenders: tuple[str, ...]
    workloads: tuple[str, ...]
    base: str = "haproxy-forced"

    def seconds(self, rounds, seconds):
        """About how long it takes."""
        total = len(self.contenders) * (START_EACH + INTEGRITY_EACH)
        for workload in map(Workload, self.workloads):
            if workload.kind == "idle":
                each, times = IDLE_EACH + workload.connections * CONNECTION_OVERHEAD * 4, 1
            else:
                parts = {"mixed": 3, "reload": 2}.get(workload.kind, 1)
                each = parts * (seconds + RUN_OVERHEAD + workload.connections * CONNECTION_OVERHEAD)
                times = rounds
            total += times * each * len(self.contenders)
        return total


def group(name, contenders, workloads, base="haproxy-forced"):
    return Group(name, tuple(contenders.split()), tuple(workloads.split()), base)


def sizes(size):
    return " ".join(f"rtt-{size}-{connections}" for connections in (1, 64, 1000, 5000))


ALL = ("haproxy-forced haproxy-auto haproxy-copy nginx direct floor sluice sluice-epoll "
       "sluice-ring-splice sluice-copy")
FEW = "haproxy-forced haproxy-auto nginx direct floor sluice sluice-epoll"
STANDARD = [
    group("bulk-up", ALL, "bulk-up-1 bulk-up-8 bulk-up-64 bulk-up-512"),
    group("bulk-down", ALL, "bulk-down-1 bulk-down-8 bulk-down-64 bulk-down-512"),
    group("bulk-duplex", ALL, "bulk-duplex-1 bulk-duplex-8 bulk-duplex-64 bulk-duplex-512"),
    group("rtt-64", ALL + " sluice-low", sizes("64")),
    group("rtt-1k", FEW, sizes("1k")),
    group("rtt-16k", ALL, sizes("16k")),
    group("rtt-64k", FEW, sizes("64k")),
    group("rtt-256k", FEW, sizes("256k")),
    group("open", FEW + " sluice-low", "open-64-2000 open-64-10000 open-64-30000"),
    group("churn", FEW, "churn-16 churn-client-16 churn-v1-16 churn-v2-16"),
    group("churn-log", "haproxy-log nginx-log sluice-log", "churn-16 churn-client-16 churn-v2-16",
          "haproxy-log"),
    group("sni", "haproxy-forced nginx sniproxy direct sluice sluice-epoll",
          "churn-sni-16 churn-client-sni-16 sni-bulk-up-8 sni-rtt-64-64 sni-idle-1000"),
    group("mixed", FEW, "mixed-up-8-64-2000 mixed-up-8-64"),
    group("reload", "haproxy-forced nginx sluice sluice-epoll", "reload-2000"),
    group("idle", "haproxy-forced nginx sluice sluice-epoll", "idle-1000 idle-5000 idle-9000"),
    group("two-workers", "haproxy-2 nginx-2 sluice-2", "bulk-up-8 rtt-64-64 rtt-64-1000 churn-16",
          "haproxy-2"),
]
QUICK = [group("quick", "haproxy-forced haproxy-auto nginx direct sluice",
               "bulk-up-8 rtt-64-1 rtt-64-64 rtt-16k-64 churn-16 idle-1000")]
LOGS = [group("churn-log", "haproxy-log nginx-log sluice-log",
              "churn-16 churn-client-16 churn-v2-16 rtt-64-64", "haproxy-log")]
