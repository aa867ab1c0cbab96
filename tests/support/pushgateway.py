"""A real Pushgateway on a free port of the loopback, started by the tests and stopped by them.

The program is that of Debian's package `prometheus-pushgateway`, or a `pushgateway` on the PATH.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import parser

from support import missing
from support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_LIMIT = 60  # seconds after which a test that hangs fails; none waits that long to pass


def find() -> str:
    """The program. Where it is missing, the test is skipped and says so."""
    found = shutil.which("prometheus-pushgateway") or shutil.which("pushgateway")
    if found is None:
        missing.skip("pushgateway", "prometheus-pushgateway", "pushes to a Pushgateway")
    return found


class RunningGateway:
    """A gateway that runs, and what it holds."""

    def __init__(self, port: int, headers: dict[str, str]) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._headers = headers

    def get(self, path: str) -> str:
        """The text of one of its pages."""
        request = urllib.request.Request(f"{self.url}{path}", headers=self._headers)
        with urllib.request.urlopen(request, timeout=_LIMIT) as answer:
            return answer.read().decode()

    def samples(self, name: str, /, **labels: str) -> list:
        """The samples of a series with these labels, of all groups."""
        families = parser.text_string_to_metric_families(self.get("/metrics"))
        found = [sample for family in families for sample in family.samples if sample.name == name]
        return [sample for sample in found if labels.items() <= sample.labels.items()]

    def value(self, name: str, /, **labels: str) -> float:
        """The value of the one series with these labels."""
        (sample,) = self.samples(name, **labels)
        return sample.value

    def groups(self) -> list[dict[str, str]]:
        """The grouping keys, each with the labels of its group."""
        return [group["labels"] for group in json.loads(self.get("/api/v1/metrics"))["data"]]


@contextmanager
def running(
    configuration: str = "", headers: dict[str, str] | None = None, *, port: int = 0, flags: Sequence[str] = ()
) -> Iterator[RunningGateway]:
    """A gateway from its first answer on until the block ends.

    Args:
        configuration: the web configuration, https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md
        headers: what the test itself sends to look into it.
        port: where it listens; default: any that is free.
        flags: more of the command line; with `--web.route-prefix` the test asks for whole paths.
    """
    program, port = find(), port or free_port()
    with tempfile.TemporaryDirectory() as folder:
        web = Path(folder, "web.yml")
        web.write_text(configuration, encoding="utf-8")
        command = [
            program,
            f"--web.listen-address=127.0.0.1:{port}",
            "--persistence.file=",
            f"--web.config.file={web}",
            *flags,
        ]
        log = Path(folder, "log")
        with log.open("w") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
            try:
                gateway = RunningGateway(port, headers or {})
                _await_ready(gateway, process, log)
                yield gateway
            finally:
                process.kill()


def _await_ready(gateway: RunningGateway, process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + _LIMIT
    while time.monotonic() < deadline and process.poll() is None:
        try:
            gateway.get("/-/ready")
        except urllib.error.HTTPError:
            return  # it answers: under a prefix of its own
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.02)  # between two looks
        else:
            return
    raise AssertionError(f"the Pushgateway did not start: {log.read_text()}")
