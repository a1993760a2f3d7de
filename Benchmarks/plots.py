#!/usr/bin/env python3
"""Draws the results of tools/bench: a JSON file of its --json to SVG files beside it.

  Benchmarks/plots.py RESULTS.json [DIRECTORY]

ratios.svg (CPU against the base, per workload, with the spread over rounds), connections.svg and
sizes.svg (CPU per round trip), streams.svg (CPU per GB), memory.svg (KiB per idle connection).
A plot whose workloads are not among the results is left out.
"""

import html
import json
import math
import re
import sys
from pathlib import Path

WIDTH, HEIGHT = 720, 360
LEFT, RIGHT, TOP, BOTTOM = 64, 150, 44, 46
# Told apart by colour-blind readers too (after Okabe and Ito), and each with a mark of its own. On
# light ground, on dark ground, mark.
LOOKS = {
    "sluice": ("#0072b2", "#4fb3ee", "circle"),
    "haproxy-forced": ("#d55e00", "#ff8a3d", "square"),
    "haproxy-auto": ("#b97a00", "#f0b429", "triangle"),
    "nginx": ("#00805c", "#2ecf9f", "diamond"),
    "sluice-epoll": ("#3a8fc4", "#9ad4f5", "circle"),
    "sniproxy": ("#a8578a", "#e39cc8", "square"),
    "floor": ("#666666", "#aaaaaa", "triangle"),
}
# What the ratios are drawn of, and the workloads, in this order; others only when none of these is
# among the results.
COMPARED = ("sluice", "nginx", "sniproxy", "floor")
HEADLINES = """bulk-up-1 bulk-up-8 bulk-up-64 bulk-up-512 bulk-down-8 bulk-duplex-8 rtt-64-1 rtt-64-64
  rtt-64-1000 rtt-64-5000 rtt-1k-64 rtt-16k-64 rtt-64k-64 rtt-256k-64 open-64-10000 churn-16
  churn-client-16 churn-v2-16 churn-sni-16 sni-bulk-up-8 sni-rtt-64-64""".split()
# Readers with a dark page get dark ground: an SVG file in an <img> follows the reader's setting.
STYLE = """text{fill:#222}.dim{fill:#555}.head{font-size:15px;font-weight:bold}
.name{font-weight:bold;fill:currentColor}.ground{fill:#fff}.grid{stroke:#ddd}
.axis{stroke:#222;stroke-width:1.5}
.line{fill:none;stroke:currentColor;stroke-width:2}.mark{fill:currentColor}%s
@media(prefers-color-scheme:dark){text{fill:#e6e6e6}.dim{fill:#a8a8a8}
.name{fill:currentColor}.ground{fill:#0d1117}.grid{stroke:#30363d}.axis{stroke:#e6e6e6}%s}"""


def style():
    colours = ["".join(f".{name}{{color:{look[dark]}}}" for name, look in LOOKS.items())
               for dark in (0, 1)]
    return (STYLE % tuple(colours)).replace("\n", "")


class Drawing:
    """SVG elements, in a font that every reader has, on light or dark ground."""

    def __init__(self, title, width=WIDTH, height=HEIGHT):
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" font-family="sans-serif" font-size="12" role="img">'
            f"<title>{html.escape(title)}</title><style>{style()}</style>"
            f'<rect class="ground" width="{width}" height="{height}"/>']
        self.text(LEFT, 24, title, look="head")

    def text(self, x, y, words, anchor="start", look=""):
        more = f' text-anchor="{anchor}"' if anchor != "start" else ""
        more += f' class="{look}"' if look else ""
        self.parts.append(f'<text x="{x:.0f}" y="{y:.0f}"{more}>{html.escape(words)}</text>')

    def line(self, x1, y1, x2, y2, look="grid"):
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
                          f'class="{look}"/>')

    def path(self, points, name):
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.parts.append(f'<polyline points="{joined}" class="line {name}"/>')

    def mark(self, x, y, name):
        corners = {"square": [(-4, -4), (4, -4), (4, 4), (-4, 4)],
                   "triangle": [(0, -5), (5, 4), (-5, 4)],
                   "diamond": [(0, -5.5), (5.5, 0), (0, 5.5), (-5.5, 0)]}.get(LOOKS[name][2])
        if corners is None:
            shape = f'circle cx="{x:.1f}" cy="{y:.1f}" r="4.5"'
        else:
            joined = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in corners)
            shape = f'polygon points="{joined}"'
        self.parts.append(f'<{shape} class="mark {name}"/>')

    def write(self, path):
        path.write_text("\n".join(self.parts) + "\n</svg>\n")
        print(f"written: {path}")


def steps(highest):
    """About five round numbers from 0 to at least the highest value."""
    rough = highest / 5
    unit = 10 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= rough)
    return [step * n for n in range(math.ceil(highest / step - 1e-9) + 1)]


