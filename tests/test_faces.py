"""The dialogue tests of the blocking face, against the asyncio face."""

import test_acks
import test_connack
import test_disconnect
import test_publish
import test_qos2
import test_receive
import test_subscribe

from support import faces

INTERPRETERS = ("cpython", "micropython")
TIMEOUT = 300
HEAP = "64m"


def test_publish_dialogues():
    # the asyncio face waits where the other says there is no room, or writes on: tests/test_aio.py; the third takes long
    own = ("test_no_room", "test_partial_writes", "test_identifiers_wrap_and_never_meet_one_in_use")
    faces.run(test_publish, leave_out=own)


def test_acknowledgement_dialogues():
    faces.run(test_acks)


def test_connack_dialogues():
    faces.run(test_connack)


def test_disconnect_dialogues():
    # it waits for the socket; and its reader may have seen the PUBACK before
    own = ("test_disconnect_while_the_socket_takes_nothing", "test_nothing_follows_disconnect")
    faces.run(test_disconnect, leave_out=own)


def test_qos2_dialogues():
    faces.run(test_qos2)


def test_receive_dialogues():
    # what a handler raises goes to the loop, and waiting calls are coroutines: tests/test_aio.py has both
    own = (
        "test_a_handler_that_raises_leaves_the_message_unacknowledged",
        "test_a_message_whose_handler_raised_cannot_be_read_afterwards",
        "test_calls_from_a_handler",
    )
    faces.run(test_receive, leave_out=own + ("test_disconnect_and_drop_from_a_handler",))


def test_subscribe_dialogues():
    faces.run(test_subscribe)
