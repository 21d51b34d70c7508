# A node that sleeps: wakes.py JSON plays a number of wakes of one ESP32 against a broker and prints what it did, as JSON.
# JSON: port, wakes, first (number of the first wake), seed, path (prefix of the files that stand for RTC memory), trouble.
# With trouble, in half of the wakes the connection breaks, or the chip is reset, after some number of bytes.
import json
import sys
import time

here = sys.argv[0].rsplit("/", 1)[0]
root = here + "/../.."
if sys.implementation.name != "micropython":
    sys.path.insert(0, root + "/ports/host")
    import umqtt5_host  # noqa: F401
for p in (root + "/ports/common", root + "/ports/esp32", root, here):
    sys.path.insert(0, p)
import fakes  # noqa: E402

with open(sys.argv[1]) as _f:
    a = json.load(_f)
world = fakes.World("esp32", path=a["path"], real=time)
world.ap("home", "secret", join_ms=0, dhcp_ms=0)
world.skip = 50  # waiting for Wi-Fi and back-off takes no time
fakes.install(world)
world.open()
import node  # noqa: E402

from umqtt5 import setup  # noqa: E402

accepted = []
count = [a["first"]]
awake = []
rnd = a["seed"]


def roll(n):
    global rnd
    rnd = (rnd * 1103515245 + 12345) & 0x7FFFFFFF
    return (rnd >> 8) % n


class Cut:
    """The real transport, which breaks after `left` bytes in both directions."""

    def __init__(self, t, left, how):
        self.t = t
        self.left = left
        self.how = how
        self.sock = t.sock if hasattr(t, "sock") else t

    def _count(self, n):
        if n:
            self.left -= n

    def _break(self):
        if self.left <= 0:
            self.t.close()
            if self.how:
                raise OSError(104)
            world.reset("wdt")

    def write(self, buf, off, n):
        self._break()
        if n > self.left:
            n = self.left
        n = self.t.write(buf, off, n)
        self._count(n)
        return n

    def readinto(self, buf, n=None):
        self._break()
        n = self.t.readinto(buf) if n is None else self.t.readinto(buf, n)
        self._count(n)
        return n

    def close(self):
        self.t.close()


def read(values):
    values["n"] = count[0]


def wake(k):
    how = roll(4) if a["trouble"] else 3
    options = {"drop": None}  # the image is full after some bad luck: then publish() must say so
    if how < 2:
        left = roll(420)
        options["transport"] = lambda c: Cut(setup._open_socket(c), left, how)
    s = {"wifi": [{"ssid": "home", "password": "secret"}], "server": "127.0.0.1", "port": a["port"], "sleep": "deep",
         "store": "rtc", "qos": 2, "interval": 60, "ntp": "", "inflight": 1000, "watchdog": 30}  # fmt: skip
    import settings

    assert settings.check(s) == []
    world.t0 = world.real.ticks_ms()
    world.skipped = 0
    world.fed = world.now()
    n = node.Node(s, read, **options)
    publish = n.client.publish

    def counted(topic, msg, retain=False, qos=0, props=b""):
        publish(topic, msg, retain, qos, props)
        if qos == 2:
            accepted.append(count[0])
        else:
            awake.append(int(msg))

    n.client.publish = counted
    try:
        n.run()
    except fakes.Reset as e:
        if e.cause == "deep":
            world.slept += 1
        return n.client.pending()
    raise AssertionError("a node that sleeps came back")


real_print = print
talk = []
node.print = lambda *x: talk.append(" ".join([str(y) for y in x]))
left = 0
for k in range(a["wakes"]):
    del talk[:]
    try:
        left = wake(k)
    except BaseException as e:
        real_print("\n".join(talk))
        raise e
    count[0] += 1
real_print(json.dumps({"accepted": accepted, "next": count[0], "left": left, "awake": awake, "seed": rnd, "full": world.slept}))
