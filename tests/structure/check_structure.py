#!/usr/bin/env python3
"""Checks what the compiler does not: the floors, the headers, and the text of the project.

  check_structure.py SOURCE_DIR [--cc CC] [--cxx CXX] [--objects BUILD_DIR]

  - no include edge runs upward: kernels < weights < engine < server < tools
  - only kernels/ includes cblas.h; nothing includes a .c file
  - every header compiles alone as C11, and the public ones as C++ too
  - library code neither prints nor exits, and nothing calls alloca
  - files stay short
  - no notes to self, and no paths of one machine
  - with --objects: no object file of the library has writable global data
"""

import argparse
import pathlib
import re
import subprocess
import sys

FLOORS = ["kernels", "weights", "engine", "server", "tools"]
LIBRARY = FLOORS[:4]
PUBLIC = ["weights/distil_status.h", "engine/distil.h", "engine/distil_answer.h", "engine/distil_catalogue.h"]
LONGEST_FILE = 600
INCLUDE = re.compile(r'^\s*#\s*include\s*["<]([^">]+)[">]', re.M)
COMMENT_OR_STRING = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', re.S)
PRINTS = re.compile(r"(?<![\w.>])(printf|vprintf|puts|putchar|perror|exit|_exit|quick_exit|abort)\s*\(|\b(stdout|stderr)\b")
# Spelt so that this file does not find itself.
NOTES = re.compile(r"\b(TO" r"DO|FIX" r"ME|X" r"XX)\b")
MACHINE = re.compile(r"(?<![\w.$}])/(work|root|opt)/\w|/home/\w+/")
# The one file of a floor whose job it is to write to the standard streams.
MAY_PRINT = {"server/log.c"}
TEXT = {".c", ".h", ".py", ".sh", ".cmake", ".md", ".txt", ".yml", ".yaml", ".json", ".in", ".1", ""}


def tracked(source):
    """Files of the project: what git lists, else everything outside build and hidden directories."""
    listing = subprocess.run(
        ["git", "-c", f"safe.directory={source}", "-C", str(source), "ls-files", "-z"], capture_output=True
    )
    if listing.returncode == 0 and listing.stdout:
        paths = [pathlib.Path(name) for name in listing.stdout.decode().split("\0") if name]
    else:
        paths = [p.relative_to(source) for p in source.rglob("*") if p.is_file()]
        paths = [p for p in paths if not p.parts[0].startswith(("build", ".git"))]
    return sorted(p for p in paths if (source / p).is_file())


def resolve(include, source):
    """The project's file that an include means, or None for a system header."""
    if (source / include).is_file():
        return include
    for floor in FLOORS:
        if (source / floor / include).is_file():
            return f"{floor}/{include}"
    return None


def check_includes(source, files):
    for path in files:
        if path.suffix not in (".c", ".h"):
            continue
        for include in INCLUDE.findall((source / path).read_text(encoding="utf-8")):
            target = resolve(include, source)
            if include.endswith(".c"):
                yield f"{path}: includes the source file {include}"
            if path.parts[0] not in FLOORS:
                continue
            if include.endswith("cblas.h") and path.parts[0] != "kernels":
                yield f"{path}: includes {include}, which only kernels/ may"
            if target is None:
                continue
            floor = target.split("/")[0]
            if floor not in FLOORS:
                yield f"{path}: includes {target}, which is outside the floors"
            elif FLOORS.index(floor) > FLOORS.index(path.parts[0]):
                yield f"{path}: includes {target}, a floor above its own"


def blank(match):
    return re.sub(r"[^\n]", " ", match.group())


