"""Programs that deploy.py runs on the board, as text: what has to happen there in one go, without the cable.

Belongs here: MicroPython source for any board from 1.23 on. Never here: anything of the host.
"""

STAGE = "/.deploy"

# Helpers on the board. h: sha256 of files, None where there is none. rm: a file or a tree. md: the folders of a path.
HELPERS = """
import os, sys
def h(names):
    import hashlib
    b = bytearray(512)
    m = memoryview(b)
    for n in names:
        try:
            with open(n, 'rb') as f:
                s = hashlib.sha256()
                while True:
                    k = f.readinto(b)
                    if not k:
                        break
                    s.update(m[:k])
            print(n, ''.join('%02x' % c for c in s.digest()))
        except OSError:
            pass
def there(n):
    try:
        return os.stat(n)
    except OSError:
        return None
def rm(n):
    s = there(n)
    if s:
        if s[0] & 0x4000:
            for e in os.ilistdir(n):
                rm(n + '/' + e[0])
            os.rmdir(n)
        else:
            os.remove(n)
def md(n):
    p = ''
    for d in n.split('/')[1:-1]:
        p += '/' + d
        if not there(p):
            os.mkdir(p)
def cp(a, b):
    md(b)
    with open(a, 'rb') as f, open(b, 'wb') as g:
        while True:
            d = f.read(512)
            if not d:
                break
            g.write(d)
def tree(n):
    for e in os.ilistdir(n):
        p = n + '/' + e[0]
        if e[1] & 0x4000:
            tree(p)
        else:
            print(p)
def back():
    n = 0
    with open('/.deploy/journal') as f:
        for e in f:
            e = e.rstrip()
            o = '/.deploy/old' + e
            if there(o):
                rm(e)
                md(e)
                os.rename(o, e)
                n += 1
            elif there('/.deploy/swapped' + e):
                rm(e)
                n += 1
    rm('/.deploy')
    print(n)
def swap(put, drop):
    md('/.deploy/journal')
    with open('/.deploy/journal', 'w') as f:
        for e in put + drop:
            f.write(e + '\\n')
    for e in put + drop:
        if there(e):
            md('/.deploy/old' + e)
            os.rename(e, '/.deploy/old' + e)
        elif e in put:
            md('/.deploy/swapped' + e)
            open('/.deploy/swapped' + e, 'w').close()
        if e in put:
            md(e)
            os.rename('/.deploy/new' + e, e)
"""

# A watchdog that main.py started goes on when main.py is interrupted: feed it from a timer, and reset the chip at the end.
CALM = """
def calm():
    import sys
    try:
        import json, machine
        with open('/settings.json') as f:
            if not json.load(f).get('watchdog', 8):
                return
        w = machine.WDT(timeout=8000)
        t = machine.Timer(-1 if sys.platform == 'rp2' else 0)
        t.init(period=1000, callback=lambda t: w.feed())
    except (OSError, ValueError, AttributeError, TypeError):
        pass
calm()
"""
