"""The module `micropython` on CPython: decorators that do nothing, a heap that cannot be locked, a RingIO that works."""

_locks = 0
_queue = []
_running = False


def const(value):
    """The value itself."""
    return value


def _as_it_is(function):
    return function


native = viper = asm_thumb = _as_it_is


def ptr8(buf):
    """A view of bytes."""
    return memoryview(buf).cast("B")


def ptr16(buf):
    """A view of 16-bit words."""
    return memoryview(buf).cast("B").cast("H")


def ptr32(buf):
    """A view of 32-bit words."""
    return memoryview(buf).cast("B").cast("I")


def heap_lock():
    """Counts only: CPython's heap has no lock. Returns the depth."""
    global _locks
    _locks += 1
    return _locks


def heap_unlock():
    """Returns the depth left."""
    global _locks
    if not _locks:
        raise RuntimeError("heap_unlock without heap_lock")
    _locks -= 1
    return _locks


def heap_locked():
    """The depth."""
    return _locks


def mem_total():
    """0: nothing is counted here, allocation is proven on MicroPython."""
    return 0


mem_current = mem_peak = stack_use = mem_total


def mem_info(verbose=None):
    """Nothing to tell."""


qstr_info = mem_info


def opt_level(level=0):
    """Always 0."""
    return 0


def kbd_intr(char):
    """No effect."""


def alloc_emergency_exception_buf(size):
    """No effect."""


def schedule(function, arg):
    """Call function(arg) soon: at once here, but never inside another scheduled call."""
    global _running
    _queue.append((function, arg))
    if _running:
        return
    _running = True
    try:
        while _queue:
            f, a = _queue.pop(0)
            f(a)
    finally:
        _running = False


class RingIO:
    """A byte queue of fixed size: RingIO(size) or RingIO(bytearray). Never blocks."""

    def __init__(self, size):
        self._size = size if isinstance(size, int) else len(size) - 1
        self._data = bytearray()

    def any(self):
        """Bytes waiting."""
        return len(self._data)

    def read(self, n=-1):
        """Up to n bytes (all without n), b"" when empty."""
        n = len(self._data) if n is None or n < 0 else n
        out = bytes(self._data[:n])
        del self._data[:n]
        return out

    def readline(self, n=-1):
        """Up to and with a newline, b"" when empty."""
        i = self._data.find(b"\n") + 1 or len(self._data)
        return self.read(i if n is None or n < 0 else min(i, n))

    def readinto(self, buf, n=-1):
        """Fill buf; returns the count, 0 when empty."""
        data = self.read(len(buf) if n < 0 else min(n, len(buf)))
        buf[: len(data)] = data
        return len(data)

    def write(self, buf, off=None, n=None):
        """write(buf), write(buf, n) or write(buf, off, n); returns the count taken, 0 when full."""
        data = window(buf, off, n)[: self._size - len(self._data)]
        self._data += data
        return len(data)

    def close(self):
        """Empty it."""
        del self._data[:]


class front:  # noqa: N801 (a function's name)
    """front(buf)[:n], the first n bytes of a bytearray, for a comparison with another one, as memoryview(buf)[:n] on a board.

    Here that would forbid that it is resized.
    """

    def __init__(self, buf):
        self._buf = buf

    def __getitem__(self, n):
        return self

    def __eq__(self, head):
        return head is not None and self._buf.startswith(head)

    @staticmethod
    def lend(cls):
        """Let the views that a class's method _view(buf, i, j) makes end when the attribute _e of their object becomes negative.

        A board cannot end a view. Here they are views of a copy: one of `buf` itself would forbid that it is resized.
        """
        view = cls._view

        def _view(self, buf, i, j):
            v = view(self, bytes(buf[i:j]), 0, j - i)
            self.__dict__.setdefault("_views", []).append(v)
            return v

        def set_end(self, e):
            self._end = e
            if e < 0:
                for v in self.__dict__.pop("_views", ()):
                    v.release()

        cls._view = _view
        cls._end = cls._e
        cls._e = property(lambda self: self._end, set_end)


def window(buf, off, n):
    """The part of `buf` that MicroPython's write(buf), write(buf, n) or write(buf, off, n) means, as a view."""
    view = memoryview(buf).cast("B") if len(buf) else memoryview(b"")
    if off is None:
        return view
    if n is None:
        return view[:off] if off >= 0 else view
    return view[off : off + n] if n >= 0 else view[off:]
