#!/usr/bin/env python3
"""Counts the instructions of a fixed forward pass, and compares with what is recorded.

    instructions.py DISTILD MODEL [--record]

Counts do not depend on what else the machine does, so a check on them does not flake; they depend on the compiler, so it is made
for the one named in instructions.txt. More than 3% above the record fails: either mend it, or, where the instructions are well
spent, record anew with --record and say why in the commit. Exits with 77 where valgrind is missing.
"""

import pathlib
import re
import shutil
import subprocess
import sys

RECORD = pathlib.Path(__file__).with_name("instructions.txt")
PRECISIONS = ["fp32", "bf16", "int8"]
TEXT = "a charming and often affecting journey"
TOLERANCE = 0.03


def count(distild, model, precision):
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=engine_forward",
               distild, "predict", TEXT, "--model", model, "--cpu", "avx2", "--precision", precision, "--threads", "1"]
    done = subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    return int(re.search(r"Collected : (\d+)", done.stderr).group(1))


def recorded():
    lines = [line.split() for line in RECORD.read_text().splitlines() if line and not line.startswith("#")]
    return {precision: int(number) for precision, number in lines}


def main():
    distild, model = sys.argv[1:3]
    if not shutil.which("valgrind"):
        print("valgrind is not installed: skipped")
        return 77
    found = {precision: count(distild, model, precision) for precision in PRECISIONS}
    if "--record" in sys.argv:
        comments = [line for line in RECORD.read_text().splitlines() if line.startswith("#")]
        RECORD.write_text("\n".join(comments + [f"{name} {number}" for name, number in found.items()]) + "\n")
        return 0
    known, failed = recorded(), False
    for precision, number in found.items():
        change = number / known[precision] - 1
        print(f"{precision}: {number} instructions, {100 * change:+.2f}% of the record")
        failed |= change > TOLERANCE
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
