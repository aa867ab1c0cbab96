"""For the tests about worker processes: what they have started, and workflows that are watched."""

from __future__ import annotations

import threading
import uuid

import pytest

from dotflow.executors import workers
from support.watched import Ledger, Watched, processes, until


@pytest.fixture
def mine(monkeypatch):
    """What the test has started, as process ids. All of it is gone when the workflows are closed, and so are threads."""
    mark = uuid.uuid4().hex
    monkeypatch.setenv("MARK_OF_THE_TEST", mark)
    threads, before = set(threading.enumerate()), processes(mark.encode())

    def find() -> set[int]:
        return processes(mark.encode()) - before

    yield find
    until(lambda: not find())
    until(lambda: set(threading.enumerate()) <= threads)
    assert not [line for line in workers._lines if line.fileno() >= 0]


@pytest.fixture
def watch(mine):
    made = []

    def make(*steps, **options) -> Watched:
        made.append(Watched(steps, **options))
        return made[-1]

    yield make
    for watched in made:
        watched.workflow.close()


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "ledger")
