"""ports/examples/home_assistant.py in memory: a connection that dies at the worst moment does not end the program."""

import sys

from support.packets import CONNECT, PUBLISH, SUBSCRIBE, disconnect, puback, publish
from support.peer import Peer
from support.t import eq
from umqtt5.link import Link

sys.path.append(sys.path[0].replace("/tests", "/ports/examples"))
from home_assistant import Node  # noqa: E402


class House:
    """A node and its server in memory; `die`: the connection is gone when the temperature is read, so before it is published."""

    def __init__(self, **options):
        self.peer = Peer()
        self.reads = 0
        self.die = False
        self.node = Node("cellar", "peer", read=self.read, transport=self.peer, **options)
        self.node.link = Link(self.node.client, random=lambda n: 0, on_up=self.node.up)  # no back-off

    def read(self):
        self.reads += 1
        if self.die:
            self.die = False
            self.peer.session_present = 1
            self.peer.reset()
        return 21.5

    def until(self, condition):
        for _ in range(2000):
            self.node.poll(1)
            if condition():
                return
        raise AssertionError("does not happen: %r" % self.peer.packets[-5:])

    def lose(self, times):
        """That often: a connection, its temperature is due, the connection is gone, the next one is there."""
        for _ in range(times):
            self.until(lambda: self.node.link.up and not self.peer.link.dead)
            n = len(self.peer.of(CONNECT))
            self.die = True
            self.until(lambda: len(self.peer.of(CONNECT)) == n + 1)

    def sent(self, topic):
        return [bytes(p.payload) for p in self.peer.of(PUBLISH) if p.topic == "umqtt5/cellar/" + topic]


def test_a_connection_that_dies_between_poll_and_publish_is_made_again():
    h = House(seconds=0)
    h.lose(3)
    h.until(lambda: len(h.sent("temperature")) >= 2)
    eq(len(h.peer.of(CONNECT)), 4)
    assert h.node.dropped >= 3
    eq(h.sent("available")[-1], b"online")


def test_a_connection_that_dies_in_the_middle_of_the_announcement_is_made_again():
    """The rest of the announcement finds a dead connection, as does the temperature right after it."""
    h = House(seconds=0)
    first = []

    def answer(peer, p):
        if p.topic.endswith("/available") and not first:
            first.append(p)
            peer.session_present = 1
            peer.reset()
            return None
        return puback(p.pid) if p.qos else None

    h.peer.answers[PUBLISH] = answer
    h.until(lambda: len(h.peer.of(CONNECT)) == 2 and h.sent("temperature") and not h.node.client.pending())
    eq(h.sent("available")[-1], b"online")
    eq(h.sent("relay")[-1], b"off")


def test_connections_too_short_for_an_acknowledgement_do_not_fill_the_image_for_ever():
    """Each announces anew; what the image has no room for is announced when the older ones are acknowledged."""
    h = House(seconds=0)
    h.peer.answers[PUBLISH] = lambda peer, p: None
    h.lose(8)
    h.until(lambda: h.node.link.up)
    h.peer.send(publish("umqtt5/cellar/relay/set", b"on", 1, 7, [("subscription_identifier", 1)]))  # the switch is used
    h.until(lambda: h.node.on)
    assert h.node.stale
    sent = [(p.pid, p.qos) for p in h.peer.of(PUBLISH)]
    h.peer.answers.pop(PUBLISH)
    for pid in sorted({pid for pid, qos in sent if qos}):
        h.peer.send(puback(pid))
    h.until(lambda: not h.node.stale and not h.node.client.pending())
    eq(h.sent("relay")[-1], b"on")
    eq(h.sent("available")[-1], b"online")


def test_a_server_that_is_shut_down_while_the_node_subscribes_is_waited_for():
    h = House(seconds=0)
    h.peer.answers[SUBSCRIBE] = [lambda peer, p: disconnect(0x8B), lambda peer, p: peer.reset()]
    h.until(lambda: h.sent("relay"))
    eq(len(h.peer.of(CONNECT)), 3)
