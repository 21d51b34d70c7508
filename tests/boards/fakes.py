# Stand-ins for network, machine, esp32, rp2, ntptime and (in virtual time) time, that behave as the real ones do: drivers that
# refuse calls in the wrong state, joins that take time and fail by name, links that go away, a watchdog that bites, RTC memory
# and NVS that survive what they survive. Runs on CPython and MicroPython; install() puts them into sys.modules.
#
# Sources of the behaviour: MicroPython's ports/esp32/network_wlan.c, extmod/network_cyw43.c, machine_rtc.c, machine_wdt.c.
import json
import sys
from binascii import hexlify, unhexlify

_PERIOD = 1 << 30  # ticks_ms() wraps here on both boards


class Reset(BaseException):
    """The chip starts anew. `cause` is what machine.reset_cause() says afterwards, `ms` how long it sleeps first."""

    def __init__(self, cause, ms=0):
        super().__init__(cause)
        self.cause = cause
        self.ms = ms


class Space:
    """A module: attributes given by keyword."""

    def __init__(self, **kw):
        for k in kw:
            setattr(self, k, kw[k])


def sta():
    return Space(late=0, target=None, at=0, reconnects=-1, pm=None, was_up=False)


class World:
    """Everything outside the program: time, the air, power. One for a test; survives any number of resets of the chip."""

    def __init__(self, board="esp32", start_ms=0, path=None, real=None, exits=False):
        self.board = board
        self.skip = 1 << 30
        self.ms = start_ms
        self.real = real  # a time module: real time; None: virtual time that sleep moves on
        self.exits = exits  # a reset ends this process (board.py starts it again); else it is the exception Reset
        self.skipped = 0  # real time: ms that sleep did not wait
        self.aps = {}
        self.path = path  # prefix of files that stand for RTC memory and NVS; None: kept in this object
        self.rtc = b""
        self.nvs = {}
        self.cause = "power"
        self.wdt_ms = None
        self.fed = 0
        self.feeds = 0
        self.unix0 = None  # date at ms 0 as the chip knows it (seconds since 1970), None: never set
        self.ntp = "ok"  # "ok", "timeout", "short"
        self.ntp_asked = 0
        self.radio_on = False
        self.slept = 0
        self.temperature = 25.0
        self.log = []
        self.sta = sta()
        self.files = {}

    def ap(self, ssid, password="", join_ms=800, dhcp_ms=400, status=None):
        """An access point; `status`: the driver's number when it refuses."""
        self.aps[ssid] = Space(password=password, join_ms=join_ms, dhcp_ms=dhcp_ms, status=status)

    def now(self):
        return self.real.ticks_ms() + self.skipped if self.real else self.ms

    def pass_ms(self, ms):
        """Virtual time goes on; a watchdog that was not fed bites."""
        if self.real:
            self.real.sleep_ms(ms)
            return
        self.ms += ms
        self.bite()

    def bite(self):
        if self.wdt_ms is not None and self.now() - self.fed > self.wdt_ms:
            self.reset("wdt")

    def reset(self, cause, ms=0):
        self.cause = cause
        self.wdt_ms = None
        self.radio_on = False
        self.sta = sta()
        if cause == "power":
            self.keep("rtc", b"")
            self.unix0 = None
        if self.exits:  # the process that plays the chip (board.py) reads why, and starts anew
            self.keep("reset", ("%s %d" % (cause, ms)).encode())
            raise SystemExit(3)
        raise Reset(cause, ms)

    def open(self):
        """Open the files that stand for memories and for the reset line; later the file system may be another one."""
        for name in ("rtc", "nvs", "reset"):
            f = self.path + "." + name
            try:
                self.files[name] = open(f, "r+b")
            except OSError:
                self.files[name] = open(f, "w+b")
        if self.keep("nvs"):
            self.nvs = {k: unhexlify(v) for k, v in json.loads(self.keep("nvs")).items()}

    def keep(self, name, data=None):
        """Read or write a memory: 4 bytes of length, then its content."""
        if self.path is None:
            if data is not None:
                setattr(self, name, data)
            return getattr(self, name)
        if not self.files:
            self.open()
        f = self.files[name]
        f.seek(0)
        if data is not None:
            f.write(len(data).to_bytes(4, "big") + data)
            f.flush()
            return data
        return f.read(int.from_bytes(f.read(4), "big"))


