"""An error of somebody else's library is told with its reason and its cause, unless a secret shows in it."""

from __future__ import annotations

import traceback

import pytest

from dotflow.errors import StorageError
from dotflow.toolkit.redaction import redacted, storage_error


def test_every_secret_is_covered_the_longer_one_first():
    assert redacted("abc and abcdef and ab", ["abc", "abcdef", ""]) == "*** and *** and ab"


def test_the_cause_is_chained():
    cause = ConnectionError("refused")
    found = storage_error("cannot write 'x'", cause, ["s3cret"])
    assert str(found) == "cannot write 'x': refused (ConnectionError)"
    assert found.__cause__ is cause


def test_an_error_without_a_text_is_told_by_its_type():
    assert str(storage_error("cannot read", TimeoutError())) == "cannot read: TimeoutError"
    assert str(storage_error("cannot read", StorageError("it is torn"))) == "cannot read: it is torn"


def test_a_cause_that_shows_a_secret_is_not():
    with pytest.raises(StorageError) as caught:
        fails_twice()
    text = "".join(traceback.format_exception(caught.value))
    assert "s3cret" not in text
    assert "cannot write: given up (RuntimeError)" in text
    assert caught.value.__cause__ is None


def fails_twice():
    """What shows the secret is the cause of the cause."""
    secret = "s3" + "cret"
    try:
        try:
            raise KeyError(secret)
        except KeyError as inner:
            raise RuntimeError("given up") from inner
    except RuntimeError as error:
        failure = storage_error("cannot write", error, [secret])
    raise failure
