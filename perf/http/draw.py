"""Draws the result of measure.py: tables in Markdown, and the overload curve as a picture.

    draw.py RESULT.json OUTPUT      writes OUTPUT.md and, where there is a curve, OUTPUT.png
"""

import json
import statistics
import sys


def table(out, names, rows):
    print("| " + " | ".join(names) + " |\n" + "|---" * len(names) + "|", file=out)
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |", file=out)
    print(file=out)


def middle(rows, name):
    return statistics.median(row[name] for row in rows)


def write_layer(rows, out):
    lines = []
    for kind in dict.fromkeys(row["kind"] for row in rows):
        for program in ("libmicrohttpd", "distild"):
            found = [row for row in rows if (row["kind"], row["program"]) == (kind, program)]
            lines.append((kind, program, f"{middle(found, 'per_second') or middle(found, 'answered') / found[0]['seconds']:.0f}",
                          f"{middle(found, 'server_us'):.2f}", f"{middle(found, 'p99_ms'):.2f}"))
    print("HTTP without inference: one thread on one core, 64 connections, the load on another core\n", file=out)
    table(out, ("requests", "program", "requests/s", "CPU us a request", "p99 ms"), lines)


def write_cost(rows, out):
    lines = []
    for model in dict.fromkeys(row["model"] for row in rows):
        found = [row for row in rows if row["model"] == model]
        library, server = middle(found, "library_us"), middle(found, "server_us")
        lines.append((model, f"{library:.0f}", f"{server:.0f}", f"{(server / library - 1) * 100:+.1f}%",
                      f"{middle(found, 'per_second'):.0f}"))
    print("CPU time of a text at saturation, 64 connections\n", file=out)
    table(out, ("model", "library alone, us", "server, us", "more", "requests/s"), lines)


def write_floor(rows, out):
    lines = []
    for model, connections in dict.fromkeys((row["model"], row["connections"]) for row in rows):
        found = [row for row in rows if (row["model"], row["connections"]) == (model, connections)]
        lines.append((model, connections, f"{middle(found, 'rate'):.0f}", f"{middle(found, 'bare_us'):.1f}", f"{middle(found, 'beside'):.0f}"))
    print("CPU time of a request answered by libmicrohttpd alone, beside a server that computes\n", file=out)
    table(out, ("model", "connections", "requests/s", "us", "computed beside, requests/s"), lines)


def write_matrix(rows, out):
    table(out, ("model", "texts", "connections", "requests/s", "p50 ms", "p99 ms", "p99.9 ms", "server CPU s", "load CPU s"),
          [(row["model"], row["texts"], row["connections"], f"{row['per_second']:.0f}", *(f"{row[name]:.1f}" for name in (
              "p50_ms", "p99_ms", "p999_ms", "server_cpu_seconds", "cpu_seconds"))) for row in rows])


def medians(rows):
    """The rounds of each model and factor as one row: the middle of each figure, the worst of health."""
    found = []
    for model, factor in dict.fromkeys((row["model"], row["factor"]) for row in rows):
        same = [row for row in rows if (row["model"], row["factor"]) == (model, factor)]
        found.append({"model": model, "factor": factor, "health_max_ms": max(row["health_max_ms"] for row in same),
                      "load_cores": statistics.median(row["measured_cpu_seconds"] / row["seconds"] for row in same),
                      **{name: middle(same, name) for name in (
                          "rate", "per_second", "computing_cores", "http_cores", "other_cores", "corrected", "peak", "of_peak", "of_share", "p50_ms",
                          "p99_ms", "health_p99_ms")}})
    return found


def write_overload(rows, out):
    cores = ("computing", "HTTP", "load", "others")
    table(out, ("model", "load", "offered/s", "answered 200/s", *(f"{name}, cores" for name in cores), "corrected/s",
                "closed loop, corrected/s", "of that", "computing, of the closed loop", "p50 ms", "p99 ms", "health p99 ms", "health max ms"),
          [(row["model"], f"{row['factor']:g}x", f"{row['rate']:.0f}", f"{row['per_second']:.0f}",
            *(f"{row[name]:.2f}" for name in ("computing_cores", "http_cores", "load_cores", "other_cores")),
            f"{row['corrected']:.0f}", f"{row['peak']:.0f}", f"{row['of_peak']:.0%}", f"{row['of_share']:.0%}",
            *(f"{row[name]:.1f}" for name in ("p50_ms", "p99_ms", "health_p99_ms", "health_max_ms"))) for row in medians(rows)])


def sharing(result):
    return "server on {}, load on {}".format(*result["apart"]) if result.get("apart") else "with the load on them too"


def draw(result, path):
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    figure, (rate, latency) = plt.subplots(2, 1, figsize=(10, 7), sharex=True)
    overload = medians(result["overload"])
    for index, model in enumerate(dict.fromkeys(row["model"] for row in overload)):
        color = f"C{index}"
        rows = [row for row in overload if row["model"] == model]
        factors = [row["factor"] for row in rows]
        rate.plot(factors, [row["per_second"] for row in rows], "o-", color=color, label=f"{model}: answered 200")
        rate.plot(factors, [row["corrected"] for row in rows], "s--", color=color, fillstyle="none",
                  label=f"{model}: had the load its own cores")
        rate.plot(factors, [row["rate"] for row in rows], ":", color=color, alpha=0.6, label=f"{model}: offered")
        latency.plot(factors, [row["p99_ms"] for row in rows], "o-", color=color, label=f"{model}: p99 of those")
        latency.plot(factors, [row["p50_ms"] for row in rows], "o--", color=color, fillstyle="none", label=f"{model}: p50 of those")
        latency.plot(factors, [row["health_p99_ms"] for row in rows], "s:", color=color, label=f"{model}: p99 of GET /health")
    rate.set_ylim(0, 1.3 * max(row["corrected"] for row in overload))
    rate.set_ylabel("requests/s")
    latency.set_ylabel("ms from the intended time")
    latency.set_yscale("log")
    latency.set_xscale("log")
    latency.set_xticks(factors, [f"{factor:g}x" for factor in factors])
    latency.minorticks_off()
    latency.set_xlabel("load, of what the server sustains")
    rate.set_title(f"{result['cpu']}, {result['cores']} cores, {sharing(result)}", fontsize=10)
    for axis in (rate, latency):
        axis.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
        axis.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main():
    source, output = sys.argv[1:3]
    with open(source, encoding="utf-8") as file:
        result = json.load(file)
    with open(f"{output}.md", "w", encoding="utf-8") as out:
        print(f"{result['cpu']}, {result['cores']} cores.\n", file=out)
        for part, write in (("layer", write_layer), ("cost", write_cost), ("matrix", write_matrix), ("floor", write_floor), ("overload", write_overload)):
            if part in result:
                write(result[part], out)
    if "overload" in result:
        draw(result, f"{output}.png")


if __name__ == "__main__":
    main()
