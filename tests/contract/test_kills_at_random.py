"""`kill -9` of a coordinator at random moments, on Redis and on S3: each resume goes on where the one before was killed.

The moments come from a seed that a failing test prints: `KILLS_SEED=... pytest ...` draws the same ones again.
"""

from __future__ import annotations

import os
import random
import secrets
import subprocess
import sys

import pytest

from support import missing, redis_server
from support.s3_server import S3Server

pytestmark = pytest.mark.long

SEED = int(os.environ.get("KILLS_SEED") or secrets.randbits(32))
TASKS = 40
KILLS = 6
LIMIT = 60

_PROGRAM = """
{source}
from dotflow.testing.contracts.killing import numbered

run = numbered(storage, {tasks}, lambda number: print(number, flush=True)).start(resume={resume})
print("ended", run.status, run.tasks[-1].current_context.storage == tuple(range({tasks})), flush=True)
"""


@pytest.fixture
def redis():
    if redis_server.find() is None:
        missing.skip("redis-server", "redis-server", "storage on Redis")
    with redis_server.RedisServer() as server:
        yield f"from dotflow_redis import StorageRedis\nstorage = StorageRedis(port={server.port})"


@pytest.fixture
def s3():
    pytest.importorskip("moto.server", reason="moto is not installed")
    with S3Server() as server:
        made = f"StorageFsspec('s3://dotflow/killed', **{server.options!r})"
        yield f"from dotflow_fsspec import StorageFsspec\nstorage = {made}"


class Coordinator:
    """A process that runs the workflow and tells which tasks begin."""

    def __init__(self, source: str, *, resume: bool) -> None:
        text = _PROGRAM.format(source=source, tasks=TASKS, resume=resume)
        path = os.pathsep.join(filter(None, sys.path))
        self._process = subprocess.Popen(
            [sys.executable, "-c", text], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path}
        )

    def is_killed_after(self, count: int) -> list[int]:
        """Kill it when so many tasks have begun; those that had begun by then."""
        lines = [self._process.stdout.readline() for _ in range(count)]
        self._process.kill()
        lines += self._process.stdout.readlines()  # communicate() would not see what readline() has read ahead
        self._process.wait(LIMIT)
        self._process.stdout.close()
        told = [line.strip() for line in lines]
        return [int(line) for line in told if line.isdecimal()]

    def ends(self) -> list[str]:
        out, _ = self._process.communicate(timeout=LIMIT)
        return out.splitlines()


@pytest.mark.parametrize("storage", ["redis", "s3"])
def test_each_resume_goes_on_where_the_one_before_was_killed(request, storage):
    request.node.add_report_section("call", "seed", f"KILLS_SEED={SEED} draws the same again")
    moments, source = random.Random(f"{SEED} {storage}"), request.getfixturevalue(storage)
    last = -1
    for kill in range(KILLS):
        began = Coordinator(source, resume=kill > 0).is_killed_after(moments.randint(1, 5))
        assert began[0] in {last, last + 1}, "a finished task has run again, or one was left out"
        assert began == list(range(began[0], began[-1] + 1))
        last = began[-1]
    *began, end = Coordinator(source, resume=True).ends()
    assert int(began[0]) in {last, last + 1}
    assert began == [str(number) for number in range(int(began[0]), TASKS)]
    assert end == "ended Completed True"
