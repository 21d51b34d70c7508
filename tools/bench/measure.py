"""Run the guest programs and collect their figures: fuel, allocation, RAM, .mpy sizes, callgrind.

What belongs here: everything deterministic. What does not: wall-clock figures (throughput.py), tables and pictures (run.py).
"""

import shutil
import subprocess
import sys
import tarfile
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "tests"))

from support import mpy, wasm  # noqa: E402

FLAGS = ("-O3",)  # what is shipped: without line numbers and asserts
PEERS = (  # pip cannot download the first, which has neither setup.py nor pyproject.toml
    ("umqtt.simple", "1.3.4", "simple.py",
     "https://files.pythonhosted.org/packages/bd/cf/697e3418b2f44222b3e848078b1e33ee76aedca9b6c2430ca1b1aec1ce1d/"
     "micropython-umqtt.simple-1.3.4.tar.gz"),
    ("umqtt.robust", "1.0", "robust.py", ""),
)  # fmt: skip
GUEST = ("operations", "guest_cost", "guest_connect", "guest_ram", "guest_rate")
ORDER = (
    ("umqtt5", "core, client, strings"), ("umqtt5.construct", "construct"), ("umqtt5.setup", "setup"),
    ("umqtt5.image", "image"), ("umqtt5.outbox", "outbox"), ("umqtt5.slow", "slow"), ("umqtt5.publication", "publication"),
    ("umqtt5.wire", "wire"), ("umqtt5.subs", "subs"), ("umqtt5.qos2", "qos2"), ("umqtt5.message", "message"),
    ("umqtt5.topics", "topics"), ("umqtt5.rare", "rare"), ("umqtt5.resume", "resume"), ("umqtt5.extra", "extra"),
    ("umqtt5.waiting", "waiting"), ("umqtt5.reasons", "reasons"), ("umqtt5.props", "props"), ("umqtt5.alias", "alias"),
    ("umqtt5.chunks", "chunks"), ("umqtt5.auth", "auth"), ("umqtt5.rpc", "rpc"), ("umqtt5.link", "link"),
    ("umqtt5.redirect", "redirect"), ("umqtt5.store", "store"), ("umqtt5.tls", "tls"), ("umqtt5.ws", "ws"),
    ("umqtt5.upgrade", "upgrade"), ("umqtt5.scram", "scram"), ("umqtt5.inbox", "inbox"), ("umqtt5.aio", "aio"),
    ("umqtt5.simple", "simple"), ("umqtt5.robust", "robust"),
)  # fmt: skip


def peers():
    """Directory with the peers' .mpy files, fetched once from PyPI (source packages, pinned); None where that is impossible."""
    target = ROOT / ".cache" / "peer-1.3.4"
    if (target / "umqtt" / "simple.mpy").exists():
        return target
    making = ROOT / ".cache" / "peer.making"
    shutil.rmtree(making, ignore_errors=True)
    (making / "umqtt").mkdir(parents=True)
    try:
        for name, version, file, url in PEERS:
            package = "micropython-" + name
            archive = making / ("%s-%s.tar.gz" % (package, version))
            if url:
                with urllib.request.urlopen(url, timeout=30) as f:
                    archive.write_bytes(f.read())
            else:
                command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:", "-d", str(making)]
                command.append("%s==%s" % (package, version))
                subprocess.run(command, capture_output=True, timeout=120, check=True)
            with tarfile.open(archive) as t:
                member = next(m for m in t.getmembers() if m.name.endswith("umqtt/" + file) and "egg" not in m.name)
                (making / "umqtt" / file).write_bytes(t.extractfile(member).read())
            compile_to(making / "umqtt" / file, "umqtt/" + file)
            (making / "umqtt" / file).unlink()
    except (OSError, subprocess.SubprocessError, StopIteration) as e:
        print("bench: umqtt.simple cannot be fetched (%s): recorded figures stand in its columns" % e, file=sys.stderr)
        return None
    shutil.rmtree(target, ignore_errors=True)
    making.rename(target)
    return target


def compile_to(path, name):
    """One .py to .mpy beside it, with the flags of what is shipped."""
    out = path.with_suffix(".mpy")
    subprocess.run([mpy.program("mpy-cross"), *FLAGS, "-s", name, "-o", str(out), str(path)], check=True)
    return out


def tree(with_peers=True):
    """Directory with the library, the guest programs and, when they can be had, the peers, all as .mpy."""
    target = ROOT / ".cache" / "bench-tree"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    shutil.copytree(mpy.build(FLAGS) / "umqtt5", target / "umqtt5")
    for name in GUEST:
        (target / (name + ".py")).write_text(mpy.pack.Library().rename((HERE / (name + ".py")).read_text()))
    for name in ("operations", "guest_ram"):
        compile_to(target / (name + ".py"), name + ".py")
        (target / (name + ".py")).unlink()
    (target / "ram.py").write_text("import guest_ram\n")
    found = with_peers and peers()
    if found:
        shutil.copytree(found / "umqtt", target / "umqtt")
    return target


def rows(text):
    """The figures of a guest's output: lines "= a | b | 1"."""
    return [[x.strip() for x in line[2:].split("|")] for line in text.splitlines() if line.startswith("= ")]


def guest(target, program, *args, heap="8m", unix=False):
    """Output rows of a guest program on 32-bit WebAssembly or the unix build; RuntimeError when it fails."""
    if unix:
        r = mpy.run([str(target / program), *args], heap=heap, path=[target], timeout=300)
    else:
        r = wasm.run(["/" + program, *args], heap=heap, mounts=[(target, "/")])
    if r.code or "Traceback" in r.stderr:
        raise RuntimeError("%s %s:\n%s%s" % (program, " ".join(args), r.stdout[-2000:], r.stderr[-3000:]))
    return rows(r.stdout)