_TIMES = {"wrong": 2500, "no ap": 3000}


def wlan_class(world):
    esp = world.board == "esp32"

    class WLAN:
        PM_NONE = 0 if esp else 16
        PM_PERFORMANCE = 1 if esp else 0xA11142
        PM_POWERSAVE = 2 if esp else 17
        IF_STA = 0

        def __init__(self, interface=0):
            self.s = world.sta  # one station: every object is the same interface

        def active(self, on=None):
            if on is None:
                return world.radio_on
            world.radio_on = bool(on)
            if not on:
                self.s.target = None

        def deinit(self):
            if esp:
                raise AttributeError("'WLAN' object has no attribute 'deinit'")
            world.radio_on = False
            self.s.target = None

        def _need(self):
            if not world.radio_on:
                raise OSError("Wifi Not Started") if esp else OSError(1)

        def connect(self, ssid=None, key=None, *, bssid=None):
            self._need()
            s = self.s
            if esp and s.target is not None and not self.isconnected() and self.status() == 1001:
                raise OSError("Wifi Internal State Error")
            s.target = (ssid, key or "")
            s.at = world.now()
            s.was_up = False
            world.log.append("join " + str(ssid))

        def disconnect(self):
            self._need()
            if esp and self.s.target is not None and self._state() in ("joining", "noip", "up"):
                self.s.late = world.now() + 120  # the event that reports it comes later
            self.s.target = None
            self.s.was_up = False

        def _state(self):
            # -> ("idle" | "joining" | "noip" | "up" | "wrong" | "no ap" | "other", number)
            s = self.s
            if s.target is None:
                return "idle"
            ssid, key = s.target
            if s.late and s.at < s.late <= world.now():  # reported after connect(): ends that try
                return "left"
            ap = world.aps.get(ssid)
            passed = world.now() - s.at
            if s.was_up and (ap is None or ap.password != key):
                return "lost"
            if ap is None:
                return "no ap" if passed >= _TIMES["no ap"] else "joining"
            if ap.status is not None:
                return "other" if passed >= ap.join_ms else "joining"
            if ap.password != key:
                return "wrong" if passed >= _TIMES["wrong"] else "joining"
            if passed < ap.join_ms:
                return "joining"
            if passed < ap.join_ms + ap.dhcp_ms:
                return "noip"
            s.was_up = True
            return "up"

        def isconnected(self):
            return world.radio_on and self._state() == "up"

        def status(self, what=None):
            if what == "rssi":
                if not self.isconnected():
                    raise OSError("Wifi Not Connected") if esp else OSError(-1)
                return -60
            if what is not None:
                raise ValueError("unknown status param")
            state = self._state()
            if not esp:
                if state == "other":
                    return world.aps[self.s.target[0]].status
                return {"idle": 0, "joining": 1, "noip": 2, "up": 3, "wrong": -3, "no ap": -2, "lost": 0}[state]
            if state == "up":
                return 1010
            if state in ("idle",):
                return 1000
            if state in ("joining", "noip") or self.s.reconnects == -1:
                return 1001  # the driver retries without end: no reason is ever told
            return (
                {"wrong": 202, "no ap": 201, "lost": 200, "left": 8}[state]
                if state != "other"
                else world.aps[self.s.target[0]].status
            )

        def config(self, *args, **kw):
            self._need()
            s = self.s
            for k in kw:
                if k == "pm":
                    s.pm = kw[k]
                elif k == "reconnects" and esp:
                    s.reconnects = kw[k]
                else:
                    raise ValueError("unknown config param")
            if args:
                if args[0] == "mac":
                    return b"\x24\x6f\x28\x01\x02\x03"
                return getattr(s, args[0])

        def ifconfig(self):
            return ("192.168.1.23", "255.255.255.0", "192.168.1.1", "192.168.1.1") if self.isconnected() else ("0.0.0.0",) * 4

    return WLAN


