"""What a .mpy file holds: for each function its bytecode size and its frame in words.

A frame of more than 11 words goes to the heap on every call (see umqtt5/core.py). Used by the size report and by a test.
Command line: python3 mpyinfo.py FILE.mpy ...
"""

import sys


class Reader:
    def __init__(self, data):
        self.b = data
        self.i = 0

    def byte(self):
        self.i += 1
        return self.b[self.i - 1]

    def take(self, n):
        self.i += n
        return self.b[self.i - n : self.i]

    def uint(self):
        v = 0
        while True:
            c = self.byte()
            v = v << 7 | c & 127
            if c < 128:
                return v


def _prelude(r):
    z = r.byte()
    state, exc, args, kwonly, n = z >> 3 & 15, z >> 2 & 1, z & 3, 0, 0
    while z & 128:
        z = r.byte()
        state |= (z & 0x30) << 2 * n
        exc |= (z & 2) << n
        args |= (z & 4) << n
        kwonly |= (z >> 3 & 1) << n
        n += 1
    z = r.byte()
    cells, info, n = z & 1, z >> 1 & 63, 0
    while z & 128:
        z = r.byte()
        cells |= (z & 1) << n
        info |= (z & 0x7E) << 5 + 6 * n
        n += 1
    return state + 1, exc, args + kwonly, info


def _code(r, qstrs, out):
    head = r.uint()
    kind, children, size = head & 3, head & 4, head >> 3
    data = r.take(size)
    if kind == 0:  # bytecode; native code has no such frame
        p = Reader(data)
        state, exc, _, _ = _prelude(p)
        out.append((qstrs[p.uint()], size, state + 3 * exc))
    if children:
        for _ in range(r.uint()):
            _code(r, qstrs, out)


def functions(data):
    """[(name, bytecode bytes, frame words)] of the .mpy file's content; the first is the module's body."""
    r = Reader(data)
    if r.take(2) != b"M\x06":
        raise ValueError("not a .mpy file of version 6")
    r.take(2)
    n_qstr, n_obj = r.uint(), r.uint()
    qstrs = []
    for _ in range(n_qstr):
        n = r.uint()
        if n & 1:
            qstrs.append("<static %d>" % (n >> 1))
        else:
            qstrs.append(r.take((n >> 1) + 1)[:-1].decode())
    for _ in range(n_obj):
        _object(r)
    out = []
    _code(r, qstrs, out)
    return out


def _object(r):
    kind = r.byte()
    if kind == 10:  # tuple
        for _ in range(r.uint()):
            _object(r)
    elif kind > 4:
        r.take(r.uint() + (kind in (5, 6)))  # str and bytes end in a zero


if __name__ == "__main__":
    for path in sys.argv[1:]:
        with open(path, "rb") as f:
            rows = functions(f.read())
        print("%s: %d functions, %d bytes" % (path, len(rows) - 1, sum(x[1] for x in rows)))
        for row in rows:
            print("  %-24s %5d B %3d words%s" % (*row, "  heap" if row[2] > 11 else ""))
