"""The seven contracts: what a provider must do, and what the engine promises it in return.

For all of them: calls for one run never overlap, and all come from the process that called `start`. What a provider
raises never reaches the work, except from a `Storage`, which holds the user's data.

Here: the contracts and what they share: `Provider`, which hooks are overridden, the half of a provider for worker processes,
what a contract may use of a workflow. Not here: an implementation; the ones that do nothing are in
`dotflow.providers.defaults`. Imports the words, nothing else of ours.
"""

from dotflow.abc.log import Log
from dotflow.abc.metrics import Metrics
from dotflow.abc.notify import Notify
from dotflow.abc.scheduler import Scheduler
from dotflow.abc.server import Server
from dotflow.abc.storage import Storage
from dotflow.abc.tracer import Tracer

__all__ = ["Log", "Metrics", "Notify", "Scheduler", "Server", "Storage", "Tracer"]
