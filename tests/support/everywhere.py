"""Every mode with every executor, the user's own and Dask included: for what must be the same everywhere."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager

import pytest

PROCESS_POOL = "process pool of the user's"  # one death in it ends all of its workers


@contextmanager
def no_executor():
    yield None


@contextmanager
def dask_executor():
    distributed = pytest.importorskip("distributed", reason="SKIPPED: install dotflow-sdk[dask] to test Dask as well")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0", host="127.0.0.1"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client.get_executor()


def process_pool():
    return ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn"))


_EXECUTORS = [
    ("sequential", "inline", no_executor),
    ("sequential", None, no_executor),
    ("sequential", "thread", no_executor),
    ("sequential_group", None, no_executor),
    ("sequential_group", "thread", no_executor),
    ("background", None, no_executor),
    ("background", "process", no_executor),
    ("parallel", None, no_executor),
    ("parallel", "inline", no_executor),
    ("parallel", "thread", no_executor),
    ("parallel", "thread pool of the user's", lambda: ThreadPoolExecutor(8)),
    ("parallel", PROCESS_POOL, process_pool),
    ("sequential_group", PROCESS_POOL, process_pool),
    ("parallel", "Dask", dask_executor),
    ("sequential_group", "Dask", dask_executor),
]

EXECUTORS = [
    pytest.param(mode, where, make, id=f"{mode}-{where}", marks=[pytest.mark.long] if where == "Dask" else [])
    for mode, where, make in _EXECUTORS
]
"""For a test of `mode`, `where` and `make`: `with make() as given` gives the executor, or None where `where` names one of ours."""
