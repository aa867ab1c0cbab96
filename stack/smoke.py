"""Starts the stack with the demonstration, and asks every service's API whether all of it works. Needs Docker, nothing else.

    python stack/smoke.py            # start, check, stop and remove what was started
    python stack/smoke.py --keep     # leave it running
    python stack/smoke.py --only     # check what is running already; GRAFANA_ADMIN_PASSWORD must be its password

It follows the way of a person: from a panel of a dashboard, through Grafana, to an exemplar, to its trace in Jaeger.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import secrets
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[1]
PROFILES = ("demo", "alerts", "push", "logs")
PROJECT = "dotflow-smoke"
CHOICES = {"DOTFLOW_RULES": "rules-demo", "DOTFLOW_LOGS_EXPORTER": "otlp_http/loki"}

LIMIT = 180.0  # seconds for one check to come true
ALERTS = 10


@dataclass(frozen=True)
class Addresses:
    """Where the services are."""

    collector: str = "http://localhost:13133"
    grafana: str = "http://localhost:3000"
    prometheus: str = "http://localhost:9090"
    jaeger: str = "http://localhost:16686"
    alertmanager: str = "http://localhost:9093"
    pushgateway: str = "http://localhost:9091"
    loki: str = "http://localhost:3100"


class Failed(Exception):
    """A check that did not come true in time."""


class Stack:
    """What the services answer."""

    def __init__(self, password: str, at: Addresses | None = None) -> None:
        self._authorization = "Basic " + base64.b64encode(f"admin:{password}".encode()).decode()
        self.at = at or Addresses()

    def get(self, url: str, **query: str) -> Any:
        """The JSON behind a URL; None where there is nothing to decode."""
        return self._ask(urllib.request.Request(f"{url}?{urllib.parse.urlencode(query)}" if query else url))

    def grafana(self, path: str, body: object = None) -> Any:
        """The answer of Grafana's API."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": self._authorization, "Content-Type": "application/json"}
        return self._ask(urllib.request.Request(f"{self.at.grafana}{path}", data, headers))

    def answers(self, url: str) -> bool:
        """Whether there is an answer, of whatever kind."""
        self.get(url)
        return True

    def refuses_strangers(self, url: str) -> bool:
        """Whether a URL is refused to who does not say who he is."""
        try:
            self.get(url)
        except urllib.error.HTTPError as error:
            return error.code in (401, 403)
        return False

    def query(self, promql: str) -> list[Any]:
        """What an instant query of Prometheus finds."""
        return list(self.get(f"{self.at.prometheus}/api/v1/query", query=promql)["data"]["result"])

    def _ask(self, request: urllib.request.Request) -> Any:
        with urllib.request.urlopen(request, timeout=10) as answer:
            text = answer.read().decode()
        return json.loads(text) if text.startswith(("{", "[")) else None


def check(what: str, ask: Callable[[], object]) -> Any:
    """Ask until the answer is true, and say so.

    Raises:
        Failed: it never is.
    """
    deadline, why = time.monotonic() + LIMIT, "no answer"
    while time.monotonic() < deadline:
        try:
            answer = ask()
        except (OSError, ValueError, LookupError, TypeError) as error:
            answer, why = None, f"{type(error).__name__}: {error}"
        if answer:
            print(f"ok      {what}", flush=True)
            return answer
        time.sleep(1)
    raise Failed(f"FAILED  {what} ({why})")


def check_services(stack: Stack) -> None:
    """Each service answers, and Prometheus reaches those that it scrapes."""
    at = stack.at
    for name, url in {
        "the Collector": f"{at.collector}/",
        "Jaeger": f"{at.jaeger}/api/services",
        "Prometheus": f"{at.prometheus}/-/ready",
        "Grafana": f"{at.grafana}/api/health",
        "Alertmanager": f"{at.alertmanager}/-/ready",
        "the Pushgateway": f"{at.pushgateway}/-/ready",
        "Loki": f"{at.loki}/ready",
    }.items():
        check(f"{name} answers", partial(stack.answers, url))
    for job in ("dotflow", "spanmetrics", "stack", "pushgateway"):
        check(f"Prometheus scrapes {job}", partial(stack.query, f'up{{job="{job}"}} == 1'))


def check_grafana(stack: Stack) -> None:
    """Grafana has what was provisioned, and reaches its data sources."""
    check("Grafana asks for a password", partial(stack.refuses_strangers, f"{stack.at.grafana}/api/search"))
    for uid in ("prometheus", "jaeger", "loki"):
        check(f"Grafana reaches {uid}", partial(_is_healthy, stack, uid))
    for board in ("overview", "workflow", "traces"):
        mine = json.loads((ROOT / f"grafana/dashboards/{board}.json").read_text(encoding="utf-8"))
        check(f"Grafana shows {mine['title']}", partial(_is_shown, stack, mine))


def check_panels(stack: Stack) -> None:
    """Every query of the overview, sent as Grafana sends it, has an answer."""
    board = json.loads((ROOT / "grafana/dashboards/overview.json").read_text(encoding="utf-8"))
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            what = f"a value in {panel['title']} ({target['refId']})"
            check(what, partial(_has_values, stack, _as_sent(target)))