def network_module(world):
    esp = world.board == "esp32"
    m = Space(STA_IF=0, AP_IF=1, WLAN=wlan_class(world))
    if esp:
        numbers = {"IDLE": 1000, "CONNECTING": 1001, "GOT_IP": 1010, "NO_AP_FOUND": 201, "WRONG_PASSWORD": 202,
                   "CONNECT_FAIL": 203, "ASSOC_FAIL": 203, "HANDSHAKE_TIMEOUT": 204, "BEACON_TIMEOUT": 200}  # fmt: skip
    else:
        numbers = {"IDLE": 0, "CONNECTING": 1, "GOT_IP": 3, "NO_AP_FOUND": -2, "WRONG_PASSWORD": -3, "CONNECT_FAIL": -1}
    for n in numbers:
        setattr(m, "STAT_" + n, numbers[n])
    world.country = "XX"
    world.hostname = "mpy-" + world.board

    def country(code=None):
        if code is None:
            return world.country
        if len(code) != 2:
            raise ValueError
        if world.radio_on:
            world.log.append("country set while the radio is on")
        world.country = code

    def hostname(name=None):
        if name is None:
            return world.hostname
        if len(name) > 32:
            raise ValueError
        world.hostname = name

    m.country = country
    m.hostname = hostname
    return m


def machine_module(world, under=None):
    """The chip's `machine`; what it lacks is looked up in `under`, the machine module of the unix build."""
    esp = world.board == "esp32"
    m = Space(PWRON_RESET=1, WDT_RESET=3)
    for n in ("idle", "mem8", "mem16", "mem32", "soft_reset"):
        if hasattr(under, n):
            setattr(m, n, getattr(under, n))
    causes = {"power": 1, "hard": 2, "wdt": 3, "deep": 4, "soft": 5}
    if esp:
        m.HARD_RESET, m.DEEPSLEEP_RESET, m.SOFT_RESET = 2, 4, 5
    m.unique_id = lambda: b"\x24\x6f\x28\x01\x02\x03" if esp else b"\xe6\x61\x38\x52\x83\x4b\x2c\x2f"
    m.reset_cause = lambda: causes.get(world.cause, 1) if esp else (3 if world.cause == "wdt" else 1)
    m.reset = lambda: world.reset("hard")
    m.freq = lambda *a: 160000000 if esp else 125000000

    class WDT:
        def __init__(self, id=0, timeout=5000):
            if esp and timeout < 1000:
                raise ValueError("WDT timeout too short")
            if not esp and timeout > 8388:
                raise ValueError("timeout exceeds 8388")
            world.wdt_ms = timeout
            world.fed = world.now()

        def feed(self):
            world.bite()
            world.fed = world.now()
            world.feeds += 1

    class RTC:
        def datetime(self, t=None):
            return (2026, 1, 1, 3, 0, 0, 0, 0)

    if esp:

        class RTC(RTC):
            def memory(self, data=None):
                if data is None:
                    return bytes(world.keep("rtc"))
                if len(data) > 2048:
                    raise ValueError("buffer too long")
                world.keep("rtc", bytes(data))

    class ADC:
        CORE_TEMP = 4

        def __init__(self, channel):
            if esp and channel == 4:
                raise ValueError("invalid pin")
            self.channel = channel

        def read_u16(self):
            return int((0.706 - 0.001721 * (world.temperature - 27)) / 3.3 * 65535)

    def deepsleep(ms=0):
        world.slept += ms
        world.reset("deep" if esp else "power", ms)

    def lightsleep(ms=0):
        if world.radio_on and not esp:
            raise RuntimeError("the CYW43 is on: a Pico W hangs here")
        world.slept += ms
        world.pass_ms(ms)

    if not esp:
        m.bootloader = lambda: world.reset("bootloader")
    m.WDT, m.RTC, m.ADC, m.deepsleep, m.lightsleep = WDT, RTC, ADC, deepsleep, lightsleep
    return m


