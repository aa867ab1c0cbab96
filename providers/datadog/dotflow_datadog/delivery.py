"""Sends what ddtrace has buffered, within a time, and knows what did not get through."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from ddtrace.trace import Tracer

__all__ = ["Delivery"]

_WRITER = "ddtrace.internal.writer.writer"
_FAILED = "failed to send, dropping %d traces"
_LOOKS, _MOMENT = 3, 0.01  # s
_IN_ITS_LOG = "ddtrace could not send them, see its log"


class Delivery:
    """One for each process. ddtrace sends once a second and when it is flushed, and tells of a failure only in its log.

    A flush of its own takes 3 s if nobody listens and 21 s if nobody answers (4.16), so it runs in a daemon thread that
    is waited for as long as there is time. What is lost is counted here: the spans of the runs that have ended
    (`handed`), or at least one a trace where nobody knows how many it has.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open = 0
        self._handed = 0
        self._doubtful = 0
        self._missed = 0
        self._lost: dict[str, int] = {}
        self._sending: _Sending | None = None

    def begin(self) -> None:
        """Something begins whose spans go to ddtrace."""
        with self._lock:
            self._open += 1
            self._doubtful = 0
        logger = logging.getLogger(_WRITER)
        if self._watch not in logger.filters:
            logger.filters.insert(0, self._watch)  # before ddtrace's own, which lets one record a minute through

    def end(self, spans: int) -> None:
        """It has ended, and has left so many spans with ddtrace."""
        with self._lock:
            self._open -= 1
            self._handed += spans

    def flush(self, tracer: Tracer, seconds: float) -> None:
        """Send what is buffered; what has not got through after `seconds` is counted as lost, though it may yet do so."""
        deadline = time.monotonic() + seconds
        earlier = self._sending
        if earlier is not None:  # of a run beside this one, or given up: it may not have had what came since
            earlier.join(seconds)
        sending = self._going_on(tracer)
        sending.join(max(0.0, deadline - time.monotonic()))
        if sending.is_alive():
            self._give_up(sending, f"the agent at {_agent(tracer)} has not taken them within {seconds:g} s")

    def take_lost(self) -> list[tuple[int, str]]:
        """How many spans were lost since this was last asked, and why."""
        with self._lock:
            lost, self._lost = self._lost, {}
        return [(items, why) for why, items in lost.items()]

    def close(self) -> None:
        """Look at ddtrace's log no longer."""
        logging.getLogger(_WRITER).removeFilter(self._watch)

    @property
    def handed(self) -> int:
        """The spans of which it is not known yet how they fared."""
        return self._handed

    def settled(self, spans: int) -> None:
        """So many spans have got through, as far as is known: ddtrace's own thread may have had them, and not have said yet."""
        with self._lock:
            self._handed = max(0, self._handed - spans)
            self._doubtful = spans
            self._count(self._missed, _IN_ITS_LOG)
            self._missed = 0

    def failed(self, traces: int, why: str) -> None:
        """A payload of so many traces was lost."""
        with self._lock:
            self._fail(traces, why)

    def _going_on(self, tracer: Tracer) -> _Sending:
        """The flush that goes on; runs that end side by side share one that began after they had."""
        with self._lock:
            sending = self._sending
            if sending is None or not sending.is_alive():
                sending = _Sending(tracer, self)
                sending.start()
                self._sending = sending
            return sending

    def _give_up(self, sending: _Sending, why: str) -> None:
        with self._lock:
            if self._handed or not sending.is_given_up:  # else another run, which waited too, has counted all of it
                self._fail(sending.traces, why)
            sending.is_given_up = True

    def _fail(self, traces: int, why: str) -> None:
        self._count(self._handed or traces + self._missed, why)
        self._handed = self._missed = 0

    def _watch(self, record: logging.LogRecord) -> bool:
        """A filter of ddtrace's logger: sees what its own thread could not send. What we send is told of by the engine."""
        if not str(record.msg).startswith(_FAILED):
            return True
        if isinstance(threading.current_thread(), _Sending):
            return False
        traces = _first_int(record.args)
        with self._lock:
            known = self._handed + self._doubtful
            if known:
                self._count(known, _IN_ITS_LOG)
                self._handed = self._doubtful = 0
            elif self._open:  # a part of a run that goes on, which is counted when it is known how that fares
                self._missed += traces
        return True

    def _count(self, items: int, why: str) -> None:
        if items:
            self._lost[why] = self._lost.get(why, 0) + items


class _Sending(threading.Thread):
    """One flush."""

    def __init__(self, tracer: Tracer, delivery: Delivery) -> None:
        super().__init__(name="dotflow-datadog-flush", daemon=True)
        self.traces = 0
        self.is_given_up = False
        self._tracer = tracer
        self._delivery = delivery

    def run(self) -> None:
        handed = self._delivery.handed
        try:
            self._send()
        except Exception as error:  # noqa: BLE001 - of ddtrace's, whatever it is
            if not self.is_given_up:
                self._delivery.failed(max(1, self.traces), f"not delivered to {_agent(self._tracer)} ({error})")
        else:
            if not self.is_given_up:
                self._delivery.settled(handed)

    def _send(self) -> None:
        """`Tracer.flush`, but a failure is raised instead of logged. Where ddtrace has it no longer, `Tracer.flush`."""
        writer: Any = getattr(getattr(self._tracer, "_span_aggregator", None), "writer", None)
        try:
            self.traces = len(writer._encoder)  # noqa: SLF001
            flush: Any = writer.flush_queue
        except (AttributeError, TypeError):  # another writer: of a function in a cloud, of a test
            self._tracer.flush()  # type: ignore[no-untyped-call]
        else:
            flush(raise_exc=True)
            if not self.traces and self._delivery.handed:
                _await_others(getattr(writer, "_exporter_lock", nullcontext()))


def _await_others(sending: AbstractContextManager[object]) -> None:
    """Wait while ddtrace's own thread sends what it had taken just before us, and leave it the time to say how that went."""
    for _ in range(_LOOKS):
        with sending:
            time.sleep(0)
        time.sleep(_MOMENT)  # without the lock: it may not have had it yet


def _agent(tracer: Tracer) -> str:
    """Where the spans go, without what may be secret in it."""
    scheme, _, rest = (tracer.agent_trace_url or "Datadog").rpartition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if scheme else rest


def _first_int(args: object) -> int:
    first = args[0] if isinstance(args, tuple) and args else 1
    return first if isinstance(first, int) else 1
