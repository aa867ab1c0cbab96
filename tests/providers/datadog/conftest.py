"""A real test agent, and programs that send to it."""

from __future__ import annotations

import json

import pytest

from support import datadog_agent, missing
from support.ddtrace_programs import Ended, start_program

_LIMIT = 120  # seconds after which a program that hangs fails its test; none takes that long to pass


@pytest.fixture(scope="session")
def agent():
    try:
        program = datadog_agent.find()
    except (RuntimeError, OSError) as error:
        missing.skip_unbuilt("ddapm-test-agent", "what Datadog's agent makes of the spans", f"pip: {error}")
    with datadog_agent.DatadogAgent(program) as running:
        yield running
        checks = running.checks()
        assert not [name for name, counts in checks.items() if counts["Failed_Checks"]], checks


@pytest.fixture
def program(request, tmp_path):
    """Runs a program to its good end. It sends to the test agent, unless another one is given."""

    def ended(text: str, *command: str, url: str | None = None, **more: str) -> Ended:
        url = url or request.getfixturevalue("agent").url
        with start_program(text, url, tmp_path, *command, **more) as process:
            try:
                out, err = process.communicate(timeout=_LIMIT)
            finally:
                process.kill()
        assert process.returncode == 0, err
        return Ended([json.loads(line) for line in out.splitlines()], err)

    return ended
