"""tools/test_board.py (make test-board): the host's scenarios with the agent on a board."""

from conftest import ROOT, tool

SOME = "publish_and_its or subscribe_and or message_with_everything or server_that_breaks or drop_sends or echo_mechanism"


def test_scenarios_of_the_host_pass_on_a_board(boards):
    b = boards()
    p = tool("deploy.py", "--port", b.port, "--board", "esp32", "--profile", "everything", "--no-start")
    assert p.returncode == 0, p.stderr
    p = tool("test_board.py", "--port", b.port, "-q", "-k", SOME, timeout=600)
    assert p.returncode == 0, p.stdout[-3000:]
    assert " passed" in p.stdout and "left out: test_sigterm_ends_it (a board has no signals)" in p.stdout


def test_an_agent_that_dies_on_the_board_shows_its_traceback(boards):
    b = boards()
    p = tool("deploy.py", "--port", b.port, "--board", "esp32", "--profile", "everything", "--no-start")
    broken = "import umqtt5\numqtt5.MQTTClient.start = lambda *a, **k: 1 // 0\n"
    assert p.returncode == 0 and (ROOT / "tools" / "agent.py").exists()
    import boardlink

    t = boardlink.connect(b.port)
    boardlink.run(t, "with open('/boot.py', 'w') as f: f.write(%r)" % broken)
    boardlink.close(t)
    p = tool("test_board.py", "--port", b.port, "-q", "-k", "test_defaults_of_connect", timeout=600)
    assert p.returncode == 1 and "ZeroDivisionError" in p.stdout, p.stdout


def test_a_board_without_the_library_is_told_so(boards):
    p = tool("test_board.py", "--port", boards().port, timeout=120)
    assert p.returncode == 1 and "the library is not on the board" in p.stderr
