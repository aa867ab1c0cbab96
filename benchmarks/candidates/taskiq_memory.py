"""taskiq: the broker in memory that runs a task where it is sent, each awaited before the next is sent."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from measure import figures, report
from taskiq import InMemoryBroker

if TYPE_CHECKING:
    from collections.abc import Callable

broker = InMemoryBroker(await_inplace=True)


@broker.task
async def noop() -> None:
    """The work, which is none."""


def main() -> None:
    loop = asyncio.new_event_loop()

    async def run(tasks: int) -> None:
        for _ in range(tasks):
            sent = await noop.kiq()
            result = await sent.get_result()
            result.raise_for_error()

    def prepare(tasks: int) -> Callable[[], object]:
        return lambda: loop.run_until_complete(run(tasks))

    loop.run_until_complete(broker.startup())
    report(figures(prepare, tasks=2_000))
    loop.run_until_complete(broker.shutdown())
    loop.close()


if __name__ == "__main__":
    main()
