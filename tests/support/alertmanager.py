"""A real Alertmanager on a free port of the loopback: Debian's package `prometheus-alertmanager`, or another on the PATH."""

from __future__ import annotations

import shutil
from pathlib import Path

from support import missing
from support.ports import free_port
from support.service import Service


def find(name: str = "prometheus-alertmanager") -> Path:
    """The program, or `amtool` beside it. Where it is missing, the test is skipped and says so."""
    found = shutil.which(name) or shutil.which(name.removeprefix("prometheus-"))
    if found is None:
        missing.skip(name, "prometheus-alertmanager", "the delivery of alerts")
    return Path(found)


class Alertmanager(Service):
    """Runs from `with` on with this configuration; `address` is host and port."""

    def __init__(self, configuration: str) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        command = [
            find(),
            "--config.file=alertmanager.yml",
            "--storage.path=data",
            f"--web.listen-address={self.address}",
            "--cluster.listen-address=",  # alone, so nothing to gossip with
        ]
        super().__init__(command, f"http://{self.address}/-/ready", files={"alertmanager.yml": configuration})
