"""From measurements to medians, ratios and tables in Markdown."""

import statistics

from workloads import METRICS

# More foreign CPU time than this share of a run makes the run suspect.
FOREIGN_SHARE = 0.15
IDLE_COLUMNS = [
    ("private", "KiB private dirty"), ("anonymous", "KiB anonymous"), ("rss", "KiB RSS"),
    ("pss", "KiB PSS"), ("moved", "KiB private after 64 KiB each"), ("fds", "descriptors"),
    ("moved_fds", "descriptors after")]


def paired_ratios(rounds, workload, metric, name, base):
    """The ratio of two contenders in each round that has both, sorted."""
    pairs = [(r.get(workload, {}).get(name), r.get(workload, {}).get(base)) for r in rounds]
    return sorted(run[metric] / other[metric] for run, other in pairs
                  if run and other and metric in run and other.get(metric, 0) > 0)


def values_of_rounds(rounds, workload, metric, name):
    runs = [r.get(workload, {}).get(name) for r in rounds]
    return [run[metric] for run in runs if run and metric in run]


def summarise(rounds, base):
    """{workload: {contender: {metric: {median, ratio, low, high}}}} of a list of rounds."""
    summary = {}
    for workload in rounds[0] if rounds else ():
        summary[workload] = {}
        for contender in rounds[0][workload]:
            runs = [r[workload].get(contender) for r in rounds]
            cell = {}
            for metric in next((run for run in runs if run), {}):
                values = values_of_rounds(rounds, workload, metric, contender)
                ratios = paired_ratios(rounds, workload, metric, contender, base)
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


def render_cell(cell, digits, with_ratio, star):
    if not cell:
        return "-"
    ratio = f" ({cell['ratio']:.2f})" if with_ratio and "ratio" in cell else ""
    return f"{cell['median']:.{digits}f}{star}{ratio}"


def render(summary, workloads, contenders, base):
    """A table per kind of workload and metric."""
    text = []
    for kind, metrics in METRICS.items():
        columns = [w.name for w in workloads if w.kind == kind and w.name in summary]
        for metric, heading, digits in metrics if columns else []:
            rows = []
            for contender in contenders:
                # The CPU of no proxy is that of the load: another thing, so no ratio. Nor is
                # there one of what is a ratio itself.
                star = "\\*" if contender == "direct" and metric == "cpu" else ""
                own = metric.endswith(("_times", "_share")) or metric == "failed"
                with_ratio = contender != base and not star and not own
                rows.append((contender, [
                    render_cell(summary[column].get(contender, {}).get(metric), digits, with_ratio,
                                star) for column in columns]))
            text.append(table(f"{kind}: {heading} (ratio to {base})", columns, rows))
    if any("direct" in cells for cells in summary.values()):
        text.append("\\* the load's own client and backend, no proxy\n")
    return "\n".join(text)


def render_idle(idle, contenders):
    text = []
    columns = [heading for _, heading in IDLE_COLUMNS]
    columns += ["RSS MiB before", "after close", "idle CPU %"]
    for workload, cells in idle.items():
        rows = []
        for name in contenders:
            if cell := cells.get(name):
                rows.append((name, [f"{cell.get(key, 0):.2f}" for key, _ in IDLE_COLUMNS] +
                             [f"{cell['start'] / 1024:.1f}", f"{cell['closed'] / 1024:.1f}",
                              f"{cell['idle_cpu'] * 100:.2f}"]))
        text.append(table(f"{workload}: per connection, a fresh process", columns, rows))
    return "\n".join(text)


def render_foreign_load(rounds):
    """How much other programs did meanwhile; nothing when there were no runs."""
    shares = [cell["foreign"] for r in rounds for cells in r.values() for cell in cells.values()
              if cell]
    if not shares:
        return ""
    suspect = sum(share > FOREIGN_SHARE for share in shares)
    return (f"Other programs' CPU during runs: median {statistics.median(shares) * 100:.0f} % of a "
            f"core; {suspect} of {len(shares)} runs above {FOREIGN_SHARE * 100:.0f} %.\n")
