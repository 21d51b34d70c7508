"""What a test function needs, on CPython, MicroPython and 32-bit WebAssembly alike: imports only what all three have.

from support.t import eq, raises, rows, skip, scratch, INTERPRETER
"""

import sys

INTERPRETER = "cpython"  # or "micropython", "wasm32": set by the runner
row = None  # the table row a failing test was at: the runner prints it
_scratch = None


class Skip(Exception):
    """Raised by skip(); reported as a skipped test."""


def skip(reason):
    """End this test as skipped."""
    raise Skip(reason)


def eq(got, want, what=""):
    """Fail with both values unless got == want (a plain assert shows neither on MicroPython)."""
    if got != want:
        raise AssertionError("%sgot %r, want %r" % (what and what + ": ", got, want))


def raises(kind, function, *args, **kw):
    """Call function; return the exception of `kind` it raised. Fails if it raised none, lets any other pass."""
    try:
        result = function(*args, **kw)
    except kind as e:
        return e
    raise AssertionError("%s not raised, returned %r" % (kind.__name__, result))


def rows(table):
    """Iterate over table; a failure names the row it happened at."""
    global row
    for row in table:
        yield row
    row = None


def scratch():
    """An empty directory of this test file's own, with no slash at the end."""
    return _scratch


def native_bits():
    """32 or 64."""
    return 64 if sys.maxsize > 1 << 32 else 32
