"""The board on a pseudo-terminal itself: how it is cut off, reset and switched off."""

import os

from conftest import until


def test_it_is_known_to_be_cut_off_before_the_other_end_can_see_it(boards, monkeypatch):
    b = boards(main=False)
    ends = (b._master, b._slave)
    known = []
    close = os.close
    monkeypatch.setattr(os, "close", lambda fd: (known.append(b.pulled) if fd in ends else None, close(fd))[1])
    b.pull_at(b"now")
    port = os.open(b.port, os.O_RDWR | os.O_NOCTTY)
    os.write(port, b"now")
    b._thread.join(60)
    assert known[:2] == [True, True]
    close(port)


def test_switched_off_twice_it_closes_nothing_of_others(boards):
    b = boards(main=False)
    b.close()
    pipes = [os.pipe() for _ in range(4)]  # they get the numbers that have become free
    b.close()
    for r, w in pipes:
        assert os.write(w, b"x") == 1
        os.close(r)
        os.close(w)


def test_switched_off_while_it_starts_it_leaves_no_interpreter(boards):
    for _ in range(3):
        b = boards(main=False)
        b.reset()
        until(lambda: b.resets, 60)
        b.close()
        assert b._proc.poll() is not None and not b._thread.is_alive()


def test_each_reset_counts(boards):
    b = boards(main=False)
    for n in range(1, 4):
        b.reset()
        assert until(lambda n=n: b.causes == ["hard"] * n, 60), b.causes


def test_it_is_switched_off_although_nobody_reads_what_it_says(boards):
    b = boards(main=False)
    b.wait_for(b">>> ")
    port = os.open(b.port, os.O_RDWR | os.O_NOCTTY)
    os.write(port, b"while 1: print('x' * 1000)\r\n\r\n")
    last = -1
    while last != len(b.output):  # until the port is full
        last = len(b.output)
        until(lambda last=last: len(b.output) > last, 1)
    assert last > 4000
    b.close()
    os.close(port)