def fuel(target):
    """{library: {operation: WebAssembly instructions}}."""
    out = {}
    for lib, op, n in guest(target, "guest_cost.py", "fuel"):
        out.setdefault(lib, {})[op] = int(n)
    return out


def allocation(target, unix):
    """{library: {operation: [bytes in 100 by mem_alloc, by mem_total or -1, "locked" or "needs heap"]}}."""
    out = {}
    for lib, op, a, t, locked in guest(target, "guest_cost.py", "alloc", unix=unix):
        out.setdefault(lib, {})[op] = [int(a), int(t), locked]
    return out


def connects(target, unix):
    """{"first": bytes of heap that connect() takes, "again": the same for a later one}."""
    return {what: int(n) for what, n in guest(target, "guest_connect.py", unix=unix)}


def _used(target, *args):
    return int(guest(target, "ram.py", *[str(a) for a in args])[0][0])


def ram(target):
    """{"profile": {...}, "module": {...}, "object": {...}, "peer": {...}}: bytes kept, 32-bit, .mpy.

    Code of a profile: in use with one client, less the empty program, less what a second client like it adds (its objects).
    """
    base = _used(target, "base", 1)
    out = {"profile": {}, "module": {}, "object": {}, "peer": {}}
    for point in ("import", "construct", "publishing", "lean", "typical", "announced", "announced, lean"):
        one, two = _used(target, point, 1), _used(target, point, 2)
        out["profile"][point] = one - base - (two - one)
        out["object"][point] = two - one
    names = " ".join(name.split(".")[-1] for name, _ in ORDER)  # a name has at most 255 characters
    before = _used(target, "modules", 0, names, 0)
    for i, (_, short) in enumerate(ORDER):
        now = _used(target, "modules", 0, names, i + 1)
        out["module"][short] = now - before
        out["profile"]["every module"] = out["profile"].get("every module", 0) + now - before
        before = now
    if (target / "umqtt").exists():
        peers = [_used(target, "modules", 0, "umqtt simple robust", i) for i in (1, 2, 3)]
        out["peer"]["umqtt.simple"] = peers[1] - peers[0]
        out["peer"]["umqtt.simple and robust"] = peers[2] - peers[0]
    return out


def sizes(target):
    """{module: bytes of its .mpy}."""
    return {p.stem: p.stat().st_size for p in sorted((target / "umqtt5").glob("*.mpy"))}


def callgrind(target, ops):
    """{library: {operation: x86 instructions on the unix build}}; {} where valgrind is missing."""
    if not shutil.which("valgrind"):
        return {}
    out = {}
    command = [
        "valgrind",
        "--tool=callgrind",
        "--callgrind-out-file=/dev/null",
        *mpy.command("320k"),
        str(target / "guest_cost.py"),
    ]
    for lib, op in ops:
        n = []
        for count in (200, 2200):
            r = subprocess.run(
                [*command, "loop", lib, op, str(count)],
                capture_output=True,
                text=True,
                env={"MICROPYPATH": str(target)},
                check=False,
            )
            total = [line.split(":")[-1] for line in r.stderr.splitlines() if "Collected" in line]
            if r.returncode or not total:
                return out
            n.append(int(total[0]))
        out.setdefault(lib, {})[op] = (n[1] - n[0]) // 2000
    return out


def smallest_heap(target):
    """KB of heap with which the unix build (64-bit) imports the library from .mpy, connects and publishes; None without it."""
    program = "import operations as o\nc = o.client(o.Socket())\nc.publish(b't', b'x')\nc.publish(b't', b'x', False, 1)\nprint(1)"
    try:
        low, high = 16, 256
        while high - low > 1:
            k = (low + high) // 2
            if mpy.run(program, heap="%dk" % k, path=[target]).stdout == "1\n":
                high = k
            else:
                low = k
        return high
    except FileNotFoundError:
        return None


_IMPORT = """
import gc, sys
def used():
    for _ in range(4):
        gc.collect()
    return gc.mem_alloc()
import time, binascii, select, socket
if %r:
    import vfs
    with open(%r, "rb") as f:
        image = f.read()
    vfs.mount(vfs.VfsRom(image), "/rom5")
    sys.path.insert(0, "/rom5")
a = used()
for m in ("umqtt5", "umqtt5.setup"):
    __import__(m)
print("=", used() - a)
"""


def romfs(target):
    """(bytes kept by importing what connects from files, the same from a ROMFS), 64-bit unix; None where a tool is missing."""
    image = ROOT / ".cache" / "bench.romfs"
    folder = ROOT / ".cache" / "bench-rom"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(target / "umqtt5", folder / "umqtt5")
    try:
        command = [mpy.program("mpremote"), "romfs", "--output", str(image), "build", str(folder)]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        out = []
        for rom in (False, True):
            path = [ROOT / "ports"] if rom else [target]
            r = mpy.run(_IMPORT % (rom, str(image)), heap="4m", path=path)
            if r.code:
                raise RuntimeError(r.stderr)
            out.append(int(rows(r.stdout)[0][0]))
        return out
    except (OSError, TypeError, RuntimeError, IndexError, subprocess.SubprocessError) as e:
        print("bench: no ROMFS figure (%s)" % e, file=sys.stderr)
        return None
