"""Measures a server over HTTP with perf_load; see run.sh.

    measure.py BUILD OUTPUT.json [--parts layer,cost,matrix,floor,overload] [--models NAME=PATH,...] [--tsv FILE] [--seconds S] [--factors F,...]
               [--rounds N] [--server-cpus LIST --load-cpus LIST]

Server and load share the machine. For the HTTP layer alone each has a core of its own, and under an overload cores of their own where
they are given; elsewhere the kernel shares the cores out, and what the generator took of them stands beside each figure. Under an overload the generator waits its turn (SCHED_BATCH): where
it interrupted the computation for each request that is due, and for each answer, the server would pay for what a user's machine does.
"""

import argparse
import json
import os
import pathlib
import re
import resource
import socket
import subprocess
import tempfile
import threading
import time
import urllib.request

CONCURRENCY = (1, 8, 64, 512)
OPEN_CONNECTIONS = 2000
TICK = 1  # milliseconds, between looks of an overload's generator at what is due and what has come: it costs less so
MIXED = "5-250"  # words
FILLING = 4  # seconds in which the queue fills before anything is measured
EMPTY = '{"text":""}'  # parsed, routed, and refused before the model


class Server:
    def __init__(self, build, *options, core=None, **variables):
        self.state = tempfile.TemporaryDirectory(prefix="distild-state-")
        self.process = subprocess.Popen([*pin(core), str(build / "distild"), "serve", "--port", "0", "--state-dir", self.state.name,
                                         *options],
                                        stderr=subprocess.PIPE, text=True, env={**os.environ, **variables})
        line = ""
        for line in self.process.stderr:
            found = re.search(r"listening on http://127\.0\.0\.1:(\d+) \((.*)\)", line)
            if found:
                self.port, self.what = int(found.group(1)), found.group(2)
                threading.Thread(target=lambda: [None for _ in self.process.stderr], daemon=True).start()
                return
        raise SystemExit("the server did not start: " + line)

    def value(self, name):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics") as page:
            return float(re.search(rf"^{name} (\S+)$", page.read().decode(), re.M).group(1))

    def stop(self):
        self.process.terminate()
        self.process.wait(60)
        self.state.cleanup()


def pin(core):
    return [] if core is None else ["taskset", "-c", str(core)]


