#!/usr/bin/env python3
"""Draws bench/plots/*.svg from the CSV files that the benchmarks write (`--csv FILE`). Python's own library is enough.

    bench/plot.py figures.csv [more.csv ...] [--out DIR]

One picture for each program and kind of figure: for each row a pair of bars, covey's and the peer's, with the ratio. Rows that
say "... at 100 peers" become lines over the number of peers. Of the same row measured several times the last counts.
"""
import csv
import html
import math
import os
import re
import sys

OURS, PEER, GOAL, TEXT, FAINT = "#2b6cb0", "#a0aec0", "#c53030", "#1a202c", "#718096"
WIDTH, LABELS, RIGHT, BAR, GAP, HEAD = 860, 340, 150, 13, 14, 62


def number(value):
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def label_of(row):
    threads = int(row["threads"])
    return f'{row["benchmark"]}, {threads} thread{"s" if threads > 1 else ""}, {row["compiler"]}'


def goal_value(row):
    """The goal on the axis, or None."""
    parts = row["goal"].split()
    if len(parts) < 2:
        return None
    limit = float(parts[1])
    return limit * float(row["peer"]) if parts[-1] == "x" else limit


def draw(title, rows):
    unit = rows[0]["unit"]
    has_peer = any(float(r["peer"]) > 0 for r in rows)
    values = [float(r[k]) for r in rows for k in ("covey", "peer")] + [goal_value(r) or 0 for r in rows]
    largest = max(values) or 1
    # Where the figures are of very different sizes, only their logarithms can be seen beside each other.
    small = min((v for v in values if v > 0), default=1)
    logarithmic = largest / small > 200
    floor = 10 ** math.floor(math.log10(small) - 0.3) if logarithmic else 0

    def x(value):
        span = WIDTH - LABELS - RIGHT
        if not logarithmic:
            return LABELS + span * value / largest
        return LABELS + span * math.log(max(value, floor) / floor) / math.log(largest / floor)

    per_row = (2 if has_peer else 1) * BAR + GAP
    height = HEAD + len(rows) * per_row + 14
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        'font-family="sans-serif" font-size="11">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        f'<text x="12" y="22" font-size="15" fill="{TEXT}">{html.escape(title)}'
        f'{" (" + html.escape(unit) + ")" if unit else ""}</text>',
    ]
    peers = ", ".join(sorted({r["peer_name"] for r in rows if r["peer_name"]}))
    legend = [(OURS, "covey")] + ([(PEER, peers)] if has_peer else []) + [(GOAL, "goal")]
    left = 12
    for colour, name in legend:
        out.append(f'<rect x="{left}" y="34" width="10" height="10" fill="{colour}"/>')
        out.append(f'<text x="{left + 14}" y="43" fill="{TEXT}">{html.escape(name)}</text>')
        left += 40 + 7 * len(name)
    if logarithmic:
        out.append(f'<text x="{left}" y="43" fill="{FAINT}">logarithmic</text>')
    y = HEAD
    for row in rows:
        ours, peer, goal = float(row["covey"]), float(row["peer"]), goal_value(row)
        middle = y + (per_row - GAP) / 2 + 4
        out.append(f'<text x="{LABELS - 8}" y="{middle:.1f}" text-anchor="end" fill="{TEXT}">{html.escape(label_of(row))}</text>')
        for colour, value, top in ((OURS, ours, y), (PEER, peer, y + BAR)):
            if colour == PEER and peer <= 0:
                continue
            out.append(f'<rect x="{LABELS}" y="{top}" width="{max(0.5, x(value) - LABELS):.1f}" height="{BAR - 1}" fill="{colour}"/>')
            note = number(value)
            if colour == OURS and peer > 0:
                note += f" ({ours / peer:.2f} x)"
            out.append(f'<text x="{x(value) + 4:.1f}" y="{top + BAR - 3}" fill="{TEXT}">{note}</text>')
        if goal is not None:
            line = x(goal)
            out.append(f'<line x1="{line:.1f}" x2="{line:.1f}" y1="{y - 2}" y2="{y + BAR + 1}" stroke="{GOAL}" stroke-width="2"/>')
        y += per_row
    out.append("</svg>")
    return "\n".join(out) + "\n"


COLOURS = ["#2b6cb0", "#c05621", "#2f855a", "#805ad5", "#b7791f", "#319795", "#d53f8c", "#4a5568", "#702459", "#1a365d"]
AT_PEERS = re.compile(r"(.*) at (\d+) peers$")


def decades(low, high):
    """Powers of ten that enclose both, as exponents."""
    first = math.floor(math.log10(low) + 1e-9)
    return range(first, max(math.ceil(math.log10(high) - 1e-9), first + 1) + 1)


