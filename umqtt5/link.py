"""Link: keeps a client connected.

What belongs here: when to try again and when to stop; subscriptions made again; the application told. What does not: where to go
instead (redirect.py), how to connect (setup.py), how to wait (the faces). Imports core; lazily redirect, subs, os. step() never
waits; poll() is for the blocking face: one of another kind calls step() and waits by itself.

Back-off: before try n after a loss the link waits a random time between 0 and min_ms * 2**n, at most max_ms ("full jitter"); n
goes back to 0 only after a connection that lasted steady_ms: two clients that take one identifier from each other slow down.
After such a connection all waits are 8 times as long (ceiling aside): when a broker dies, all its nodes were steady and lose it
in the same second. tools/herd.py shows what that does.
What a refusal (CONNACK, DISCONNECT) means is the action of its reason code:
  reconnect     as any lost connection
  retry-later   twice the back-off, and at least half of it is waited
  redirect      0x9C: the next connection goes to the server named, then home again; 0x9D: it is home from now on. Of several
                the first that can be reached. At most `hops` in a row; without a (permitted) name, or beyond that: retry-later
  fix-config    stop: poll() raises the Refused once, and nothing is tried until start(). 0x8E (taken over) is one of these
  bug           reconnect; also a violation by the server. on_down and `error` report it
"""
import time

from . import MQTTException, Refused, ResourceError

_ticks = time.ticks_ms
_diff = time.ticks_diff


def dice(n):
    """A random integer of 0..n-1 from the system's generator (a node without a seed must not roll what all others roll)."""
    import os

    return int.from_bytes(os.urandom(4), "big") * n >> 32


def _engine(link, c):
    # What step() does, as core's: in a function, `as e` makes a frame of more than 11 words, from the heap at each call.
    while True:
        try:
            if c._sock is None:
                if link._busy:
                    link._dead(None)
                k = 1000 if link.stopped else _diff(link._at, _ticks())
                if k <= 0:
                    if c.feed:
                        c.feed()
                    k = link._clean
                    if k is None:
                        k = not any(c.image[6:10])
                    link._was = k or c._need_clean
                    link._busy = True
                    c.start(k)
                    k = 1
            else:
                link._busy = True
                some = c._work()
                k = 0
                if c._state == 2 and not link.up:
                    link.up = True
                    link._clean = False
                    link._refs = link.error = None
                    link._at = _ticks()
                    link._subs = [] if c.session_present else list(getattr(c, "_routes", ()))
                    if link.on_up:
                        link.on_up(c, c.session_present)
                elif not some:  # the next thing that is due
                    if link.up and link._subs and not c._wn:  # the server lacks our session: subscribe again, route by route
                        from . import subs

                        f, options, to, _ = link._subs[0]
                        if f:
                            subs._ask(c, 0x82, b"", [(f, options)], to)
                        link._subs.pop(0)
                    else:
                        k = _ticks()
                        if link.up and link._at is not None and _diff(k, link._at) >= link.steady_ms:
                            link._at = None
                            link._spread = 3
                            link.retries = link._hops = 0
                        k = max(_diff(c._due, k), 1)
        except (Exception, KeyboardInterrupt, SystemExit) as e:
            link._run = None
            if not isinstance(e, OSError) and (
                c._sock is not None or not isinstance(e, MQTTException) or isinstance(e, ResourceError)
            ):
                raise
            c.close(0)
            link._dead(e)
            if link.stopped:
                raise
            k = 0
        yield k