def check_way_to_a_trace(stack: Stack) -> str:
    """An exemplar of a panel names a trace, and Jaeger has it; returns its id."""
    trace = str(check("an exemplar over the durations of orders", partial(_exemplar, stack)))
    spans = check(f"Jaeger has trace {trace}", partial(_spans, stack, trace))
    names = {span["operationName"] for span in spans}
    check("the trace is that of the run", lambda: {"workflow orders", "task extract", "task load"} <= names)
    return trace


def check_way_through_grafana(stack: Stack, trace: str) -> None:
    """Grafana shows the same trace."""
    query = {"refId": "A", "datasource": {"type": "jaeger", "uid": "jaeger"}, "query": trace}
    body = {"queries": [query], "from": "now-1h", "to": "now"}
    check("Grafana shows it through its Jaeger data source", partial(_has_values, stack, body))


def check_logs(stack: Stack, trace: str) -> None:
    """Loki has lines of that run."""
    url, query = f"{stack.at.loki}/loki/api/v1/query_range", f'{{service_name="dotflow-demo"}} | trace_id = "{trace}"'
    check("Loki has its log lines", lambda: stack.get(url, query=query)["data"]["result"])


def check_alerts(stack: Stack) -> None:
    """Every alert fires, and Alertmanager gets them."""
    fired = 'count(count by (alertname) (max_over_time(ALERTS{alertstate="firing"}[10m])))'
    check(f"all {ALERTS} alerts fire", lambda: float(stack.query(fired)[0]["value"][1]) == ALERTS)
    check("Alertmanager holds them", lambda: stack.get(f"{stack.at.alertmanager}/api/v2/alerts"))


def _exemplar(stack: Stack) -> str:
    series, now = 'dotflow_workflow_duration_seconds_bucket{workflow="orders"}', time.time()
    url, times = f"{stack.at.prometheus}/api/v1/query_exemplars", {"start": str(now - 120), "end": str(now)}
    return str(stack.get(url, query=series, **times)["data"][0]["exemplars"][-1]["labels"]["trace_id"])


def _spans(stack: Stack, trace: str) -> list[dict[str, Any]]:
    """The spans of a run, once its root is among them: it comes last."""
    found = list(stack.get(f"{stack.at.jaeger}/api/traces/{trace}")["data"][0]["spans"])
    return found if any(span["operationName"] == "workflow orders" for span in found) else []


def _is_healthy(stack: Stack, uid: str) -> bool:
    return str(stack.grafana(f"/api/datasources/uid/{uid}/health")["status"]).upper() == "OK"


def _is_shown(stack: Stack, mine: dict[str, Any]) -> bool:
    theirs = stack.grafana(f"/api/dashboards/uid/{mine['uid']}")
    titles = [panel["title"] for panel in mine["panels"]]
    return bool(theirs["meta"]["provisioned"]) and [p["title"] for p in theirs["dashboard"]["panels"]] == titles


def _has_values(stack: Stack, body: dict[str, Any]) -> bool:
    answer = stack.grafana("/api/ds/query", body)
    frames = [frame for result in answer["results"].values() for frame in result["frames"]]
    return any(column for frame in frames for column in frame["data"]["values"])


def _as_sent(target: dict[str, Any]) -> dict[str, Any]:
    expr = target["expr"].replace('"$job"', '".+"').replace('"$instance"', '".*"').replace('"$workflow"', '".+"')
    query = {**target, "expr": expr, "datasource": {"type": "prometheus", "uid": "prometheus"}, "intervalMs": 5000}
    return {"queries": [query], "from": "now-5m", "to": "now"}


@contextmanager
def started(password: str, *, keep: bool) -> Iterator[None]:
    """The stack, from its images."""
    profiles = [word for profile in PROFILES for word in ("--profile", profile)]
    # A project of its own: what it removes at its end, with all volumes, is never the stack that somebody uses.
    command = ["docker", "compose", "--project-name", PROJECT, "--project-directory", str(ROOT), *profiles]
    env = {**os.environ, **CHOICES, "GRAFANA_ADMIN_PASSWORD": password}
    subprocess.run([*command, "version"], env=env, check=True, stdout=subprocess.DEVNULL)
    try:
        subprocess.run([*command, "up", "--detach", "--build"], env=env, check=True)
        yield
    except BaseException:
        subprocess.run([*command, "logs", "--tail", "30"], env=env, check=False)
        raise
    finally:
        if not keep:
            subprocess.run([*command, "down", "--volumes"], env=env, check=False)


def check_all(stack: Stack) -> None:
    """Everything, in the order in which it can come true."""
    check_services(stack)
    check_grafana(stack)
    check_panels(stack)
    trace = check_way_to_a_trace(stack)
    check_way_through_grafana(stack, trace)
    check_logs(stack, trace)
    check_alerts(stack)


def main() -> int:
    """The exit status is 0 if everything works."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", action="store_true", help="leave the stack running")
    parser.add_argument("--only", action="store_true", help="check what is running already")
    options = parser.parse_args()
    password = os.environ.get("GRAFANA_ADMIN_PASSWORD") or secrets.token_urlsafe(16)
    try:
        if options.only:
            check_all(Stack(password))
        else:
            with started(password, keep=options.keep):
                check_all(Stack(password))
    except (Failed, subprocess.CalledProcessError, FileNotFoundError) as failed:
        print(failed if isinstance(failed, Failed) else f"FAILED  Docker with Compose is needed: {failed}")
        return 1
    print("everything works")
    return 0


if __name__ == "__main__":
    sys.exit(main())
