"""The rules: checked and tested by the real promtool, and each alert with a page that says what to do."""

from __future__ import annotations

import re
import subprocess

import pytest
import yaml

from dotflow.names import metrics as names
from support.compose import ROOT
from support.prometheus_server import find

pytestmark = pytest.mark.tree

RULES = ROOT / "stack/prometheus/rules/dotflow.yml"
DEMO = ROOT / "stack/prometheus/rules-demo/dotflow.yml"
TESTS = sorted((ROOT / "stack/prometheus/tests").glob("*.yml"))


def rules(path=RULES):
    return [rule for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]


def alerts(path=RULES):
    return {rule["alert"]: rule for rule in rules(path) if "alert" in rule}


def promtool(*arguments):
    done = subprocess.run([find("promtool"), *arguments], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_the_configuration_of_prometheus():
    status, said = promtool("check", "config", "--lint=all", "--lint-fatal", ROOT / "stack/prometheus/prometheus.yml")
    assert status == 0, said
    assert "1 rule files found" in said


@pytest.mark.parametrize("path", [RULES, DEMO], ids=lambda path: path.parent.name)
def test_the_rules_are_sound(path):
    status, said = promtool("check", "rules", "--lint=all", "--lint-fatal", path)
    assert status == 0, said


@pytest.mark.long
@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_the_rules_do_what_their_tests_say(path):
    status, said = promtool("test", "rules", path)
    assert status == 0, said


def cases():
    """The alert rule tests of all files."""
    for path in TESTS:
        for group in yaml.safe_load(path.read_text())["tests"]:
            yield from group.get("alert_rule_test", [])


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_is_quiet():
    firing = {case["alertname"] for case in cases() if case["exp_alerts"]}
    quiet = {case["alertname"] for case in cases() if not case["exp_alerts"]}
    assert firing == quiet == set(alerts())


def test_rule_tests_hold_for_prometheus_2_and_3():
    """Ranges became open at the left, and le="1" became le="1.0": neither may make a difference."""
    for path in TESTS:
        text = path.read_text()
        assert all(time.endswith("30s") for time in re.findall(r"eval_time: (\w+)", text)), path.name
        assert all("." in bound or bound == "+Inf" for bound in re.findall(r'le="([^"]+)"', text)), path.name


@pytest.mark.parametrize("name", alerts())
def test_an_alert_says_what_it_means_and_where_to_look(name):
    alert = alerts()[name]
    assert alert["labels"] == {"severity": alert["labels"]["severity"]}
    assert alert["labels"]["severity"] in ("info", "warning", "critical")
    assert "for" in alert
    assert set(alert["annotations"]) == {"summary", "description", "dashboard_url", "runbook_url"}
    assert "{{ $labels." in alert["annotations"]["summary"]
    page = (ROOT / alert["annotations"]["runbook_url"]).read_text()
    assert page.startswith(f"# {name}\n")
    for heading in ("## What it means", "## What to do"):
        assert heading in page
    assert f"`{alert['labels']['severity']}`" in page


def test_no_page_is_about_an_alert_that_is_gone():
    pages = {path.stem for path in (ROOT / "docs/runbooks").glob("*.md")} - {"README"}
    assert pages == {
        alert["annotations"]["runbook_url"].split("/")[-1].removesuffix(".md") for alert in alerts().values()
    }


def test_the_page_about_the_stack_lists_every_alert():
    page = (ROOT / "docs/stack.md").read_text()
    listed = dict(re.findall(r"^\| \[(\w+)\]\((\S+)\) \|", page, re.MULTILINE))
    assert {name: f"docs/{path}" for name, path in listed.items()} == {
        name: alert["annotations"]["runbook_url"] for name, alert in alerts().items()
    }


def test_the_demonstration_has_the_same_rules_at_another_pace():
    def shape(path):
        text = re.sub(r"\d+[smhd]\b", "#", path.read_text())
        return re.sub(r"> \d+$|above \d+ s|older than \d+ s|0.1 \* \d+|, \d+\)$", "#", text, flags=re.MULTILINE)

    assert shape(RULES) == shape(DEMO)
    assert RULES.read_text() != DEMO.read_text()


def test_rules_take_their_names_from_the_table():
    known = {series for metric in names.METRICS for series in metric.series}
    known |= {rule["record"] for rule in rules() if "record" in rule}
    for rule in rules():
        used = set(re.findall(r"(?<![\w:])dotflow_\w+", rule["expr"])) | set(re.findall(r"\w+:\w+:\w+", rule["expr"]))
        assert used <= known, rule