class Link:
    """Keeps `client` connected: call poll() in the main loop instead of the client's own, or step() and wait by yourself.

    min_ms, max_ms, steady_ms   the back-off, see above
    clean_start   of the first connection; None: clean unless the session image knows a session. Later ones always resume
    random(n)     -> 0..n-1; default: the system's generator
    feed()        called at least twice a second while waiting, for a watchdog (the system's name look-up cannot be interrupted)
    on_up(client, session_present)   connected. Subscriptions of this client object are made again by the link when the server has
                  no session; so subscribe here the first time, or always. May use subscribe(); OSError counts as connection lost
    on_down(client, error)   a connection was lost or a try failed; error: the exception, None when the caller's own call had it
    allow, hops   see redirect.references() and above
    `up`, `stopped`, `retries` since the last steady connection, `next_ms`: the wait chosen last, `error`: why the last one ended.
    """

    up = _busy = False
    next_ms = 0
    error = _run = _refs = _home = None

    def __init__(
        self, client, min_ms=1000, max_ms=60000, steady_ms=30000, clean_start=None, random=None, feed=None, on_up=None,
        on_down=None, allow=None, hops=3,
    ):  # fmt: skip
        if not 0 < min_ms <= max_ms < 1 << 28:
            raise ValueError("0 < min_ms <= max_ms < 2**28")
        self.client = client
        self.min_ms = min_ms
        self.max_ms = max_ms
        self.steady_ms = steady_ms
        self._clean = clean_start
        self.random = random or dice
        self.on_up = on_up
        self.on_down = on_down
        self.allow = allow
        self.hops = hops
        if feed:
            client.feed = feed
        self.start()

    def start(self):
        """Go on after a stop, at once and with a fresh back-off."""
        self.stopped = False
        self.retries = self._hops = self._spread = 0
        self._at = _ticks()  # of the next try, or since when it is up; None: since steady_ms and more

    def stop(self):
        """Disconnect and stay down until start()."""
        self.client.disconnect()
        self.stopped = True
        self.up = self._busy = False

    def poll(self, timeout_ms=0):
        """Keep connected and handle what comes; wait at most `timeout_ms` for it. True when something was handled. 0 B while up.

        Raises Refused once for "fix-config", ResourceError (no memory for a module), what start() raises for wrong arguments, and
        what a handler or on_up raises.
        """
        t = time.ticks_add(_ticks(), timeout_ms)
        while True:
            k = self.step()
            if not k:
                return True
            k = min(k, _diff(t, _ticks()))
            if k <= 0:
                return False
            if self._busy:
                self.client._wait(k)
            else:
                if self.client.feed:
                    self.client.feed()
                time.sleep_ms(min(k, 400))

    def step(self):
        """One look without waiting. Returns 0: something was done, call again; or in how many milliseconds to call at the latest
        (earlier when the client's pollable() is ready). Raises as poll()."""
        c = self.client
        if c._in_handler():
            c._work()  # raises ResourceError
        if not self._run:  # the first step, or the one after an exception
            self._run = _engine(self, c).send
        return self._run(None)

    def _dead(self, e):
        # What comes next.
        c = self.client
        self.up = self._busy = False
        self.error = e
        i = min(self.retries + self._spread, 20)
        self.retries += 1
        a = ""
        if isinstance(e, Refused):
            a = e.reason_code.action
        elif e is None and c._gone:  # the caller's own call got the server's DISCONNECT
            from .reasons import ReasonCode

            a = ReasonCode(c._gone, 14).action
        if self._refs and not isinstance(e, Refused):  # that one cannot be reached: the next that the redirect named
            c.server, c.port = self._refs.pop(0)
            i = 0
        elif self._home:  # 0x9C holds for one connection
            c.server, c.port = self._home
            self._home = None
        k = a == "retry-later"
        if a == "redirect":
            from . import redirect

            if e and redirect.follow(self, e):
                i = 0
            else:
                k = 1
        n = min(self.min_ms << i + k, self.max_ms)
        k *= n >> 1
        self.next_ms = k + self.random(n - k + 1)
        if c._need_clean and not self._was:  # the server had a session that is none of ours: at once, and clean
            self.next_ms = 0
        self._at = time.ticks_add(_ticks(), self.next_ms)
        if a == "fix-config":
            self.stopped = True
        if self.on_down:
            self.on_down(c, e)
