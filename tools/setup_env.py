"""Make the environment that `make test`, `make demo`, `make lint` and `make bench` run in: python3 tools/setup_env.py WHAT.

WHAT is demo, test, lint or bench: which groups of pyproject.toml's optional dependencies go into .venv, at the versions pinned
there; `test` also installs the Debian packages that tests talk to, where apt and the right to use it are there. Says what is
left out and what to do about it. Does nothing, without a network, when everything is there. Needs only python3 (3.9 or newer).
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
GROUPS = {
    "demo": ("demo",),
    "test": ("demo", "test", "lint"),
    "lint": ("lint",),
    "bench": ("demo", "test", "bench"),
}
# type stubs of the boards: the same module names in each, so each has a folder of its own
STUBS = {"stubs-esp32": VENV / "stubs" / "esp32", "stubs-rp2": VENV / "stubs" / "rp2"}
_PLUGIN = "tests of enhanced authentication with mosquitto (its plugin is compiled)"
# Debian package, a file that shows it is there, what its absence leaves out
SYSTEM = (
    ("mosquitto", "/usr/sbin/mosquitto", "all tests against the broker mosquitto"),
    ("mosquitto-dev", "/usr/include/mosquitto_plugin.h", _PLUGIN),
    ("gcc", "/usr/bin/gcc", _PLUGIN),
    ("libc6-dev", "/usr/include/stdio.h", _PLUGIN),
    ("ejabberd", "/usr/sbin/ejabberdctl", "tests against the broker ejabberd"),
    ("tshark", "/usr/bin/tshark", "tests that read our packets with Wireshark's decoder"),
)
NO_NETWORK = (
    "Connection",
    "connection",
    "Temporary failure",
    "Name or service",
    "timed out",
    "Max retries",
    "unreachable",
    "ProxyError",
)
UNREACHABLE = "pip cannot reach the package index. Check the network (or set PIP_INDEX_URL, PIP_PROXY); then again.\n"


def fail(text):
    """End with a message that says what to do."""
    sys.exit("setup: " + text)


def note(text):
    """One line for the person who waits."""
    print("setup: " + text, flush=True)


def pinned(group):
    """Requirements of one group of optional dependencies (tomllib is younger than the oldest Python here)."""
    text = (ROOT / "pyproject.toml").read_text()
    block = re.search(r"^%s = \[(.*?)\]" % re.escape(group), text, re.M | re.S)
    return re.findall(r'"([^"]+)"', block[1]) if block else []


def run(command, **kw):
    """Output of a command and whether it went well."""
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False, **kw
    )
    return done.returncode == 0, done.stdout


def apt(packages):
    """Install Debian packages without starting their services; True if that went well."""
    if not shutil.which("apt-get") or os.geteuid() != 0:
        return False
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    policy = Path("/usr/sbin/policy-rc.d")  # Debian's switch against starting services while installing
    ours = not policy.exists()
    if ours:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    try:
        for command in (["apt-get", "update"], ["apt-get", "install", "-y", "--no-install-recommends", *packages]):
            ok, out = run(command, env=env, stdin=subprocess.DEVNULL)
        if not ok:
            note("apt-get install %s failed:\n%s" % (" ".join(packages), out[-800:]))
        return ok
    finally:
        if ours:
            policy.unlink()


def make_venv():
    """Create .venv unless it works."""
    if PYTHON.exists() and run([str(PYTHON), "-m", "pip", "--version"])[0]:
        return
    if VENV.exists():
        shutil.rmtree(VENV)
    note("making .venv with %s" % sys.executable)
    ok, out = run([sys.executable, "-m", "venv", str(VENV)])
    if not ok and ("ensurepip" in out or "No module named venv" in out):
        version = "python%d.%d-venv" % sys.version_info[:2]
        if apt(["python3-venv"]) or apt([version]):
            ok, out = run([sys.executable, "-m", "venv", str(VENV)])
        if not ok:
            shutil.rmtree(VENV, ignore_errors=True)
            fail("this python3 has no venv module. On Debian or Ubuntu: sudo apt-get install python3-venv; then again.")
    if not ok:
        fail("could not make .venv:\n" + out)


def pip(requirements, target=None):
    """Install requirements; ends the program with advice if pip cannot reach its index."""
    command = [str(PYTHON), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    command += ["--target", str(target)] if target else []
    ok, out = run(command + requirements)
    if ok:
        return []
    if any(word in out for word in NO_NETWORK):
        fail(UNREACHABLE + "\n".join(out.strip().splitlines()[-3:]))
    if len(requirements) == 1:
        return [(requirements[0], out.strip().splitlines()[-1])]
    failed = []
    for r in requirements:  # one of them has no wheel for this machine: install the others
        failed += pip([r], target)
    if len(failed) == len(requirements):
        fail(UNREACHABLE + failed[0][1])
    return failed


def python_packages(what):
    """Everything of the groups that WHAT needs, unless the stamp says it is there."""
    for group in GROUPS[what]:
        requirements = pinned(group)
        key = hashlib.sha256(repr((sys.version, requirements)).encode()).hexdigest()
        stamp = VENV / (".%s.stamp" % group)
        if not requirements or stamp.exists() and stamp.read_text().split("\n")[0] == key:
            for line in stamp.read_text().split("\n")[1:] if stamp.exists() else ():
                note(line)
            continue
        note("installing " + ", ".join(requirements))
        left_out = ["left out: %s cannot be installed here (%s)" % f for f in pip(requirements)]
        for line in left_out:
            note(line)
        stamp.write_text("\n".join([key, *left_out]))
    if what in ("lint", "test"):
        for group, target in STUBS.items():
            if not target.exists():
                note("installing " + ", ".join(pinned(group)))
                pip(pinned(group), target)


def system_packages():
    """Debian packages for the tests; what cannot be had is named together with what it leaves out."""
    missing = [(p, why) for p, shows, why in SYSTEM if not (Path(shows).exists() or shutil.which(Path(shows).name))]
    if missing and shutil.which("apt-get") and os.geteuid() == 0:
        note("apt-get install " + " ".join(p for p, _ in missing))
        if not apt([p for p, _ in missing]):
            for p, _ in missing:
                apt([p])
        missing = [(p, why) for p, shows, why in SYSTEM if not (Path(shows).exists() or shutil.which(Path(shows).name))]
    for package, why in missing:
        note("left out without %s: %s (as root: apt-get install %s)" % (package, why, package))


def main(argv):
    """Do it."""
    if len(argv) != 2 or argv[1] not in GROUPS:
        sys.exit(__doc__)
    if sys.version_info < (3, 9):
        fail("Python 3.9 or newer is needed, this is %d.%d" % sys.version_info[:2])
    make_venv()
    python_packages(argv[1])
    if argv[1] == "test":
        system_packages()


if __name__ == "__main__":
    main(sys.argv)
