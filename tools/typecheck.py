#!/usr/bin/env python3
"""Type-check ports/ and umqtt5/ against the MicroPython stubs of each board.

    python3 tools/typecheck.py [esp32|rp2]

The stubs of the boards name the same modules, so each set lies in a folder of its own: .venv/stubs/BOARD, or .cache/stubs/BOARD,
where this script installs the versions that pyproject.toml names. mypy's settings stand here and nowhere else.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BOARDS = ("esp32", "rp2")
# modules of the library that no board loads, or only the other one
SKIP = {"rp2": {"store_esp32"}, "esp32": set()}
OPTIONS = [
    "--python-version=3.10",
    "--platform=linux",
    "--follow-imports=silent",
    "--no-site-packages",
    "--check-untyped-defs",
    "--allow-redefinition",
    "--no-error-summary",
    "--no-color-output",
    "--no-implicit-optional",
    "--show-error-codes",
    # None before the constructor or the connection fills it in: the library's own tests look at that
    "--no-strict-optional",
]

# What is not a mistake, and why. Nothing of this holds for ports/.
EXCUSED = (
    (r"\[(assignment|has-type|var-annotated|no-redef|misc|index)\]$", "attributes are None until a connection fills them in"),
    (r'"(type\[)?(CLASSES)\]?" has no attribute', "attributes are set by setup.py, methods by the modules that are loaded then"),
    (r"\[override\]$", "the asyncio face has coroutines where the blocking one has functions"),
    (r'expected "umqtt5\.(client|core)\.', "the faces take each other's place"),
    (r"umqtt5_host", "CPython only"),
    (r'"SSLContext" has no attribute "(verify_mode|check_hostname|load_default_certs)"', "missing in the stub, or asked for"),
    (r'Module "asyncio" has no attribute "(core|DONE|Gate|coroutines)"', "MicroPython's own, or the shim's behind a test"),
    (r'Module "micropython" has no attribute "front"|has no attribute "lend"', "the shim's behind a test"),
    (r"Module not callable", "the shim's asyncio.coroutines behind a test"),
    (r"\[method-assign\]$", "an instance has a method of its own for a while"),
    (r'"b2a_base64" has incompatible type "bytearray"', "the stub is too narrow: any buffer will do"),
)


def excused(line):
    """Whether a line of mypy is none of ours."""
    if not line.startswith(("umqtt5/", "ports/")):
        return True  # the stubs' own
    classes = "|".join(
        sorted({c for f in (ROOT / "umqtt5").glob("*.py") for c in re.findall(r"^class (\w+)", f.read_text(), re.M)})
    )
    return line.startswith("umqtt5/") and any(re.search(r.replace("CLASSES", classes), line) for r, _ in EXCUSED)


def stubs(board):
    """Folder of the stubs; installs them when they are nowhere."""
    for place in (ROOT / ".venv" / "stubs" / board, ROOT / ".cache" / "stubs" / board):
        if (place / "machine.pyi").exists():
            return place
    wanted = re.search(r'"(micropython-%s-stubs==[^"]+)"' % board, (ROOT / "pyproject.toml").read_text()).group(1)
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--target", str(place), wanted],
        check=True,
        stderr=subprocess.DEVNULL,
    )
    return place


def check(board, only=None):
    """mypy's lines for one board; an empty list when all is well. only: a list of files instead of the project's."""
    typings = stubs(board)
    ports = ROOT / "ports"
    files = [ports / board / n for n in ("chip.py", "main.py")] + sorted((ports / "common").glob("*.py"))
    files += [f for f in sorted((ROOT / "umqtt5").glob("*.py")) if f.stem not in SKIP[board]]
    files = only or files
    env = dict(os.environ, MYPYPATH=os.pathsep.join(str(p) for p in (typings, ports / "common", ports / board, ROOT)))
    p = subprocess.run(
        [sys.executable, "-m", "mypy", *OPTIONS, "--custom-typeshed-dir", str(typings), "--config-file", os.devnull,
         "--cache-dir", str(ROOT / ".cache" / "mypy" / board), *[str(f) for f in files]],
        capture_output=True, text=True, env=env, cwd=ROOT,
    )  # fmt: skip
    if p.returncode > 1 or (p.returncode and not p.stdout.strip()):
        return (p.stdout + p.stderr).splitlines()
    lines = [line for line in p.stdout.splitlines() if ": error:" in line]
    return lines if only else [line for line in lines if not excused(line)]


def main(argv):
    bad = 0
    for board in argv or BOARDS:
        lines = check(board)
        for line in lines:
            print("%s: %s" % (board, line))
        bad += len(lines)
        print("%s: %s" % (board, "%d errors" % len(lines) if lines else "no errors"))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
