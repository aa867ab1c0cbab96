"""A real Prometheus on a free port of the loopback, started by the tests and stopped by them.

The programs are those of Debian's package `prometheus`, or any others of that name on the PATH.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from support import missing
from support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_LIMIT = 60  # seconds after which a test that hangs fails; none waits that long to pass
# https://github.com/prometheus/prometheus/blob/v2.42.0/scrape/scrape.go: times of scrapes are aligned by as much
_ALIGNED_SECONDS = 0.005

_Found = TypeVar("_Found")


def find(name: str = "prometheus") -> Path:
    """A program of the package, `prometheus` or `promtool`. Where it is missing, the test is skipped and says so."""
    found = shutil.which(name)
    if found is None:
        missing.skip(name, "prometheus", "what Prometheus makes of the metrics")
    return Path(found)


def scraping(targets: Mapping[str, str], interval: str = "200ms") -> str:
    """A configuration that scrapes each job's `/metrics`, given as a URL."""
    jobs = [
        {
            "job_name": job,
            "static_configs": [{"targets": [urllib.parse.urlsplit(url).netloc]}],
        }
        for job, url in targets.items()
    ]
    # JSON is YAML, too.
    return json.dumps(
        {
            "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
            "scrape_configs": jobs,
        }
    )


@dataclass(frozen=True)
class Sample:
    """A series at one moment: its labels, `__name__` among them, its value, and the moment as a Unix time."""

    labels: dict[str, str]
    value: float
    time: float

    @property
    def name(self) -> str:
        return self.labels.get("__name__", "")


@dataclass(frozen=True)
class StoredExemplar:
    """An exemplar with the series that it belongs to; `labels` are its own."""

    series: dict[str, str]
    labels: dict[str, str]
    value: float
    time: float = field(repr=False)

    @property
    def name(self) -> str:
        return self.series["__name__"]


class Prometheus:
    """Listens, and scrapes, from `with` on, with an empty storage that is removed at the end.

    `configuration` is the text, or the path of a file whose relative paths (rules, targets) then hold. `flags` are
    added to the command line. Exemplars are kept.
    """

    def __init__(self, configuration: str | Path, flags: Sequence[str] = ()) -> None:
        self._binary = find()
        self._configuration = configuration
        self._flags = flags

    def __enter__(self) -> Prometheus:
        self._directory = tempfile.TemporaryDirectory()
        self.url = f"http://127.0.0.1:{free_port()}"
        self._log = Path(self._directory.name, "log").open("wb")
        self._process = subprocess.Popen(self._command(), stdout=self._log, stderr=subprocess.STDOUT)
        try:
            self.wait_for(self._is_ready, "Prometheus is ready")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()  # there is nothing that it could lose: its storage goes with it
        self._process.wait()
        self._log.close()
        self._directory.cleanup()

    @property
    def log(self) -> str:
        """What it has written so far."""
        return Path(self._log.name).read_text()

    def api(self, path: str, **parameters: Any) -> Any:
        """The `data` of an answer of the HTTP API, `path` being what comes after `/api/v1/`.

        Raises:
            AssertionError: with Prometheus' own words, if it refuses.
        """
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=_LIMIT) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{path} {parameters}: {error.read().decode()}") from error

    def query(self, promql: str, at: float | None = None) -> list[Sample]:
        """What an instant query finds, at a Unix time or now."""
        found = self.api("query", query=promql, **({} if at is None else {"time": at}))
        assert found["resultType"] == "vector", found
        return [Sample(each["metric"], float(each["value"][1]), each["value"][0]) for each in found["result"]]

    def value(self, promql: str, at: float | None = None) -> float:
        """The value of the one series that an instant query finds."""
        found = self.query(promql, at)
        assert len(found) == 1, (promql, found)
        return found[0].value

    def exemplars(self, promql: str, start: float, end: float) -> list[StoredExemplar]:
        """The exemplars of all series that a query selects, from one Unix time to another."""
        found = self.api("query_exemplars", query=promql, start=start, end=end)
        return [
            StoredExemplar(each["seriesLabels"], exemplar["labels"], float(exemplar["value"]), exemplar["timestamp"])
            for each in found
            for exemplar in each["exemplars"]
        ]

    def target(self, job: str) -> dict[str, Any]:
        """The one target of a job, as the API tells of it: `health`, `lastError`, `lastScrape` and so on."""
        (found,) = [each for each in self.api("targets")["activeTargets"] if each["labels"]["job"] == job]
        return found

    def scraped_since(self, job: str, moment: float) -> float:
        """Wait for a whole scrape of a job that began after this Unix time; returns its own, to ask for what it found.

        Raises:
            AssertionError: it does not come, with what Prometheus says of the target.
        """

        def newest() -> float | None:
            # Raw samples: `timestamp()` of anything but a plain selector is the time of the query. The samples of a
            # scrape and its `up` become visible at once.
            for series in self.api("query", query=f'up{{job="{job}"}}[1m]')["result"]:
                time, up = series["values"][-1]
                return time if float(up) and time > moment + _ALIGNED_SECONDS else None
            return None

        return self.wait_for(newest, "a scrape", lambda: self.target(job))

    def wait_for(
        self, condition: Callable[[], _Found | None], what: str, why_not: Callable[[], object] | None = None
    ) -> _Found:
        """Ask until the answer is true, and return it.

        Raises:
            AssertionError: it never is, or Prometheus has ended; with `why_not`, or else the end of its log.
        """
        deadline = time.monotonic() + _LIMIT
        while time.monotonic() < deadline and self._process.poll() is None:
            found = condition()
            if found:
                return found
            time.sleep(0.02)  # polled until it answers, or the deadline
        ended = self._process.poll()
        raise AssertionError(f"{what}: waited in vain; exit status {ended}; {(why_not or self._end_of_log)()}")

    def _command(self) -> list[str | Path]:
        configuration = self._configuration
        if isinstance(configuration, str):
            text, configuration = configuration, Path(self._directory.name, "prometheus.yml")
            configuration.write_text(text)
        return [
            self._binary,
            f"--config.file={configuration}",
            f"--web.listen-address={urllib.parse.urlsplit(self.url).netloc}",
            f"--storage.tsdb.path={self._directory.name}/data",
            "--enable-feature=exemplar-storage",
            "--log.level=warn",
            *self._flags,
        ]

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    def _end_of_log(self) -> str:
        return self.log[-2000:]