def esp32_module(world, sensor="mcu"):
    class NVS:
        def __init__(self, namespace):
            if len(namespace) > 15:
                raise ValueError
            self.n = namespace
            self.new = {}

        def set_blob(self, key, value):
            if len(key) > 15:
                raise OSError(-4361, "ESP_ERR_NVS_KEY_TOO_LONG")
            self.new[key] = bytes(value)

        def get_blob(self, key, buf):
            v = self.new.get(key)
            if v is None:
                v = world.nvs.get(self.n + "/" + key)
            if v is None:
                raise OSError(-4354, "ESP_ERR_NVS_NOT_FOUND")
            if len(v) > len(buf):
                raise OSError(-4364, "ESP_ERR_NVS_INVALID_LENGTH")
            buf[: len(v)] = v
            return len(v)

        def erase_key(self, key):
            if world.nvs.pop(self.n + "/" + key, None) is None:
                raise OSError(-4354, "ESP_ERR_NVS_NOT_FOUND")

        def commit(self):
            for k in self.new:
                world.nvs[self.n + "/" + k] = self.new[k]
            self.new = {}
            if world.path is not None:
                world.keep("nvs", json.dumps({k: hexlify(v).decode() for k, v in world.nvs.items()}).encode())

    m = Space(NVS=NVS)
    if sensor == "mcu":
        m.mcu_temperature = lambda: int(world.temperature)
    elif sensor == "raw":
        m.raw_temperature = lambda: int(world.temperature * 1.8 + 32 + 0.5)
    return m


def ntptime_module(world, epoch=946684800):
    m = Space(host="pool.ntp.org", timeout=1)

    def settime():
        world.ntp_asked += 1
        if not (world.sta.target and world.sta.was_up):
            raise OSError(-202)  # getaddrinfo: no route
        if world.ntp == "timeout":
            world.pass_ms(1000)
            raise OSError(110, "ETIMEDOUT")
        if world.ntp == "short":
            raise IndexError("buffer too small")
        world.pass_ms(40)
        world.unix0 = 1790000000 - world.now() // 1000

    m.settime = settime
    return m


def time_module(world, real):
    """Virtual time with MicroPython's meaning: ticks wrap at 2**30, the epoch is 2000, as on the boards."""

    def ticks_diff(a, b):
        return ((a - b + _PERIOD // 2) & (_PERIOD - 1)) - _PERIOD // 2

    def ticks_add(t, d):
        if not -_PERIOD // 2 < d < _PERIOD // 2:
            raise OverflowError("ticks interval overflow")
        return (t + d) & (_PERIOD - 1)

    def gmtime(t=None):
        return (2000, 1, 1, 0, 0, 0, 5, 1) if t == 0 else real.gmtime(t)

    return Space(
        ticks_ms=lambda: world.ms & (_PERIOD - 1), ticks_us=lambda: (world.ms * 1000) & (_PERIOD - 1), ticks_diff=ticks_diff,
        ticks_add=ticks_add, sleep_ms=world.pass_ms, sleep=lambda s: world.pass_ms(int(s * 1000)), gmtime=gmtime,
        time=lambda: (world.unix0 - 946684800 + world.ms // 1000) if world.unix0 else world.ms // 1000,
    )  # fmt: skip


def real_time_module(world):
    """Real time, counted in milliseconds from the start of the chip. world.skip: sleeps of that many ms and more do not wait."""
    t = world.real
    keep = {n: getattr(t, n) for n in dir(t) if n[:2] != "__"}
    world.t0 = t.ticks_ms()

    def sleep_ms(ms):
        if ms >= world.skip:
            world.skipped += ms
        else:
            t.sleep_ms(ms)

    keep["ticks_ms"] = lambda: (t.ticks_diff(t.ticks_ms(), world.t0) + world.skipped) & (_PERIOD - 1)
    keep["sleep_ms"] = sleep_ms
    return Space(**keep)


def install(world, sensor="mcu"):
    """Put the fakes of world.board into sys.modules; with world.real None, virtual time too. Forgets the boards' modules."""
    for name in ("chip", "wifi", "clock", "node"):
        sys.modules.pop(name, None)
    if "real time" not in _kept:
        import time

        _kept["real time"] = time
        try:
            import machine

            _kept["machine"] = machine
        except ImportError:
            _kept["machine"] = None
    world.sta = sta()
    sys.modules["network"] = network_module(world)
    sys.modules["machine"] = machine_module(world, _kept["machine"])
    sys.modules["ntptime"] = ntptime_module(world)
    for name in ("esp32", "rp2"):
        sys.modules.pop(name, None)
    if world.board == "esp32":
        sys.modules["esp32"] = esp32_module(world, sensor)
    else:
        sys.modules["rp2"] = Space(country=sys.modules["network"].country)
    if world.real is not None:
        sys.modules["time"] = real_time_module(world)
    else:
        sys.modules["time"] = time_module(world, _kept["real time"])
    return world


_kept = {}