def load(build, port, *options, core=None, yields=False):
    policy = ["chrt", "--batch", "0"] if yields else []
    done = subprocess.run([*policy, *pin(core), str(build / "perf" / "perf_load"), "--port", str(port), *map(str, options)],
                          capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def busy_seconds():
    """CPU time that the machine has spent on anything, its host's share included."""
    with open("/proc/stat", encoding="ascii") as file:
        user, nice, system, _, _, irq, softirq, steal = map(int, file.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def with_cpu(server, run):
    """What run returns, with the CPU time that the server took meanwhile, and the cores that something else kept busy."""
    before, busy, began = server.value("process_cpu_seconds_total"), busy_seconds(), time.monotonic()
    result = run()
    result["server_cpu_seconds"] = server.value("process_cpu_seconds_total") - before
    others = busy_seconds() - busy - result["server_cpu_seconds"] - result["cpu_seconds"]
    result["other_cores"] = max(others / (time.monotonic() - began), 0)
    return result


def measure_layer(build, seconds, rounds=3):
    """Requests without inference beside libmicrohttpd alone, on one core each, with the load on another."""
    own, other = 0, min(1, os.cpu_count() - 1)
    rows = []
    kinds = {"GET /health": ("--method", "GET", "--path", "/health"), "POST, parsed and refused": ("--body", EMPTY)}
    for _ in range(rounds):
        for kind, options in kinds.items():
            server = Server(build, "--http-threads", "1", core=own)
            row = with_cpu(server, lambda: load(build, server.port, "--connections", 64, "--seconds", seconds, "--warm-up", 0,
                                                *options, core=other))
            server.stop()
            rows.append({"program": "distild", "kind": kind, **row})
            bare = subprocess.Popen([*pin(own), str(build / "perf" / "perf_bare"), str(server.port)], stdin=subprocess.PIPE,
                                    stdout=subprocess.PIPE, text=True)
            subprocess.run(["sleep", "0.3"], check=True)
            row = load(build, server.port, "--connections", 64, "--seconds", seconds, "--warm-up", 0, *options, core=other)
            row["server_cpu_seconds"] = float(bare.communicate("")[0])
            rows.append({"program": "libmicrohttpd", "kind": kind, **row})
    for row in rows:
        row["server_us"] = row["server_cpu_seconds"] / row["answered"] * 1e6
    return rows


def texts(tsv):
    return {"SST-2": ("--tsv", tsv), "mixed": ("--words", MIXED)} if tsv else {"mixed": ("--words", MIXED)}


def measure_matrix(build, models, tsv, seconds):
    rows = []
    for name, path in models.items():
        # a closed loop waits as long as it takes: nothing is to be shed
        server = Server(build, *(("--model", path) if path else ()), "--max-queue", "10000", "--max-queue-tokens", "10000000",
                        DISTILD_MAX_QUEUE_MS="0")
        for kind, options in texts(tsv).items():
            for connections in CONCURRENCY:
                row = with_cpu(server, lambda: load(build, server.port, "--connections", connections, "--seconds", seconds, *options))
                rows.append({"model": name, "texts": kind, **row})
                print(name, kind, connections, row["per_second"], row["p50_ms"], row["p99_ms"], row["p999_ms"], flush=True)
        server.stop()
    return rows


class Cores:
    """Which cores the server and the load have: their own, or all of them both."""

    def __init__(self, server, load):
        self.server, self.load = server, load
        self.apart = server is not None and load is not None
        self.count = cpu_count(server) if self.apart else os.cpu_count()

    def left(self, *loads):
        """Cores that loads left to the server."""
        return self.count - (0 if self.apart else sum(row["measured_cpu_seconds"] / row["seconds"] for row in loads))

    def corrected(self, row, *others):
        """What a server answers a second, per second of the cores that the load left it: as if the load had cores of its own."""
        return row["per_second"] * self.count / self.left(row, *others)


def cpu_count(cpus):
    """CPUs of a list as taskset takes it, such as 0,2-3."""
    spans = [[int(end) for end in span.split("-")] for span in cpus.split(",")]
    return sum(span[-1] - span[0] + 1 for span in spans)


def thread_seconds(process):
    """CPU time of a server's threads that speak HTTP, which run under SCHED_BATCH, and of all others, nearly all of which compute."""
    http = others = 0
    for task in (pathlib.Path("/proc") / str(process.pid) / "task").iterdir():
        seconds = int((task / "schedstat").read_text().split()[0]) / 1e9
        if os.sched_getscheduler(int(task.name)) == os.SCHED_BATCH:
            http += seconds
        else:
            others += seconds
    return http, others


def watch_threads(process, warm_up, seconds, found):
    """Adds the cores that a server's threads have while a load is measured."""
    time.sleep(warm_up + seconds / 10)
    before, began = thread_seconds(process), time.monotonic()
    time.sleep(seconds * 0.8)
    after, elapsed = thread_seconds(process), time.monotonic() - began
    found.update(http_cores=(after[0] - before[0]) / elapsed, computing_cores=(after[1] - before[1]) / elapsed)


def load_watched(build, server, cores, warm_up, seconds, *options):
    """A load that gives way to the server, with the cores that the server's threads had while it was measured."""
    found = {}
    watcher = threading.Thread(target=watch_threads, args=(server.process, warm_up, seconds, found))
    watcher.start()
    row = with_cpu(server, lambda: load(build, server.port, "--warm-up", warm_up, "--seconds", seconds, "--tick", TICK,
                                        *options, core=cores.load, yields=True))
    watcher.join()
    # of what the load left: does not change with the speed of the machine
    return {**row, **found, "share": found["computing_cores"] / cores.left(row)}


def measure_floor(build, models, tsv, seconds, rounds=3):
    """CPU time of a request that libmicrohttpd alone answers, at ten times what is sustained by a server that computes beside it: what
    refusing costs at least. Its one thread is scheduled as a server's are that speak HTTP."""
    rows = []
    options = texts(tsv).get("SST-2", ("--words", MIXED))
    for name, path in models.items():
        server = Server(build, *(("--model", path) if path else ()))
        sustained = load(build, server.port, "--connections", 64, "--seconds", seconds, *options)["per_second"]
        for connections in (OPEN_CONNECTIONS // 2, OPEN_CONNECTIONS) * rounds:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            bare = subprocess.Popen(["chrt", "--batch", "0", str(build / "perf" / "perf_bare"), str(port)], stdin=subprocess.PIPE,
                                    stdout=subprocess.PIPE, text=True)
            time.sleep(0.3)
            computed, found = {}, {}
            beside = threading.Thread(target=lambda: computed.update(
                load(build, server.port, "--connections", 64, "--seconds", seconds + 1, "--warm-up", 1, *options)))
            watcher = threading.Thread(target=watch_threads, args=(bare, 1, seconds, found))
            beside.start()
            watcher.start()
            row = load(build, port, "--connections", connections, "--rate", 10 * sustained, "--seconds", seconds, "--warm-up", 1,
                       "--tick", TICK, *options, yields=True)
            beside.join()
            watcher.join()
            bare.communicate("")
            rows.append({"model": name, "bare_us": found["http_cores"] / row["per_second"] * 1e6, "beside": computed["per_second"], **row})
            print(name, connections, row["rate"], rows[-1]["bare_us"], rows[-1]["beside"], flush=True)
        server.stop()
    return rows


def measure_overload(build, models, tsv, seconds, factors, cores, rounds=3):
    """Open loops, each between two closed ones that show what is sustained then: the speed of a shared machine changes by itself."""
    rows = []
    options = texts(tsv).get("SST-2", ("--words", MIXED))
    for name, path in models.items():
        server = Server(build, *(("--model", path) if path else ()), core=cores.server)

        def closed():
            return load_watched(build, server, cores, 1, seconds, "--connections", 64, *options)

        before = closed()
        sustained = before["per_second"]
        for _ in range(rounds):
            for factor in factors:
                health = {}
                watch = threading.Thread(target=lambda: health.update(
                    load(build, server.port, "--connections", 4, "--rate", 20, "--seconds", seconds, "--warm-up", FILLING,
                         "--method", "GET", "--path", "/health", core=cores.load)))
                watch.start()
                row = load_watched(build, server, cores, FILLING, seconds, "--connections", OPEN_CONNECTIONS, "--rate", factor * sustained,
                                   *options)
                watch.join()
                after = closed()
                peak = (cores.corrected(before) + cores.corrected(after)) / 2
                rows.append({"model": name, "factor": factor, "sustained": sustained, "health_p99_ms": health["p99_ms"],
                             "health_max_ms": health["max_ms"], "corrected": cores.corrected(row, health), "peak": peak,
                             "of_peak": cores.corrected(row, health) / peak, "of_share": 2 * row["share"] / (before["share"] + after["share"]), **row})
                print(name, factor, row["per_second"], rows[-1]["corrected"], f"{rows[-1]['of_peak']:.1%}", f"{rows[-1]['of_share']:.1%}",
                      row["other_cores"], row["p99_ms"], health["p99_ms"], row["by_status"], flush=True)
                before = after
        server.stop()
    return rows


def evaluate_cpu(build, model, path):
    """CPU seconds that the library takes for the texts of a file, 32 at a time, and for opening the model."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([str(build / "distild"), "evaluate", path, "--output", "-", *(("--model", model) if model else ())],
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure_cost(build, models, tsv, seconds, rounds=3):
    """CPU time of a text of the file at saturation, through the server and through the library alone."""
    rows = []
    with open(tsv, encoding="utf-8") as file, tempfile.NamedTemporaryFile("w", suffix=".tsv", encoding="utf-8") as single:
        lines = file.readlines()
        single.writelines(lines[:2])
        single.flush()
        for name, path in models.items():
            for _ in range(rounds):
                alone = (evaluate_cpu(build, path, tsv) - evaluate_cpu(build, path, single.name)) / (len(lines) - 2)
                server = Server(build, *(("--model", path) if path else ()))
                row = with_cpu(server, lambda: load(build, server.port, "--connections", 64, "--seconds", seconds, "--warm-up", 0,
                                                    "--tsv", tsv))
                server.stop()
                rows.append({"model": name, "library_us": alone * 1e6, "server_us": row["server_cpu_seconds"] / row["answered"] * 1e6,
                             **row})
                print(name, rows[-1]["library_us"], rows[-1]["server_us"], row["per_second"], flush=True)
    return rows


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--parts", default="layer,cost,matrix,floor,overload")
    parser.add_argument("--models", default="bundled=")
    parser.add_argument("--tsv")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--factors", default="0.5,0.8,1,1.5,2,5,10")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--server-cpus", metavar="LIST")
    parser.add_argument("--load-cpus", metavar="LIST")
    options = parser.parse_args()
    if (options.server_cpus is None) != (options.load_cpus is None):
        parser.error("--server-cpus and --load-cpus go together")
    models = dict(item.split("=", 1) for item in options.models.split(","))
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        cpu = re.search(r"model name\s*:\s*(.*)", file.read())
    result = json.loads(options.output.read_text()) if options.output.exists() else {}
    result.update(cpu=cpu.group(1) if cpu else "?", cores=os.cpu_count())
    for part in options.parts.split(","):
        if part == "layer":
            result[part] = measure_layer(options.build, options.seconds)
        elif part == "overload":
            factors = [float(factor) for factor in options.factors.split(",")]
            result[part] = measure_overload(options.build, models, options.tsv, options.seconds, factors,
                                            Cores(options.server_cpus, options.load_cpus), options.rounds)
            result["apart"] = [options.server_cpus, options.load_cpus] if options.server_cpus else None
        else:
            measure = {"cost": measure_cost, "matrix": measure_matrix, "floor": measure_floor}[part]
            result[part] = measure(options.build, models, options.tsv, options.seconds)
        options.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