def check_code(source, files):
    for path in files:
        if path.suffix not in (".c", ".h") or path.parts[0] not in FLOORS:
            continue
        text = (source / path).read_text(encoding="utf-8")
        lines = text.count("\n")
        if lines > LONGEST_FILE:
            yield f"{path}: {lines} lines, at most {LONGEST_FILE} expected"
        code = COMMENT_OR_STRING.sub(blank, text)
        for number, line in enumerate(code.split("\n"), 1):
            if re.search(r"\balloca\s*\(", line):
                yield f"{path}:{number}: calls alloca"
            found = PRINTS.search(line)
            if found and path.parts[0] in LIBRARY and str(path) not in MAY_PRINT:
                yield f"{path}:{number}: library code uses {found.group().strip('( ')}"


def check_text(source, files):
    for path in files:
        if path.suffix not in TEXT or path.parts[:2] == ("tests", "golden") and path.suffix == ".json":
            continue
        for number, line in enumerate((source / path).read_text(encoding="utf-8", errors="replace").split("\n"), 1):
            for pattern in (NOTES, MACHINE):
                found = pattern.search(line)
                if found:
                    yield f"{path}:{number}: '{found.group()}' does not belong here"


def compile_alone(source, compiler, language, header):
    flags = ["-D_GNU_SOURCE", "-Wall", "-Wextra", "-Wpedantic", "-Werror", f"-I{source}", f"-I{source}/weights"]
    return subprocess.run(
        [*compiler.split(), f"-std={language}", *flags, "-fsyntax-only", "-x", "c++" if "++" in language else "c", "-"],
        input=f'#include "{header}"\nint main(void);\n', capture_output=True, text=True, cwd=source,
    )


def check_headers(source, files, cc, cxx):
    for path in files:
        if path.suffix != ".h" or path.parts[0] not in FLOORS:
            continue
        text = (source / path).read_text(encoding="utf-8")
        if "immintrin.h" in text or "arm_neon.h" in text:  # compiles with the flags of its instruction set only
            continue
        jobs = [(cc, "c11")] + ([(cxx, "c++17")] if str(path) in PUBLIC else [])
        for compiler, language in jobs:
            result = compile_alone(source, compiler, language, path)
            if result.returncode:
                yield f"{path}: does not compile alone as {language}:\n{result.stderr.strip()}"
    for header in PUBLIC:
        if pathlib.Path(header) not in files:
            yield f"{header}: missing"


def check_globals(objects):
    """Writable data of the library's objects, by the section that each symbol stands in."""
    found_any = False
    for floor in LIBRARY:
        for path in sorted((objects / floor).rglob("*.o")):
            found_any = True
            sections, symbols = {}, []
            listing = subprocess.run(["readelf", "-SsW", str(path)], capture_output=True, text=True, check=True).stdout
            for line in listing.split("\n"):
                section = re.match(r"\s*\[\s*(\d+)\]\s+(\S+)", line)
                symbol = re.match(r"\s*\d+:\s+\S+\s+(\d+)\s+OBJECT\s+\S+\s+\S+\s+(\d+)\s+(\S+)", line)
                if section:
                    sections[section.group(1)] = section.group(2)
                elif symbol:
                    symbols.append(symbol.groups())
            for size, section, name in symbols:
                place = sections.get(section, "")
                if size != "0" and re.match(r"\.(data|bss|tdata|tbss)(?!\.rel\.ro)", place):
                    yield f"{path.relative_to(objects)}: '{name}' is writable global data ({place})"
    if not found_any:
        yield f"{objects}: no object files of the library"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("source", type=pathlib.Path)
    parser.add_argument("--cc", default="cc")
    parser.add_argument("--cxx", default="c++")
    parser.add_argument("--objects", type=pathlib.Path)
    arguments = parser.parse_args()
    source = arguments.source.resolve()
    files = tracked(source)
    problems = [
        *check_includes(source, files),
        *check_code(source, files),
        *check_text(source, files),
        *check_headers(source, files, arguments.cc, arguments.cxx),
        *(check_globals(arguments.objects) if arguments.objects else []),
    ]
    for problem in problems:
        print(problem)
    print(f"{len(files)} files, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
