"""What a server says costs no memory: fuzz cases leave nothing behind, lengths on the wire allocate nothing."""

import gc

import engine

from support.packets import NAMES, connack
from support.t import INTERPRETER, eq, rows
from umqtt5 import MQTTClient, ProtocolError

INTERPRETERS = ("cpython", "micropython")
TIMEOUT = 300
HEAP = "2m"
ONLY = {"test_memory_stays_flat": ("micropython",), "test_cpython_peak_is_bounded": ("cpython",)}


def test_memory_stays_flat():
    """Hundreds of cases leave nothing behind."""
    for n in range(150):
        engine.one(n)
    gc.collect()
    before = gc.mem_alloc()
    for n in range(300):
        engine.one(n)
    gc.collect()
    used = gc.mem_alloc() - before
    assert used < 2000, used


def test_wire_lengths_without_data_cost_no_memory():
    """268,435,455 and its neighbours in every length there is, nothing behind them."""
    lengths = (b"\xff\xff\xff\x7f", b"\x80\x80\x80\x40", b"\xff\xff\x7f", b"\xff\x7f")
    for kind in range(16):
        for flags in range(16) if INTERPRETER == "cpython" else (0, 2, 3):
            for n in lengths:
                for tail in (b"", b"\x00\x01t" + b"\xff\xff\xff\x7f", b"\xff\xff", b"\x00\x01\x00" + n):
                    head = bytes((kind << 4 | flags,)) + n + tail
                    for _ in rows(((NAMES[kind], head),)):
                        _no_memory(head)


def _no_memory(head):
    wire = engine.Wire(0)
    c = MQTTClient("f", "peer", keepalive=0, transport=lambda c: wire, timeout=100)
    got = []
    c.on_message = got.append
    if head[0] & 1:
        c.on_chunk = lambda m, at, total: got.append(at)
    c.start()
    wire.inbox = connack()
    c.poll()
    wire.inbox = head
    before = gc.mem_alloc() if INTERPRETER == "micropython" else None
    try:
        for _ in range(5):
            c.poll()
    except ProtocolError:
        pass
    except Exception as e:
        raise AssertionError("%s: %s" % (type(e).__name__, e)) from e
    if before is not None:
        assert gc.mem_alloc() - before < 40000, gc.mem_alloc() - before  # modules that were loaded, the exception
    eq((len(c._rx), len(c._tx)), (576, 256))


def test_cpython_peak_is_bounded():
    import tracemalloc

    from umqtt5 import client

    heads = (b"\x30\xff\xff\xff\x7f\x00\x01t", b"\x40\xff\xff\xff\x7f", b"\x90\xff\xff\xff\x7f\x00\x01\xff\xff\xff\x7f")
    unload, client._unload = client._unload, lambda *names: None  # loading the constructor's module again is not what is measured
    try:
        for head in heads:
            _no_memory(head)
        tracemalloc.start()
        for head in heads:
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            _no_memory(head)
            peak = tracemalloc.get_traced_memory()[1] - before
            assert peak < 100000, peak
        tracemalloc.stop()
    finally:
        client._unload = unload
