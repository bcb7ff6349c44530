"""Python packages for tests that need more than Python itself."""

import os
import pathlib
import subprocess
import sys

BINARY = pathlib.Path(os.environ.get("DISTILD_BINARY_DIR", pathlib.Path(__file__).resolve().parents[2] / "build" / "release"))


def require(name, *requirements):
    """Goes on in a virtual environment of the build tree that has the packages, made where it is not there yet. Ends the program
    with 77, a skipped test, where they cannot be had."""
    folder = BINARY / "python" / name
    python = folder / "bin" / "python"
    if pathlib.Path(sys.prefix).resolve() == folder.resolve():
        return
    ready = folder / "ready"
    if not ready.exists() or ready.read_text(encoding="utf-8") != " ".join(requirements):
        commands = ([sys.executable, "-m", "venv", "--clear", str(folder)], [str(python), "-m", "pip", "install", "--quiet", *requirements])
        for command in commands:
            if subprocess.run(command, check=False).returncode:
                print(f"skipped: {', '.join(requirements)} cannot be installed here")
                sys.exit(77)
        ready.write_text(" ".join(requirements), encoding="utf-8")
    os.execv(python, [str(python), "-B", *sys.argv])
