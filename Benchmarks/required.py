"""What must be reached: the rows, what is measured for them, and the verdict on each.

Every figure is the median of per-round ratios, except where a row says otherwise (idle memory is
one fresh process each). `required` must hold; `goal` is where it should get to.
"""

import statistics
from dataclasses import dataclass

from plans import group
from tables import paired_ratios, values_of_rounds

ROUNDS = 10
FORCED, NGINX = "haproxy-forced", "nginx"
FIVE = "haproxy-forced nginx floor sluice sluice-epoll"

GROUPS = [
    group("bulk", FIVE, "bulk-up-1 bulk-up-8 bulk-up-64"),
    group("rtt-64", FIVE, "rtt-64-1 rtt-64-64 rtt-64-1000"),
    group("rtt-large", FIVE, "rtt-16k-64 rtt-256k-64"),
    group("low", "haproxy-forced sluice sluice-low", "rtt-64-1"),
    group("churn", FIVE, "churn-16 churn-v2-16"),
    group("churn-log", "haproxy-log nginx-log sluice-log", "churn-16 churn-v2-16", "haproxy-log"),
    group("mixed", "haproxy-forced nginx direct sluice sluice-epoll", "mixed-up-8-64-2000"),
    group("idle", "haproxy-forced nginx sluice sluice-epoll", "idle-5000"),
]


@dataclass(frozen=True)
class Row:
    group: str
    workload: str
    metric: str
    contender: str
    against: str | None  # None: the figure itself
    required: float | None  # None: only stated
    goal: float | None = None
    at_least: bool = False


def rows():
    found = []
    for workload, required, goal, rate in (("bulk-up-1", 0.85, 0.70, 0.95),
                                           ("bulk-up-8", 0.70, 0.65, 1.05),
                                           ("bulk-up-64", 0.65, 0.60, 1.05)):
        found += [Row("bulk", workload, "cpu", "sluice", FORCED, required, goal),
                  Row("bulk", workload, "cpu", "sluice", NGINX, 0.30),
                  Row("bulk", workload, "rate", "sluice", FORCED, rate, at_least=True)]
    for workload, required, goal in (("rtt-64-1", 0.80, 0.70), ("rtt-64-64", 0.88, 0.80),
                                     ("rtt-64-1000", 0.85, 0.75)):
        found += [Row("rtt-64", workload, "cpu", "sluice", FORCED, required, goal),
                  Row("rtt-64", workload, "cpu", "sluice", NGINX, 1.00, 0.90),
                  Row("rtt-64", workload, "p50", "sluice", FORCED, 1.00),
                  Row("rtt-64", workload, "p99", "sluice", FORCED, 1.10)]
    found += [Row("low", "rtt-64-1", "p50", "sluice-low", FORCED, 0.70),
              Row("low", "rtt-64-1", "cpu", "sluice-low", FORCED, None)]
    for workload, required, goal, nginx in (("rtt-16k-64", 0.85, 0.75, 0.75),
                                            ("rtt-256k-64", 0.75, 0.60, 0.45)):
        found += [Row("rtt-large", workload, "cpu", "sluice", FORCED, required, goal),
                  Row("rtt-large", workload, "cpu", "sluice", NGINX, nginx)]
    for workload in ("churn-16", "churn-v2-16"):
        found += [Row("churn", workload, "cpu", "sluice", FORCED, 0.90, 0.84)]
        found += [Row("churn-log", workload, "cpu", "sluice-log", "haproxy-log", 0.95, 0.90)]
    found += [Row("churn", "churn-16", "cpu", "sluice", NGINX, 1.00),
              Row("mixed", "mixed-up-8-64-2000", "p99_times", "sluice", None, 1.5),
              Row("mixed", "mixed-up-8-64-2000", "rate_share", "sluice", None, 0.9, at_least=True),
              Row("idle", "idle-5000", "private", "sluice", None, 0.40),
              Row("idle", "idle-5000", "private", "sluice", NGINX, 0.04),
              Row("idle", "idle-5000", "fds", "sluice", None, 2.0),
              Row("idle", "idle-5000", "moved_times", "sluice", None, 1.05),
              Row("idle", "idle-5000", "moved_fds", "sluice", None, 2.0)]
    timed = [(g.name, w) for g in GROUPS[:3] + GROUPS[4:5] for w in g.workloads]
    found += [Row(name, workload, "cpu", "sluice-epoll", "sluice", 1.10)
              for name, workload in timed]
    found += [Row(name, workload, "cpu", "sluice", "floor", 1.10) for name, workload in timed]
    return found


def judge(row, results):
    """The row with what was measured: {measured, low, high, rounds, verdict} beside its fields.
    `results`: {name of a group: what it measured}."""
    values = measured_values(row, results.get(row.group, {}))
    verdict = {**vars(row), "measured": None, "rounds": len(values), "verdict": "not measured"}
    if not values:
        return verdict
    measured = statistics.median(values)

    def holds(limit):
        return measured >= limit if row.at_least else measured <= limit

    if row.required is None:
        word = "stated"
    elif not holds(row.required):
        word = "missed"
    elif row.goal is not None and holds(row.goal):
        word = "met, goal too"
    else:
        word = "met"
    return {**verdict, "measured": measured, "low": min(values), "high": max(values),
            "verdict": word}


def measured_values(row, result):
    if row.group == "idle":
        cells = result.get("idle", {}).get(row.workload, {})
        own, other = cells.get(row.contender), cells.get(row.against)
        if not own or (row.against and not other):
            return []
        return [own[row.metric] / (other[row.metric] if row.against else 1)]
    rounds = result.get("rounds", [])
    if row.against:
        return paired_ratios(rounds, row.workload, row.metric, row.contender, row.against)
    return values_of_rounds(rounds, row.workload, row.metric, row.contender)


UNITS = {"cpu": "CPU", "rate": "throughput", "p50": "p50", "p99": "p99",
         "p99_times": "p99, times that without bulk", "rate_share": "bulk, share of bulk alone",
         "private": "KiB per connection", "fds": "descriptors per connection",
         "moved_times": "memory after traffic, times that before",
         "moved_fds": "descriptors after traffic"}


def render_verdicts(verdicts):
    lines = ["| workload | what | of | required | goal | measured | spread | rounds | verdict |",
             "|---" * 9 + "|"]
    for v in verdicts:
        sign = ">=" if v["at_least"] else "<="
        bounds = [f"{sign} {limit:.2f}" if limit is not None else "" for limit in
                  (v["required"], v["goal"])]
        own = v["contender"] if v["contender"] != "sluice" else ""
        what = UNITS[v["metric"]] + (f" ({own})" if own else "")
        got = spread = "-"
        if v["measured"] is not None:
            got = f"{v['measured']:.2f}"
            spread = f"{v['low']:.2f} to {v['high']:.2f}" if v["rounds"] > 1 else ""
        word = f"**{v['verdict']}**" if v["verdict"] in ("missed", "not measured") else v["verdict"]
        lines.append("| " + " | ".join([v["workload"], what, v["against"] or "", *bounds, got,
                                         spread, str(v["rounds"]), word]) + " |")
    count = {}
    for v in verdicts:
        count[v["verdict"]] = count.get(v["verdict"], 0) + 1
    few = [v for v in verdicts if 0 < v["rounds"] < ROUNDS and v["group"] != "idle"]
    text = "\n".join(lines) + "\n\n" + ", ".join(f"{n} {word}" for word, n in count.items()) + ".\n"
    return text + (f"Fewer than {ROUNDS} rounds: a trial, no result.\n" if few else "")
