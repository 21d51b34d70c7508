"""On MicroPython: what each operation costs. Argument "fuel" (32-bit WebAssembly only), "alloc", "wire", or
"loop LIBRARY NAME COUNT".

Prints "= library | operation | figure ..." lines. fuel: WebAssembly instructions of one call, less those of an empty function.
alloc: bytes of 100 calls by gc.mem_alloc() with the collector off, by micropython.mem_total() (-1 where it is missing), and
whether it runs under heap_lock. wire: bytes of 100 messages on
the wire. loop: runs the operation COUNT times, for callgrind.
"""

import gc
import sys

import micropython
import operations

if sys.argv[1] != "loop":
    gc.disable()


def fuel():
    return int(host.call("fuel", ""))


def fuel_of(sock, pre, f, n=10):
    t = 0
    for i in range(-8, n):
        pre()
        a = fuel()
        b = fuel()
        f()
        c = fuel()
        if i >= 0:
            t += c - b - (b - a)
        sock.empty()
    return t // n


def repeat(sock, pre, f, n):
    while n:
        pre()
        f()
        sock.empty()
        n -= 1


def alloc_of(sock, pre, f, n=100):
    repeat(sock, pre, f, 5)
    a = gc.mem_alloc()
    repeat(sock, pre, f, n)
    a = gc.mem_alloc() - a
    t = -1
    if hasattr(micropython, "mem_total"):
        t = micropython.mem_total()
        repeat(sock, pre, f, n)
        t = micropython.mem_total() - t
    locked = "locked"
    micropython.heap_lock()
    try:
        repeat(sock, pre, f, 3)
    except Exception:
        locked = "needs heap"
    micropython.heap_unlock()
    return a, t, locked


def main(what, *args):
    if what == "loop":
        for _, sock, ops in operations.all_sets(args[0]):
            if args[1] in ops:
                pre, f = ops[args[1]]
                repeat(sock, pre, f, 3)
                repeat(sock, pre, f, int(args[2]))
        return
    if what == "wire":
        for row in operations.wire_bytes():
            print("= %s | %d" % row)
        return
    empty = 0
    if what == "fuel":
        s = operations.Socket()
        empty = fuel_of(s, operations.nothing, lambda c=0, t=0, p=0: None)
    for lib, sock, ops in operations.all_sets():
        for n in ops:
            pre, f = ops[n]
            if what == "fuel":
                print("= %s | %s | %d" % (lib, n, fuel_of(sock, pre, f) - empty))
            else:
                print("= %s | %s | %d | %d | %s" % ((lib, n) + alloc_of(sock, pre, f)))


if sys.argv[1] == "fuel":
    import host
main(*sys.argv[1:])
