"""ports/ and umqtt5/ against the type stubs of both boards."""

import pytest
import typecheck


@pytest.mark.parametrize("board", typecheck.BOARDS)
def test_types(board):
    assert typecheck.check(board) == []


def test_the_check_sees_a_wrong_call(tmp_path):
    f = tmp_path / "wrong.py"
    f.write_text("import machine\n\n\ndef f():\n    machine.deepsleep('long')\n    machine.NoSuchThing()\n")
    lines = typecheck.check("esp32", [f])
    assert any("deepsleep" in n or "call-overload" in n for n in lines) and any("NoSuchThing" in n for n in lines), lines
