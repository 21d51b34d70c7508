"""Repeat fuzz cases: `python tests/fuzz/repeat.py SEED` shows one; `... --seconds 600 [--from SEED]` runs for so long."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
for folder in (ROOT / "ports/host", ROOT, ROOT / "tests", ROOT / "tests/fuzz"):
    sys.path.insert(0, str(folder))
import umqtt5_host  # noqa: E402

umqtt5_host.adopt("engine", "corpus")
import engine  # noqa: E402


def main(args):
    """Arguments: see above."""
    if "--seconds" in args:
        start = int(args[args.index("--from") + 1]) if "--from" in args else 1
        print(engine.run(start, float(args[args.index("--seconds") + 1])))
    else:
        print(engine.one(int(args[0]), print))


main(sys.argv[1:])
