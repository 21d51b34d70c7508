"""tests/conformance.tsv is complete: each statement of MQTT 5.0 that binds or concerns a client names tests that ran."""

import pytest

from support import conformance, harness

INTERPRETERS = ("host",)


def test_every_row_names_tests():
    table = conformance.rows()
    ids = [row[0] for row in table]
    assert len(ids) == len(set(ids))
    kinds = [row[2] for row in table]
    assert (kinds.count("bound"), kinds.count("reacts"), kinds.count("unlabelled")) == (142, 45, 34)
    assert [row[0] for row in table if not row[4]] == []


def test_every_named_test_exists():
    wrong = [(row[0], t) for row in conformance.rows() for t in row[4] if not conformance.exists(t)]
    assert wrong == []


def test_every_named_test_ran_and_passed():
    """In a session that holds them all (make test, make conformance); one that holds a part checks that part."""
    wrong = []
    named = {t for row in conformance.rows() for t in row[4]}
    selected = {t for t, _ in conformance.collected}
    for row in conformance.rows():
        for t in row[4]:
            for key in sorted(k for k in conformance.collected if k[0] == t):
                if conformance.results.get(key) not in ("passed", "skipped"):
                    wrong.append((row[0], *key, conformance.results.get(key, "did not run")))
            if named - selected and t not in selected:
                continue
            if all(conformance.results.get(k) != "passed" for k in conformance.results if k[0] == t):
                wrong.append((row[0], t, "did not run"))
    assert wrong == []


@pytest.mark.parametrize("interpreter", ("cpython", "micropython"))
def test_every_row_is_witnessed_on(interpreter):
    named = {t for row in conformance.rows() for t in row[4]}
    if not named <= {t for t, _ in conformance.collected}:
        pytest.skip("needs a session with all tests of the table")
    if harness.missing(interpreter):
        harness.leave_out(harness.missing(interpreter))
    missing = [row[0] for row in conformance.rows() if not conformance.witnessed(row[4], interpreter)]
    print("%d of %d rows on %s" % (conformance.count(interpreter), len(conformance.rows()), interpreter))
    assert missing == []
