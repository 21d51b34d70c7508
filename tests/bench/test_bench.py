"""Figures against tools/bench/recorded.json, frames of hot functions, a sparse attribute table."""

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
    "core": "publish _prepare _write _rest flush ack work in_handler _round _read _parse",
    "image": "puback acked pump find_record free next_id _enqueue _record _mark",
    "client": "poll",
    "receive": "publish_in is_topic payload_len copy_into qos retain dup finish deliver _begin _end _route _call",
    "qos2": "_qos2_in acked remember _rels _received",
    "publication": "_slow _publish _encode _may _park",
    "outbox": "publish_slow",
    "alias": "header incoming",
    "wire": "vbi utf8 walk skip topic_name",
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
    assert n <= 0.8 * 127, n  # construct._spread() makes it as large


def test_no_figure_is_worse_than_recorded():
    flat, _ = run.figures(measure.tree())
    assert run.worse(flat, json.loads(run.RECORDED.read_text())["figures"]) == []


@pytest.mark.parametrize("where", ["micropython", "wasm32"])
def test_operations_run_on_both(where):
    target = measure.tree(False)
    if where == "micropython":
        r = mpy.run([str(target / "guest_cost.py"), "loop", "umqtt5", "publish QoS 0", "10"], path=[target])
    else:
        r = wasm.run(["/guest_cost.py", "loop", "umqtt5", "publish QoS 0", "10"], mounts=[(target, "/")])
    assert r.code == 0 and not r.stderr
