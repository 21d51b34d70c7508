#!/usr/bin/env python3
"""Which files of umqtt5/ belong to which profile: the one place that says it.

    python3 tools/profiles.py            prints the lists
    python3 tools/profiles.py --write    writes package.json, package-telemetry.json and package-typical.json (for mip)

tools/deploy.py copies by these lists, manifest.py freezes by the package files written here, tests/boards/test_profiles.py
compares them all, and the version in them with umqtt5/__init__.py.
"""

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NAME = "umqtt5"

# What a node needs only when it listens, sends QoS 2, or asks questions: not in "telemetry".
LISTENING = ["topics", "qos2", "chunks", "rpc"]
# What it needs only when it does so in another way than most: not in "typical" either.
SPECIAL = ["aio", "inbox", "auth", "scram", "simple", "robust", "ws", "upgrade"]
# All else is what a node that measures and sends needs: QoS 0 and 1, kept connected, TLS, a session that survives sleep.


def modules(profile):
    """Names of the modules of a profile, without .py."""
    without = {"telemetry": LISTENING + SPECIAL, "typical": SPECIAL, "everything": []}[profile]
    return sorted(p.stem for p in (ROOT / NAME).glob("*.py") if p.stem not in without)


def version():
    """The version, from umqtt5/__init__.py."""
    text = (ROOT / NAME / "__init__.py").read_text()
    found = re.search(r'^__version__ = "([^"]+)"', text, re.M)
    if not found:
        raise SystemExit('umqtt5/__init__.py has no line __version__ = "..."')
    return found.group(1)


def package_file(profile):
    """Path of the package file of a profile."""
    return ROOT / ("package.json" if profile == "everything" else "package-%s.json" % profile)


def files(profile):
    """Their paths below the checkout, and below lib on a board."""
    return ["%s/%s.py" % (NAME, m) for m in modules(profile)]


def package_text(files):
    """Content of a package file: what `mpremote mip install` copies from beside it."""
    return json.dumps({"urls": [[f, f] for f in files], "deps": [], "version": version()}, indent=2) + "\n"


PROFILES = ("telemetry", "typical", "everything")

if __name__ == "__main__":
    for p in PROFILES:
        if "--write" in sys.argv:
            package_file(p).write_text(package_text(files(p)))
        print("%-11s %s" % (p, " ".join(modules(p))))
