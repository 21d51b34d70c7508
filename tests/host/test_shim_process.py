"""The shim leaves the rest of a CPython process alone, and can be found with and without an installation."""

import asyncio
import os
import select
import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import umqtt5_host
from umqtt5_host import ssl as shim_ssl
from umqtt5_host.socket import socket as ShimSocket

ROOT = Path(__file__).resolve().parent.parent.parent
CERTS = ROOT / "tests/support/certs"
LOOK = """
import sys, {first}
import socket, ssl, select, time, asyncio
before = (socket.socket, ssl.SSLSocket, select.poll, asyncio.Event)
import umqtt5, micropython, {module}
assert (socket.socket, ssl.SSLSocket, select.poll, asyncio.Event) == before
assert not hasattr(socket.socket, "readinto") and not hasattr(asyncio, "sleep_ms")
assert "umqtt5_host" not in repr(socket) and sys.modules["socket"] is socket
assert time.ticks_diff(time.ticks_add(time.ticks_ms(), 5), time.ticks_ms()) <= 5
assert not [p for p in sys.path if "ports/host" in p], sys.path
print(umqtt5_host.__file__)
"""


def python(code, cwd, **env):
    """Run code in a fresh CPython that knows the project only by the current directory or env."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env={**clean, **env}, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("module", ["umqtt5_host", "umqtt5.wire, umqtt5_host"])
def test_a_checkout_needs_no_installation_and_the_process_is_left_alone(module):
    out = python(LOOK.format(first="os", module=module), ROOT)
    assert out == os.path.normpath(str(ROOT / "umqtt5/../ports/host/umqtt5_host/__init__.py")) or "ports/host" in out


def test_pip_install_brings_the_shim(tmp_path):
    target = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--target", str(target)]
    copy = tmp_path / "source"  # pip builds inside the folder it is given
    copy.mkdir()
    for name in ("umqtt5", "ports", "pyproject.toml", "README.md", "LICENSE"):
        if (ROOT / name).exists():
            subprocess.run(["cp", "-r", str(ROOT / name), str(copy)], check=True)
    done = subprocess.run(pip + [str(copy)], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    out = python(LOOK.format(first="os", module="umqtt5_host"), tmp_path, PYTHONPATH=str(target))
    assert out == str(target / "umqtt5_host/__init__.py")


def test_only_adopted_modules_see_the_shim(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    code = "import socket, select, asyncio\nfrom asyncio import core\ndef late():\n    import ssl\n    return ssl\n"
    (tmp_path / "board_program.py").write_text(code)
    (tmp_path / "host_program.py").write_text(code.replace("from asyncio import core\n", ""))
    umqtt5_host.adopt("board_program")
    import board_program
    import host_program

    assert board_program.socket.socket is ShimSocket
    assert board_program.late() is shim_ssl
    assert hasattr(board_program.core, "_io_queue") and board_program.asyncio.sleep_ms
    assert (host_program.socket, host_program.select, host_program.asyncio) == (socket, select, asyncio)
    assert host_program.late() is ssl


def test_a_board_program_runs_by_command(tmp_path):
    (tmp_path / "helper.py").write_text("X = 5\n")
    (tmp_path / "main.py").write_text(
        "import sys, time, socket, micropython, helper\n"
        "assert hasattr(socket.socket, 'readinto') and __name__ == '__main__'\n"
        "time.sleep_ms(1)\nprint(sys.argv[1:], helper.X)\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT / "ports/host")}
    command = [sys.executable, "-m", "umqtt5_host", str(tmp_path / "main.py"), "a", "b"]
    assert subprocess.check_output(command, env=env, text=True) == "['a', 'b'] 5\n"


def tls_server(connections):
    """Address of a TLS server of CPython's own that answers each connection with what it sent, in capitals."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTS / "server.pem", CERTS / "server.key")
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        for _ in range(connections):
            with context.wrap_socket(listener.accept()[0], server_side=True) as s:
                s.sendall(s.recv(100).upper())
        listener.close()

    threading.Thread(target=serve, daemon=True).start()
    return listener.getsockname()


def test_a_context_of_cpython_wraps_both_kinds_of_sockets():
    address = tls_server(2)
    context = ssl.create_default_context(cafile=str(CERTS / "ca.pem"))
    with context.wrap_socket(socket.create_connection(address), server_hostname="localhost") as s:
        assert type(s) is ssl.SSLSocket
        s.sendall(b"plain")
        assert s.recv(10) == b"PLAIN"
    ours = ShimSocket()
    ours.connect(address)
    s = context.wrap_socket(ours, server_hostname="localhost")
    assert type(s) is shim_ssl.TLSSocket
    assert s.write(b"xxshimxx", 2, 4) == 4
    buf = bytearray(9)
    assert s.readinto(buf, 4) == 4
    assert buf[:4] == b"SHIM"
    s.close()


def test_ticks_can_be_put_before_the_wrap():
    import time

    period = 1 << 30
    try:
        umqtt5_host.set_ticks(period - 500)
        start = time.ticks_ms()
        assert start >= period - 500
        time.sleep_ms(520)
        now = time.ticks_ms()
        assert now < start, "the counter wrapped"
        assert 500 <= time.ticks_diff(now, start) < 20000
    finally:
        umqtt5_host.set_ticks(0)
