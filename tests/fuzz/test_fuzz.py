"""Seeded fuzzing of all that a server may send; see engine.py. UMQTT5_FUZZ_SECONDS=600: longer; UMQTT5_FUZZ_SEED: other cases."""

import os

import engine

from support.t import INTERPRETER, rows

INTERPRETERS = ("cpython", "micropython", "wasm32")
SECONDS = float(hasattr(os, "getenv") and os.getenv("UMQTT5_FUZZ_SECONDS") or 25)
SEED = int(hasattr(os, "getenv") and os.getenv("UMQTT5_FUZZ_SEED") or 1)
TIMEOUT = 36000
ONLY = {"test_steps_are_bounded_by_the_input": ("cpython",)}


def test_corpus_is_accepted_or_refused_as_it_is():
    """Unmutated packets: each alone, whole and byte by byte."""
    n = 0
    for kind in engine._KINDS:
        for b in engine._CORPUS[kind]:
            for connected in (False, True):
                for _ in rows(((connected, b),)):
                    whole = engine.feed(engine.CONFIGS[0], connected, b, 0)
                    pieces = engine.feed(engine.CONFIGS[0], connected, b, 1)
                    engine.same(whole, pieces)
                    n += 1
    assert n > 300, n


def test_mutations():
    if INTERPRETER == "wasm32":  # without a collector: fewer cases
        ends = engine.run(SEED, 1000, 200)
    else:
        ends = engine.run(SEED + (1 << 20 if INTERPRETER == "micropython" else 0), SECONDS)
    print(ends)
    assert ends["cases"] >= 60
    kinds = [k for k in ends if isinstance(k, tuple)]
    assert len(kinds) >= 5, kinds


def test_steps_are_bounded_by_the_input():
    """Lines of Python executed: at most linear in the input's length."""
    import sys

    count = [0]

    def tracer(frame, event, arg):
        if "umqtt5" not in frame.f_code.co_filename:
            return None
        count[0] += 1
        return tracer

    def lines(config, connected, data, size):
        count[0] = 0
        sys.settrace(tracer)
        try:
            engine.feed(config, connected, data, size)
        finally:
            sys.settrace(None)
        return count[0]

    r = engine.Random(SEED)
    worst = 0
    for n in range(300):
        data = engine.stream(r, True) * (1 + n % 3)
        config = engine.CONFIGS[n % 6]
        before = lines(config, n % 4 > 0, b"", 0)  # making a client, connecting
        for size in (0, 1):
            worst = max(worst, (lines(config, n % 4 > 0, data, size) - before) / (len(data) + 20))
    print("%.1f lines a byte" % worst)
    assert worst < 120, worst


# (connected, index of the configuration, input)
FOUND = (
    (True, 4, b"b\x02\x00\x03@\x04\x00\x02\x00\x04\xb0\x17\x00\x04\x13\x1f\x00\x0bbecause \xe2\x82\xac&\x00\x00\x00\x00\x00"),
    (True, 1, b"4\x80\x1c\x00\x01c\x00\x08\x15" + b"&\x00\x01a\x00\x01b" * 3 + b"x\xf0\x10\x18\x0e\x1f\x00\x0e\x1f"),
    (True, 2, b"@\x02\x00\t\x07\x0c\x00\x04\x070&\x00\x81k\x00\x01v\x00"),
    (False, 1, b"\x11\x04\x00\x01\x00\x02"),
    (False, 3, b"\x11 \x03\x00\x00\x00P\x19\x00\x03\x00"),
)


def test_inputs_that_failed_once():
    """PUBACK with a property length alone; a large PUBLISH whose header ends a read; illegal types with wrong flags."""
    for connected, config, data in rows(FOUND):
        whole = engine.feed(engine.CONFIGS[config], connected, data, 0)
        for size in range(1, len(data)):
            engine.same(whole, engine.feed(engine.CONFIGS[config], connected, data, size))
