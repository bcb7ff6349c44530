"""Times distild and its peers alternating in one run, over every cell of cells.py.

    peers.py DIRECTORY DISTILD [--threads 1,2] [--classes fp32,bf16,int8] [--cpu LEVEL] [--cells 1x16,...]
             [--rounds N] [--seconds S] [--output FILE.json] [--add]

Every program holds its model in memory and is stopped (SIGSTOP) while another is timed, so none spins beside it. A round
gives every program the same time on the same cell; what counts is the median over all rounds, which are saved one by one, so
that a run that is cut short keeps what it has, and --add goes on with it. --cpu limits distild to a
level and, where a peer has a switch for it, the peer to the same instruction set.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys

from cells import MIX_WAYS, NAMES

HERE = os.path.dirname(os.path.abspath(__file__))
CLASSES = {
    "fp32": ["onnxruntime fp32", "onnxruntime fused fp32", "openvino fp32", "ctranslate2 fp32", "torch fp32"],
    "bf16": ["openvino bf16", "ctranslate2 bf16", "torch bf16"],
    "int8": ["onnxruntime int8", "onnxruntime fused int8", "openvino int8", "ctranslate2 int8", "torch int8"],
}
# onnxruntime has no such switch: it stays as fast as the machine is.
LIMITS = {
    "avx2": {"ONEDNN_MAX_CPU_ISA": "AVX2", "DNNL_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2",
             "CT2_FORCE_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
    "vnni": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_VNNI", "DNNL_MAX_CPU_ISA": "AVX512_CORE_VNNI"},
}


class Peer:
    """A worker process, stopped except while it is asked."""

    def __init__(self, directory, name, threads, environment):
        self.name = name
        self.process = subprocess.Popen(
            [sys.executable, os.path.join(HERE, "worker.py"), directory, name, str(threads)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env={**os.environ, **environment})
        if self.process.stdout.readline().strip() != "ready":
            raise RuntimeError(f"{name} did not start")
        self.process.send_signal(signal.SIGSTOP)

    def times(self, cell, seconds):
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.write(f"{cell} {seconds}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        self.process.send_signal(signal.SIGSTOP)
        return json.loads(answer)

    def close(self):
        self.process.kill()
        self.process.wait()


class Distild:
    def __init__(self, program, directory, precision, threads, cpu):
        self.name = f"distild {precision}"
        self.command = [program, "bench", "--model", os.path.join(directory, "hf"), "--precision", precision,
                        "--threads", str(threads), "--json", "--times"] + (["--cpu", cpu] if cpu else [])

    def times(self, cell, seconds):
        command = self.command + ["--shapes", cell, "--seconds", str(seconds)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        return json.loads(done.stdout)["times_ms"]

    def close(self):
        pass


def start(options, threads):
    programs = []
    limit = LIMITS.get(options.cpu, {})
    for name in options.classes:
        if name in options.ours:
            programs.append(Distild(options.distild, options.directory, name, threads, options.cpu))
        for peer in CLASSES[name]:
            try:
                programs.append(Peer(options.directory, peer, threads, limit))
            except RuntimeError as error:
                print(f"left out: {error}", file=sys.stderr)
    return programs


def ways(program, cell):
    """The ways a program is given a cell: distild takes mixed lengths as they are."""
    return MIX_WAYS if cell == "mix32" and isinstance(program, Peer) else [cell]


def measure(options, threads, kept, save):
    programs = start(options, threads)
    try:
        for cell in options.cells:
            for _ in range(options.rounds):
                for program in programs:
                    for way in ways(program, cell):
                        kept.setdefault((program.name, threads, way), []).extend(program.times(way, options.seconds))
                save()
            print(f"{threads} threads, {cell}: " + ", ".join(
                f"{p.name} {min(statistics.median(kept[p.name, threads, w]) for w in ways(p, cell)):.2f}" for p in programs),
                file=sys.stderr, flush=True)
    finally:
        for program in programs:
            program.close()


def cpu_name():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        lines = [line.split(":", 1)[1].strip() for line in file if line.startswith(("model name", "cpu family", "model\t"))]
    return " ".join(lines[:3])


def versions():
    from importlib.metadata import version
    return {name: version(name) for name in ("onnxruntime", "openvino", "ctranslate2", "torch", "transformers")}


def result_of(options, kept):
    rows = [{"program": program, "threads": threads, "cell": cell, "median_ms": statistics.median(times), "min_ms": min(times),
             "times_ms": times} for (program, threads, cell), times in kept.items()]
    return {"cpu": cpu_name(), "level": options.cpu or "best", "versions": versions(), "rows": rows}


def kept_before(options):
    """The times of an earlier run, which must be of the same machine, level and versions."""
    if not options.add or not os.path.exists(options.output):
        return {}
    with open(options.output, encoding="utf-8") as file:
        earlier = json.load(file)
    now = result_of(options, {})
    for field in ("cpu", "level", "versions"):
        if earlier[field] != now[field]:
            sys.exit(f"{options.output}: {field} is {earlier[field]}, here it is {now[field]}: nothing can be added to it")
    return {(row["program"], row["threads"], row["cell"]): row["times_ms"] for row in earlier["rows"]}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory")
    parser.add_argument("distild")
    comma = lambda text: text.split(",")
    parser.add_argument("--threads", type=lambda text: [int(n) for n in text.split(",")], default=[1, 2])
    parser.add_argument("--classes", type=comma, default=list(CLASSES))
    parser.add_argument("--ours", type=comma, default=list(CLASSES), help="precisions that distild is timed in")
    parser.add_argument("--cells", type=comma, default=NAMES)
    parser.add_argument("--cpu")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--output", default="peers.json")
    parser.add_argument("--add", action="store_true", help="add to the times that the output holds, instead of starting anew")
    return parser.parse_args()


def main():
    options = arguments()
    kept = kept_before(options)

    def save():
        with open(f"{options.output}.part", "w", encoding="utf-8") as file:
            json.dump(result_of(options, kept), file)
        os.replace(f"{options.output}.part", options.output)

    for threads in options.threads:
        measure(options, threads, kept, save)


if __name__ == "__main__":
    main()
