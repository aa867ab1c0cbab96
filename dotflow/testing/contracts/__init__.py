"""One suite of tests for each contract, to be run over a provider of your own.

Subclass the suite under a name that your test runner collects, and say how the provider is made:

    class TestMyStorage(StorageContract):
        def make_provider(self):
            return MyStorage()

The suites need no test runner of their own: methods that begin with `test_`, take no arguments, and raise
`AssertionError` where the contract is broken (`unittest.SkipTest` where a hook is needed that you have not written). pytest
takes them as they are, `unittest` with `class TestMyStorage(StorageContract, unittest.TestCase)`.

Here: the suites, and the workflows and values that they share. Not here: a test of one provider (`tests/`), and anything that
needs a test runner.
"""

from dotflow.testing.contracts.log import LogContract
from dotflow.testing.contracts.metrics import MetricsContract
from dotflow.testing.contracts.notify import NotifyContract
from dotflow.testing.contracts.scheduler import SchedulerContract
from dotflow.testing.contracts.server import ServerContract
from dotflow.testing.contracts.storage import StorageContract
from dotflow.testing.contracts.tracer import TracerContract

__all__ = [
    "LogContract",
    "MetricsContract",
    "NotifyContract",
    "SchedulerContract",
    "ServerContract",
    "StorageContract",
    "TracerContract",
]
