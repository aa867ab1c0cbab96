"""Steps for worker processes of inner runs, which no event of the test's own can reach."""

from __future__ import annotations

import threading

from dotflow import action
from support.programs import LIMIT


@action
def hang():
    """Until the worker is killed."""
    threading.Event().wait(LIMIT)
