"""Ids: random whatever a step does, and never the same in two processes."""

from __future__ import annotations

import gc
import os
import random
import weakref

import pytest

from dotflow_otel.tracing.ids import RunIdGenerator


def spans_of(generator, count=300) -> list[int]:
    return [generator.generate_span_id() for _ in range(count)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="SKIPPED: nothing forks on this system")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_a_forked_child_does_not_repeat_the_ids_of_its_parent():
    generator = RunIdGenerator()
    spans_of(generator, 10)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, ",".join(map(str, spans_of(generator))).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        of_child = set(map(int, pipe.read().split(",")))
    os.waitpid(child, 0)
    assert len(of_child) == 300
    assert not of_child & set(spans_of(generator))


def test_ids_are_64_and_128_bits_never_0_and_none_of_the_global_random():
    generator = RunIdGenerator()
    found = []
    for _ in range(2):
        random.seed(42)
        found += spans_of(generator) + [generator.generate_trace_id() for _ in range(300)]
    assert len(set(found)) == 1_200
    assert min(found) > 0
    assert max(found) < 1 << 128
    assert max(spans_of(generator)) < 1 << 64


def test_a_run_id_is_the_next_trace_id_and_no_other():
    generator = RunIdGenerator()
    generator.use_next(0xABC)
    assert generator.generate_trace_id() == 0xABC
    assert generator.generate_trace_id() != 0xABC
    generator.use_next(0xABC)
    generator.use_next(None)
    assert generator.generate_trace_id() != 0xABC


def test_a_generator_that_nobody_needs_any_more_is_gone():
    found = weakref.ref(RunIdGenerator())
    gc.collect()
    assert found() is None
