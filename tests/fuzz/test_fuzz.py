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

    r = engine.Random(SEED)
    worst = 0
    for n in range(400):
        data = engine.stream(r, True) * (1 + n % 3)
        for size in (0, 1):
            count[0] = 0
            sys.settrace(tracer)
            try:
                engine.feed(engine.CONFIGS[n % 6], n % 4 > 0, data, size)
            finally:
                sys.settrace(None)
            worst = max(worst, (count[0] - 2500) / (len(data) + 20))
    print("%.1f lines a byte" % worst)
    assert worst < 80, worst


def test_cases_that_failed_once():
    """Seeds that have found something: PUBACK with a property length alone; a large PUBLISH whose header ends a read."""
    for seed in rows((205044, 323681, 547411, 547426, 547469, 547518)):
        engine.one(seed)
