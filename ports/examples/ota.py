"""A file fetched over MQTT in pieces: the node asks for each one, so that it sets the pace, resumes, and needs only `rx` bytes.

    fetch(client, "ota", "app.bin", "/app.bin")      # on the node: True when there is a new file, checked by its SHA-256
    serve(client, "ota", "firmware/")                # on any computer that has the files

Asks "info NAME" (answer: size and SHA-256 in hex) and "piece NAME OFFSET SIZE" on the topic, see command.py. What was received
stays in PATH.part: after a reset the transfer goes on from there; the file at PATH is replaced only when all of it is right.
"""

import hashlib
import os
from binascii import hexlify

from command import Commands


def _digest(path):
    h = hashlib.sha256()
    buf = bytearray(512)
    view = memoryview(buf)
    with open(path, "rb") as f:
        n = f.readinto(buf)
        while n:
            h.update(view[:n])
            n = f.readinto(buf)
    return hexlify(h.digest()).decode()


def _size(path):
    try:
        return os.stat(path)[6]
    except OSError:
        return -1


def _ask(client, topic, line):
    # At QoS 0: a piece that got lost is asked for again, which costs less than acknowledgements for all of them.
    for _ in range(3):
        try:
            return client.request(topic, line, 5)
        except OSError:
            if not client.isconnected():
                raise
    raise OSError(110, "no answer")


def fetch(client, topic, name, path, piece=256, progress=None):
    """Fetch `name` into `path`; False when it is there already. OSError: no answer in time, or not the file that was announced.

    piece: bytes to ask for at a time: with topic and properties (about 60) they have to fit the client's `rx`.
    progress(bytes so far, size) is called after each piece.
    """
    size, digest = _ask(client, topic, "info " + name).decode().split()
    if digest == "error:":
        raise OSError(2, name)
    size = int(size)
    if _size(path) == size and _digest(path) == digest:
        return False
    part = path + ".part"
    at = max(0, _size(part))
    if at > size:
        os.remove(part)
        at = 0
    with open(part, "ab") as f:
        while at < size:
            data = _ask(client, topic, "piece %s %d %d" % (name, at, min(piece, size - at)))
            if not data or len(data) > piece:
                raise OSError(5, "no such piece")
            f.write(data)
            at += len(data)
            if progress:
                progress(at, size)
    if _digest(part) != digest:
        os.remove(part)
        raise OSError(5, "the file is not the one announced")
    try:
        os.remove(path)
    except OSError:
        pass
    os.rename(part, path)
    return True


def serve(client, topic, folder):
    """Answer for the files of `folder`; the client has to be connected and polled. Returns the Commands."""
    commands = Commands(client, topic)

    def info(args):
        return "%d %s" % (_size(folder + _name(args[0])), _digest(folder + _name(args[0])))

    def piece(args):
        with open(folder + _name(args[0]), "rb") as f:
            f.seek(int(args[1]))
            return f.read(int(args[2]))

    commands.add("info", info)
    commands.add("piece", piece)
    return commands


def _name(name):
    # Of a file in that folder only.
    if "/" in name or "\\" in name or name.startswith("."):
        raise ValueError(name)
    return name


def main(what, host, port, topic, *args):
    """serve FOLDER/, or fetch NAME PATH"""
    from umqtt5 import MQTTClient

    c = MQTTClient("", host, int(port), rx=600)
    c.connect()
    if what == "serve":
        serve(c, topic, args[0])
        print("ready")
        while True:
            c.poll(1000)
    print(fetch(c, topic, *args))
    c.disconnect()


if __name__ == "__main__":
    import sys

    main(*sys.argv[1:])
