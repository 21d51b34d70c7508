"""make lint: ruff on everything, and mypy on what runs on boards against the type stubs of each board.

The library has no type hints to speak of (they would say little about code that works on bytes and offsets), so of mypy's
complaints only those count that find a mistake here: a name, module, attribute or function that this board's firmware does not
have, or a call that its stubs do not allow. Exit code 1 if either tool has something to say.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = ROOT / ".venv" / "bin"
COUNTS = ("name-defined", "call-arg", "call-overload", "import-not-found", "syntax")
# in firmware, but not in the stubs; and what is imported on CPython only
UNKNOWN_TO_STUBS = ('Module "asyncio" has no attribute', '"SSLContext" has no attribute "verify_mode"', '"umqtt5_host"')


def ruff():
    """True if ruff finds nothing."""
    return subprocess.run([str(BIN / "ruff"), "check", "."], cwd=ROOT, check=False).returncode == 0


def board(name):
    """Lines of mypy that count, for umqtt5 and the ports of one board."""
    other = {"esp32": "rp2", "rp2": "esp32"}[name]
    stubs = ROOT / ".venv" / "stubs" / name
    folders = [p for p in ("ports/common", "ports/" + name) if (ROOT / p).is_dir()]
    command = [str(BIN / "mypy"), "--check-untyped-defs", "--no-incremental", "--follow-imports=silent", "--no-site-packages"]
    command += ["--custom-typeshed-dir", str(stubs), "--python-version", "3.10", "umqtt5", *folders]
    env = {**os.environ, "MYPYPATH": ":".join([str(stubs), *folders])}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    if "Found " not in done.stdout and "Success" not in done.stdout:
        return [done.stdout + done.stderr]  # mypy itself failed
    own = set()  # our own classes take attributes as they go
    for folder in ("umqtt5", *folders):
        for path in (ROOT / folder).glob("*.py"):
            own.update(re.findall(r"^ *class (\w+)", path.read_text(), re.M))
    out = []
    for line in done.stdout.splitlines():
        found = re.match(r"(umqtt5|ports)/.*: error: (.*) \[([a-z-]+)\]$", line)
        if line.split(":")[0].endswith("_%s.py" % other):
            continue
        if not found or any(text in found[2] for text in UNKNOWN_TO_STUBS):
            continue
        of_class = re.match(r'"(?:type\[)?(\w+)\]?" has no attribute', found[2])
        foreign = found[2].startswith("Module") or of_class and of_class[1] not in own
        if found[3] in COUNTS or found[3] == "attr-defined" and foreign:
            out.append(line)
    return out


def main():
    """Both tools."""
    good = ruff()
    for name in ("esp32", "rp2"):
        lines = board(name)
        print("mypy, stubs of %s: %s" % (name, "\n".join(lines) or "nothing"))
        good = good and not lines
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
