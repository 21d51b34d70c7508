"""Figures against tools/bench/recorded.json, frames of hot functions, a sparse attribute table."""

import collections
import json
import sys
from pathlib import Path

import pytest

from support import mpy, wasm

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tools" / "bench"))

import measure  # noqa: E402
import mpyinfo  # noqa: E402
import run  # noqa: E402

# Functions that run for each packet, by module: each may have at most 11 words of frame (more go to the heap at every call).
HOT = {
    "core": "_prepare load",
    "client": "publish _write _rest flush _work _in_handler poll",
    "image": "_handler _settled _pump _find_record _free _next_id _enqueue _record",
    "subs": "_publish_in is_topic _finish _deliver _check_topic _ack payload_len copy_into qos retain dup",
    "message": "_properties _by_id",
    "qos2": "_qos2_in _handler _remember _rels _received",
    "publication": "_slow _park",
    "slow": "publish_slow fixed",
    "alias": "_alias_out _alias_in",
    "strings": "utf8 topic_name check_str",
    "wire": "vbi walk skip",
}  # names that MicroPython has in ROM (send, find, byte ...) have no text in a .mpy


def as_boards_get_it():
    """Directory with the packed library whose hot functions have kept their names."""
    library = mpy.pack.Library()
    for name in " ".join(HOT.values()).split():
        library.names.pop(name, None)
    return mpy.compiled({"umqtt5/" + n: text for n, text in library.pack().items()}, measure.FLAGS)


@pytest.mark.parametrize("packed", [False, True])
def test_hot_functions_keep_their_frame_off_the_heap(packed):
    target = (as_boards_get_it() if packed else mpy.build(measure.FLAGS, packed=False)) / "umqtt5"
    for module, names in HOT.items():
        file = "__init__" if packed and module in mpy.pack.ROOT else module
        found = {name: words for name, _, words in mpyinfo.functions((target / (file + ".mpy")).read_bytes())}
        assert [n for n in names.split() if n not in found] == [], module
        assert [(n, found[n]) for n in names.split() if found[n] > 11] == [], module


def test_the_session_has_a_sparse_table():
    """A full table of attributes is probed to its end at each method call: at most 80 % of its size is in use."""
    text = """
import operations
c = operations.client(operations.Socket())
operations.own(operations.Socket())
c.publish(b"t", b"x")
n = c.publish(b"t", b"x", False, 1)
print(len(c.__dict__))
"""
    r = mpy.run(text, path=[measure.tree(False)])
    assert not r.code, r.stderr
    n = int(r.stdout)
    assert n <= 0.8 * 127, n  # construct.py makes it as large


def test_attributes_of_a_client_begin_at_places_of_their_own():
    """As boards get it: each is found at the first look, and what is called for each packet meets a gap first."""
    text = """
from umqtt5 import MQTTClient
print(" ".join(MQTTClient("bench", "peer").__dict__))
"""
    r = mpy.run(text, path=[measure.tree()])
    assert not r.code, r.stderr
    names = r.stdout.split()
    assert len(names) > 60
    used = collections.Counter(mpy.pack.place(n) for n in names + mpy.pack.METHODS)
    assert [n for n in names + mpy.pack.METHODS if used[mpy.pack.place(n)] > 1] == []


def test_no_figure_is_worse_than_recorded():
    recorded = json.loads(run.RECORDED.read_text())
    flat, raw = run.figures(measure.tree())
    assert run.worse(flat, recorded["figures"]) + run.missed(raw, recorded) == []
    # and both would be seen
    name = "fuel: publish QoS 0"
    assert run.worse({name: 2 * flat[name]}, recorded["figures"]) != []
    raw["ram"]["profile"]["lean"] = 9 * 1024 + 1
    raw["fuel"]["umqtt5"]["send"] *= 2
    assert [line.split(":")[1].strip() for line in run.missed(raw, recorded)] == ["lean", "send"]


@pytest.mark.parametrize("where", ["micropython", "wasm32"])
def test_operations_run_on_both(where):
    target = measure.tree(False)
    if where == "micropython":
        r = mpy.run([str(target / "guest_cost.py"), "loop", "umqtt5", "publish QoS 0", "10"], path=[target])
    else:
        r = wasm.run(["/guest_cost.py", "loop", "umqtt5", "publish QoS 0", "10"], mounts=[(target, "/")])
    assert r.code == 0 and not r.stderr
