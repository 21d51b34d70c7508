"""reasons.py: the 43 reason codes (2.4)."""
from support.t import eq, rows
from umqtt5 import reasons
from umqtt5.reasons import ReasonCode

# Table 2-6 and the tables of 3.2.2.2, 3.4.2.1 ... 3.15.2.1, transcribed from the specification.
# Packets: C CONNACK, P PUBACK and PUBREC, R PUBREL and PUBCOMP, S SUBACK, U UNSUBACK, D DISCONNECT, A AUTH;
# small: a client may send it too; d, a alone in brackets: only a client.
CODES = (
    (0x00, "Success", "CPpRrSUDdA"),
    (0x01, "Granted QoS 1", "S"),
    (0x02, "Granted QoS 2", "S"),
    (0x04, "Disconnect with Will Message", "d"),
    (0x10, "No matching subscribers", "P"),
    (0x11, "No subscription existed", "U"),
    (0x18, "Continue authentication", "Aa"),
    (0x19, "Re-authenticate", "a"),
    (0x80, "Unspecified error", "CPpSUDd"),
    (0x81, "Malformed Packet", "CDd"),
    (0x82, "Protocol Error", "CDd"),
    (0x83, "Implementation specific error", "CPpSUDd"),
    (0x84, "Unsupported Protocol Version", "C"),
    (0x85, "Client Identifier not valid", "C"),
    (0x86, "Bad User Name or Password", "C"),
    (0x87, "Not authorized", "CPpSUD"),
    (0x88, "Server unavailable", "C"),
    (0x89, "Server busy", "CD"),
    (0x8A, "Banned", "C"),
    (0x8B, "Server shutting down", "D"),
    (0x8C, "Bad authentication method", "CD"),
    (0x8D, "Keep Alive timeout", "D"),
    (0x8E, "Session taken over", "D"),
    (0x8F, "Topic Filter invalid", "SUD"),
    (0x90, "Topic Name invalid", "CPpDd"),
    (0x91, "Packet Identifier in use", "PpSU"),
    (0x92, "Packet Identifier not found", "Rr"),
    (0x93, "Receive Maximum exceeded", "Dd"),
    (0x94, "Topic Alias invalid", "Dd"),
    (0x95, "Packet too large", "CDd"),
    (0x96, "Message rate too high", "Dd"),
    (0x97, "Quota exceeded", "CPpSDd"),
    (0x98, "Administrative action", "Dd"),
    (0x99, "Payload format invalid", "CPpDd"),
    (0x9A, "Retain not supported", "CD"),
    (0x9B, "QoS not supported", "CD"),
    (0x9C, "Use another server", "CD"),
    (0x9D, "Server moved", "CD"),
    (0x9E, "Shared Subscriptions not supported", "SD"),
    (0x9F, "Connection rate exceeded", "CD"),
    (0xA0, "Maximum connect time", "D"),
    (0xA1, "Subscription Identifiers not supported", "SD"),
    (0xA2, "Wildcard Subscriptions not supported", "SD"),
)
PACKETS = (
    (2, "C", "CONNACK"), (4, "P", "PUBACK"), (5, "P", "PUBREC"), (6, "R", "PUBREL"), (7, "R", "PUBCOMP"),
    (9, "S", "SUBACK"), (11, "U", "UNSUBACK"), (14, "D", "DISCONNECT"), (15, "A", "AUTH"),
)  # fmt: skip
ACTIONS = ("ok", "retry-later", "reconnect", "fix-config", "bug", "redirect")


def test_all_43_codes_have_the_names_of_the_specification():
    eq(len(CODES), 43)
    for value, name, _ in rows(CODES):
        r = ReasonCode(value)
        eq(r.value, value)
        eq(r.name, name)
        eq(r.getName(), name)
        eq(str(r), name)
        eq(r.is_failure, value >= 0x80)
        assert r.action in ACTIONS


def test_zero_is_named_after_its_packet():
    for packet in range(16):
        eq(ReasonCode(0, packet).name, {9: "Granted QoS 0", 14: "Normal disconnection"}.get(packet, "Success"))
    eq(ReasonCode(0x87, 9).name, "Not authorized")
    eq(ReasonCode(0x8E, 14).name, "Session taken over")


def test_packets_and_senders_are_those_of_the_specification():
    for value, _, who in rows(CODES):
        eq(ReasonCode(value).packets, tuple(p[2] for p in PACKETS if p[1] in who.upper()))
        letters = [""] * 16
        for packet, letter, _ in PACKETS:
            letters[packet] = letter
        for packet in range(16):
            letter = letters[packet]
            eq(reasons.legal(value, packet), letter != "" and letter in who, packet)
            eq(reasons.sendable(value, packet), letter != "" and letter.lower() in who, packet)


def test_unknown_codes_print_as_hex_and_fail_nothing():
    known = [c[0] for c in CODES]
    for value in range(256):
        if value not in known:
            for packet in (0, 2, 9, 14):
                r = ReasonCode(value, packet)
                eq(r.name, "0x%02X" % value)
                eq(str(r), r.name)
                eq(r.value, value)
                eq(r.is_failure, value >= 0x80)
                eq(r.action, "retry-later" if value >= 0x80 else "ok")
            for packet in range(16):
                eq(reasons.legal(value, packet), False, value)
                eq(reasons.sendable(value, packet), False, value)


def test_actions_that_decide_what_happens_next():
    for value, action in rows(
        (
            (0x00, "ok"),
            (0x10, "ok"),
            (0x80, "retry-later"),
            (0x82, "bug"),
            (0x86, "fix-config"),
            (0x88, "retry-later"),
            (0x89, "retry-later"),
            (0x8B, "reconnect"),
            (0x8D, "reconnect"),
            (0x8E, "fix-config"),
            (0x92, "ok"),
            (0x9C, "redirect"),
            (0x9D, "redirect"),
            (0xA0, "reconnect"),
        )
    ):
        eq(ReasonCode(value).action, action)


def test_equal_to_its_number_and_to_its_like():
    r = ReasonCode(0x87)
    assert r == 0x87 and 0x87 == r and r == ReasonCode(0x87, 9)
    assert r != 0x86 and r != ReasonCode(0x86) and r != "Not authorized" and r is not None
    eq({r: 1}[ReasonCode(0x87)], 1)
