"""Draws the result of peers.py: a table in Markdown and a picture.

    draw.py RESULT.json OUTPUT      writes OUTPUT.md and OUTPUT.png
"""

import json
import sys

import matplotlib
matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402  (after the backend is chosen)

from cells import MIX_WAYS, NAMES  # noqa: E402
from peers import CLASSES  # noqa: E402


def times(rows, threads, statistic="median_ms"):
    """{program: {cell: ms}}, with a peer's best way through the mixed texts as mix32."""
    table = {}
    for row in rows:
        if row["threads"] == threads:
            cell = "mix32" if row["cell"] in MIX_WAYS else row["cell"]
            cells = table.setdefault(row["program"], {})
            cells[cell] = min(cells.get(cell, float("inf")), row[statistic])
    return table


def classes_of(table):
    for name, peers in CLASSES.items():
        ours, found = f"distild {name}", [peer for peer in peers if peer in table]
        if ours in table and found:
            yield name, ours, found


def ratios(table, ours, peers, cells):
    return [min(table[peer][cell] for peer in peers) / table[ours][cell] for cell in cells]


def write_table(result, path):
    with open(path, "w", encoding="utf-8") as out:
        print(f"{result['cpu']}, level {result['level']}; milliseconds, medians. "
              + ", ".join(f"{name} {version}" for name, version in result["versions"].items()) + ".", file=out)
        for threads in sorted({row["threads"] for row in result["rows"]}):
            table, least = times(result["rows"], threads), times(result["rows"], threads, "min_ms")
            cells = [name for name in NAMES if all(name in cells for cells in table.values())]
            print(f"\n| {threads} thread{'s' * (threads > 1)} | " + " | ".join(cells) + " |", file=out)
            print("|---" * (len(cells) + 1) + "|", file=out)
            for name, ours, peers in classes_of(table):
                for program in peers + [ours]:
                    print(f"| {program} | " + " | ".join(f"{table[program][cell]:.2f}" for cell in cells) + " |", file=out)
                print(f"| **best {name} peer / distild** | "
                      + " | ".join(f"**{ratio:.2f}**" for ratio in ratios(table, ours, peers, cells)) + " |", file=out)
                print("| the same of the least times | "
                      + " | ".join(f"{ratio:.2f}" for ratio in ratios(least, ours, peers, cells)) + " |", file=out)


def draw(result, path):
    counts = sorted({row["threads"] for row in result["rows"]})
    figure, axes = plt.subplots(len(counts), 1, figsize=(10, 3.6 * len(counts)), squeeze=False)
    for threads, axis in zip(counts, axes[:, 0]):
        table = times(result["rows"], threads)
        cells = [name for name in NAMES if all(name in cells for cells in table.values())]
        found = list(classes_of(table))
        for index, (name, ours, peers) in enumerate(found):
            width = 0.8 / len(found)
            places = [i - 0.4 + (index + 0.5) * width for i in range(len(cells))]
            bars = axis.bar(places, ratios(table, ours, peers, cells), width, label=name)
            axis.bar_label(bars, fmt="%.1f", fontsize=7)
        axis.axhline(1, color="black", linewidth=0.8)
        axis.set_xticks(range(len(cells)), cells)
        axis.set_ylabel("best peer's time / distild's")
        axis.set_title(f"{threads} thread{'s' * (threads > 1)}, {result['cpu']}", fontsize=10)
        axis.legend(title="precision", loc="upper left", bbox_to_anchor=(1, 1))
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main():
    source, output = sys.argv[1:3]
    with open(source, encoding="utf-8") as file:
        result = json.load(file)
    write_table(result, f"{output}.md")
    draw(result, f"{output}.png")


if __name__ == "__main__":
    main()