def show_number(value):
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def draw_lines(path, title, unit, x_unit, series, x_name):
    """`series`: {contender: [(x, value)]}; x on a logarithmic axis, y from 0."""
    xs = sorted({x for points in series.values() for x, _ in points})
    highest = max(value for points in series.values() for _, value in points)
    drawing = Drawing(title)
    ticks = steps(highest)
    low, high = math.log(xs[0]), math.log(xs[-1])
    across, down = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def at(x, y):
        part = 0.5 if high == low else (math.log(x) - low) / (high - low)
        return LEFT + part * across, TOP + down - y / ticks[-1] * down

    for tick in ticks:
        y = at(xs[0], tick)[1]
        drawing.line(LEFT, y, LEFT + across, y)
        drawing.text(LEFT - 8, y + 4, show_number(tick), "end")
    for x in xs:
        drawing.text(at(x, 0)[0], TOP + down + 18, x_name(x), "middle")
    drawing.text(LEFT, TOP - 6, unit, look="dim")
    drawing.text(LEFT + across / 2, HEIGHT - 8, x_unit, "middle", look="dim")
    # Names stand at the right ends of their lines, and never on each other.
    ends = sorted((at(*points[-1])[1], name) for name, points in series.items())
    lowest = -math.inf
    for y, name in ends:
        lowest = max(y, lowest + 15)
        drawing.text(LEFT + across + 12, lowest + 4, name, look=f"name {name}")
    for name, points in series.items():
        drawing.path([at(*point) for point in points], name)
        for point in points:
            drawing.mark(*at(*point), name)
    drawing.write(path)


def draw_ratios(path, summary, base, rounds):
    """CPU of each contender over that of the base: median, and the whole spread over rounds."""
    rows = []
    for workload in [name for name in HEADLINES if name in summary] or summary:
        cells = summary[workload]
        row = [(name, cells[name]["cpu"]) for name in COMPARED
               if name != base and "ratio" in cells.get(name, {}).get("cpu", {})]
        if row:
            rows.append((workload, row))
    if not rows:
        return
    left, line = 150, 30
    height = TOP + line * len(rows) + 56
    drawing = Drawing(f"CPU time against {base}: median of {rounds} rounds, and spread",
                      height=height)
    highest = min(4.0, max(cell["ratio"] for _, row in rows for _, cell in row) * 1.15)
    ticks = steps(max(1.2, highest))
    across = WIDTH - left - 40

    def at(value):
        return left + min(value, ticks[-1]) / ticks[-1] * across

    bottom = TOP + line * len(rows)
    for tick in ticks:
        drawing.line(at(tick), TOP, at(tick), bottom)
        drawing.text(at(tick), bottom + 16, show_number(tick), "middle")
    drawing.line(at(1), TOP, at(1), bottom, "axis")
    for index, (workload, row) in enumerate(rows):
        middle = TOP + line * (index + 0.5)
        drawing.text(left - 10, middle + 4, workload, "end")
        for place, (name, cell) in enumerate(row):
            y = middle + (place - (len(row) - 1) / 2) * 8
            drawing.line(at(cell["low"]), y, at(cell["high"]), y, f"line {name}")
            drawing.mark(at(cell["ratio"]), y, name)
            if cell["ratio"] > ticks[-1]:
                drawing.text(at(cell["ratio"]) + 8, y + 4, show_number(cell["ratio"]))
    names = list(dict.fromkeys(name for _, row in rows for name, _ in row))
    for index, name in enumerate(names):
        drawing.mark(left + 110 * index, height - 16, name)
        drawing.text(left + 110 * index + 10, height - 12, name, look=f"name {name}")
    drawing.text(WIDTH - 40, TOP - 6, f"left of 1: less than {base}", "end", look="dim")
    drawing.write(path)


def over(summary, pattern, metric):
    """{contender: [(number in the workload's name, median)]} of the workloads that match."""
    series = {}
    for workload, cells in summary.items():
        found = re.fullmatch(pattern, workload)
        for name, cell in cells.items() if found else ():
            if name in LOOKS and metric in (cell or {}):
                text = found.group(1)
                x = int(text[:-1]) * 1024 if text.endswith("k") else int(text)
                value = cell[metric]["median"] if isinstance(cell[metric], dict) else cell[metric]
                series.setdefault(name, []).append((x, value))
    return {name: sorted(points) for name, points in series.items() if len(points) > 1}


def show_bytes(x):
    return f"{x} B" if x < 1024 else f"{x // 1024} KiB"


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    source = Path(sys.argv[1])
    target = Path(sys.argv[2]) if len(sys.argv) == 3 else source.parent
    results = json.loads(source.read_text())
    summary, facts = results["summary"], results["environment"]
    # A file of several groups may end with one that has another base.
    groups = [group["base"] for group in results.get("groups", {}).values()]
    base = max(set(groups), key=groups.count) if groups else facts["base"]
    draw_ratios(target / "ratios.svg", summary, base, facts["rounds"])
    for name, title, unit, x_unit, series, x_name in (
            ("connections", "Round trips of 64 B", "CPU µs per round trip", "connections",
             over(summary, r"rtt-64-(\d+)", "cpu"), show_number),
            ("sizes", "Round trips on 64 connections", "CPU µs per round trip", "message size",
             over(summary, r"rtt-(\d+k?)-64", "cpu"), show_bytes),
            ("streams", "Bulk, client to server", "CPU seconds per GB", "streams",
             over(summary, r"bulk-up-(\d+)", "cpu"), show_number),
            ("memory", "Idle connections", "KiB of user-space memory each", "connections",
             over(results["idle"], r"idle-(\d+)", "private"), show_number)):
        if series:
            draw_lines(target / f"{name}.svg", title, unit, x_unit, series, x_name)


if __name__ == "__main__":
    main()
