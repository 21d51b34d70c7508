"""tools/pack.py: what boards get is the same library. (All tests on wasm32 and those on deployed boards run it, too.)"""

import ast
import os
import re
import subprocess
import sys

import pytest

from support import mpy, wasm

sys.path.insert(0, str(mpy.ROOT / "tools"))

import pack  # noqa: E402
import profiles  # noqa: E402

KNOWN = """
import micropython
names = {names!r}.split("+")
exec("0 and x.y")
micropython.qstr_info()
for n in names:
    print(":", n[1:])
    exec("0 and x." + n[1:])
    micropython.qstr_info()
"""
LOOK = """
import sys
for n in {modules!r}:
    m = __import__("umqtt5." + n if n else "umqtt5", None, None, ("x",))
    for k in dir(m):
        v = getattr(m, k)
        print(n or "__init__", k)
        if isinstance(v, type) and k != "RingIO":
            for x in dir(v):
                print(n or "__init__", k + "." + x)
"""


def run_on(where, text):
    """Standard output of a program on the unix build or on 32-bit WebAssembly."""
    r = (mpy.run if where == "unix" else wasm.run)(text, heap="4m")
    assert r.code == 0, r.stderr
    return r.stdout


@pytest.mark.parametrize("where", ["unix", "wasm32"])
def test_free_names_cost_nothing_in_any_firmware(where):
    # a letter before each name, so that the program's text itself does not make it known
    out = run_on(where, KNOWN.format(names="+".join("-" + n for n in [*pack.FREE, "not_a_name_of_it"])))
    count, unknown, name = 0, [], None
    for line in out.splitlines():
        if line[0] == ":":
            name = line[2:]
        found = re.match(r"qstr pool.*n_qstr=(\d+)", line)
        if found:
            if name and int(found[1]) > count:
                unknown.append(name)
            count = int(found[1])
    assert unknown == ["not_a_name_of_it"]


def test_public_names_are_the_same():
    def look(packed):
        modules = [m for m in profiles.modules("everything") if m not in ("__init__", "native", *pack.ROOT)]
        r = mpy.run(LOOK.format(modules=["", *modules]), path=[mpy.build(packed=packed)])
        assert r.code == 0, r.stderr
        return {x for x in r.stdout.splitlines() if not re.search(r"[ .]_", x) and x.split()[1] not in pack.INTERNAL}

    plain, packed = look(False), look(True)
    assert len(plain) > 300
    # not there any more: the modules that became one; what only the compiler needs
    assert {x for x in plain - packed if x.split()[1] not in (*pack.ROOT, "const", "sys")} == set()


RAISE = """
import umqtt5
c = umqtt5.MQTTClient("c", "localhost")
try:
    c.publish("a/+", b"x")
except ValueError as e:
    print(e)
"""


def test_texts_of_exceptions_are_read_from_the_file(tmp_path):
    plain = mpy.run(RAISE, path=[mpy.build(packed=False)]).stdout
    assert "topic" in plain and plain == mpy.run(RAISE, path=[mpy.build()]).stdout
    lib = tmp_path / "umqtt5"
    lib.mkdir()
    for f in (mpy.build() / "umqtt5").glob("*.mpy"):
        os.symlink(f, lib / f.name)
    # a number that stands for it where the file is not there
    assert re.fullmatch(r"topic\(error \d+\)\n", mpy.run(RAISE, path=[tmp_path]).stdout)


def test_texts_are_where_the_numbers_say():
    files = pack.Library().pack()
    texts = files.pop(pack.TEXTS).splitlines()
    used, readers = set(), [pack.Library().names[n] for n in ("_text", "_line")]
    for name, text in files.items():
        for n in ast.walk(ast.parse(text)):
            if isinstance(n, ast.Call) and getattr(n.func, "id", "") in readers and isinstance(n.args[0], ast.Constant):
                used.add(n.args[0].value)
        assert "_text" not in text, name
    assert used == set(range(len(texts))) and len(texts) > 50


def together(library):
    """Names that become the same name although they stand in one module."""
    words = {}
    for stem, tree in library.trees.items():
        words.setdefault("" if stem in pack.ROOT else stem, set()).update(re.findall(r"\b[a-z_]\w*\b", ast.unparse(tree)))
    old = {}
    for name, new in library.names.items():
        old.setdefault(new, []).append(name)
    assert sum(len(names) > 1 for names in old.values()) > 10  # else there is nothing to see here
    return [both for names in old.values() for w in words.values() if len(both := w.intersection(names)) > 1]


def test_names_that_meet_in_a_module_stay_different():
    library = pack.Library()
    assert together(library) == []
    library.names["_in_handler"] = library.names["_sw"]  # and this would be seen
    assert {"_in_handler", "_sw"} in together(library)


def test_a_call_of_an_attribute_stays_one():
    """(s.f)(x) loads an attribute, s.f(x) a method: other code in MicroPython."""
    tree = pack._parse("a = (s.f)(1) + s.f(2)\n")
    assert ast.unparse(tree).replace(pack.KEEP, "") == "a = (s.f)(1) + s.f(2)"


def test_one_function_twice_in_what_becomes_one_module_is_refused():
    lib = pack.Library()
    lib.trees["core"].body.append(ast.parse("class MQTTException: pass").body[0])
    with pytest.raises(SystemExit, match="MQTTException"):
        lib.pack()


def tool(*args):
    return subprocess.run([sys.executable, str(mpy.ROOT / "tools/pack.py"), *args], capture_output=True, text=True, timeout=60)


def test_command_line(tmp_path):
    assert tool(str(tmp_path / "out")).returncode == 0
    assert {p.name for p in (tmp_path / "out").iterdir()} == set(pack.Library().pack())
    names = dict(line.split()[::-1] for line in tool("--names").stdout.splitlines())
    assert names == pack.Library().names
    p = tool("--what")
    assert p.returncode != 0 and "--names" in p.stderr