def draw_lines(title, rows):
    """Rows "NAME at N peers": for each NAME a line over N, both axes logarithmic; dashes are goals."""
    unit = rows[0]["unit"]
    lines = {}
    for row in rows:
        name, peers = AT_PEERS.match(row["benchmark"]).groups()
        value = float(row["covey"])
        if value > 0:
            lines.setdefault(name, []).append((int(peers), value, goal_value(row)))
    height, left, bottom, right = 430, 70, 390, 520
    points = [p for line in lines.values() for p in line]
    across = decades(min(p[0] for p in points), max(p[0] for p in points))
    up = decades(min(p[1] for p in points), max(max(p[1], p[2] or 0) for p in points))

    def x(peers):
        return left + (right - left) * (math.log10(peers) - across[0]) / (across[-1] - across[0])

    def y(value):
        return bottom - (bottom - 50) * (math.log10(value) - up[0]) / (up[-1] - up[0])

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        'font-family="sans-serif" font-size="11">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        f'<text x="12" y="22" font-size="15" fill="{TEXT}">{html.escape(title)} ({html.escape(unit)})</text>',
    ]
    for exponent in across:
        at = x(10**exponent)
        out.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="50" y2="{bottom}" stroke="#e2e8f0"/>')
        out.append(f'<text x="{at:.1f}" y="{bottom + 16}" text-anchor="middle" fill="{FAINT}">{10**exponent:,}</text>')
    out.append(f'<text x="{(left + right) / 2}" y="{bottom + 32}" text-anchor="middle" fill="{FAINT}">peers</text>')
    for exponent in up:
        at = y(10**exponent)
        out.append(f'<line x1="{left}" x2="{right}" y1="{at:.1f}" y2="{at:.1f}" stroke="#e2e8f0"/>')
        out.append(f'<text x="{left - 8}" y="{at + 4:.1f}" text-anchor="end" fill="{FAINT}">{number(10.0**exponent)}</text>')
    for i, (name, line) in enumerate(sorted(lines.items(), key=lambda l: -max(l[1])[1])):
        colour = COLOURS[i % len(COLOURS)]
        line.sort()
        path = " ".join(f"{x(n):.1f},{y(v):.1f}" for n, v, _ in line)
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for n, v, goal in line:
            out.append(f'<circle cx="{x(n):.1f}" cy="{y(v):.1f}" r="2.5" fill="{colour}"/>')
            if goal:
                out.append(f'<line x1="{x(n) - 7:.1f}" x2="{x(n) + 7:.1f}" y1="{y(goal):.1f}" y2="{y(goal):.1f}" stroke="{colour}" '
                           'stroke-width="2" stroke-dasharray="3 2"/>')
        at = 58 + 20 * i
        out.append(f'<rect x="{right + 16}" y="{at - 9}" width="10" height="10" fill="{colour}"/>')
        out.append(f'<text x="{right + 32}" y="{at}" fill="{TEXT}">{html.escape(name)}</text>')
    out.append(f'<text x="{right + 16}" y="{58 + 20 * len(lines)}" fill="{FAINT}">dashes: goals; medians</text>')
    out.append("</svg>")
    return "\n".join(out) + "\n"


def main(arguments):
    here = os.path.dirname(os.path.abspath(__file__))
    target = os.path.join(here, "plots")
    if "--out" in arguments:
        at = arguments.index("--out")
        target = arguments[at + 1]
        del arguments[at : at + 2]
    if not arguments:
        sys.exit(__doc__)
    latest = {}
    for name in arguments:
        with open(name, newline="") as file:
            for row in csv.DictReader(file):
                latest[row["program"], row["benchmark"], row["threads"], row["compiler"]] = row
    pictures = {}
    for row in latest.values():
        pictures.setdefault((row["program"], row["unit"]), []).append(row)
    os.makedirs(target, exist_ok=True)
    names = {"ms": "time", "ns": "time", "s": "time", "MiB": "memory", "MB": "memory", "us": "latency", "calls/s": "rate",
             "": "counts", "1/s": "switches", "B/s": "traffic", "%": "percent"}
    for (program, unit), rows in pictures.items():
        if all(float(r["covey"]) == 0 for r in rows):
            continue
        # Rows that a program prints together stay together: by name, then by threads, then by compiler.
        order = {}
        for row in rows:
            order.setdefault(row["benchmark"], len(order))
        rows.sort(key=lambda r: (order[r["benchmark"]], int(r["threads"]), r["compiler"]))
        kind = names.get(unit, "share")
        path = os.path.join(target, f"{program}_{kind}.svg")
        with open(path, "w") as file:
            is_line = all(AT_PEERS.match(r["benchmark"]) for r in rows)
            file.write((draw_lines if is_line else draw)(f"{program}: {kind}", rows))
        print(path)


if __name__ == "__main__":
    main(sys.argv[1:])
