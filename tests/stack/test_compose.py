"""docker-compose.yml, read by the real Compose; and the traps of the images that it names."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from support.compose import PROFILES, ROOT, compose, services

pytestmark = pytest.mark.tree

IMAGES = {
    "collector": "otel/opentelemetry-collector-contrib:0.162.0",
    "jaeger": "jaegertracing/jaeger:2.20.0",
    "prometheus": "prom/prometheus:v3.15.0",
    "grafana": "grafana/grafana:13.2.3",
    "alertmanager": "prom/alertmanager:v0.34.1",
    "pushgateway": "prom/pushgateway:v1.11.3",
    "loki": "grafana/loki:3.7.8",
    "demo": "dotflow-demo:local",
}


@pytest.fixture(scope="module")
def everything():
    return services(*PROFILES)


@pytest.mark.parametrize("profiles", [(), *((profile,) for profile in PROFILES), PROFILES], ids=str)
def test_compose_takes_the_file(profiles):
    chosen = [word for profile in profiles for word in ("--profile", profile)]
    done = compose(*chosen, "config", "--quiet", GRAFANA_ADMIN_PASSWORD="x")
    assert (done.returncode, done.stderr) == (0, "")


def test_the_schema_of_compose_files_holds():
    checker = Path(sys.executable).with_name("check-jsonschema")
    if not checker.exists():
        pytest.skip("SKIPPED: no check-jsonschema: the schema was not checked")
    done = subprocess.run(
        [checker, "--builtin-schema", "vendor.compose-spec", ROOT / "docker-compose.yml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_the_default_is_the_four_that_are_always_needed():
    assert set(services()) == {"collector", "jaeger", "prometheus", "grafana"}
    for profile, service in {"alerts": "alertmanager", "push": "pushgateway", "logs": "loki", "demo": "demo"}.items():
        assert set(services(profile)) - set(services()) == {service}


def test_images_are_those_that_were_tried(everything):
    assert {name: service["image"] for name, service in everything.items()} == IMAGES


def test_the_demo_is_built_on_a_pinned_image():
    (base,) = re.findall(r"^FROM (\S+)$", (ROOT / "stack/demo/Dockerfile").read_text(), re.MULTILINE)
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", base)


def test_without_a_password_nothing_starts():
    done = compose("config", "--quiet")
    assert done.returncode != 0
    assert "GRAFANA_ADMIN_PASSWORD is missing a value" in done.stderr


def test_ports_are_bound_to_this_machine_only(everything):
    bound = {port["published"]: port["host_ip"] for service in everything.values() for port in service.get("ports", [])}
    assert set(bound.values()) == {"127.0.0.1"}
    assert {"3000", "4317", "4318", "9090", "9093", "9091", "3100", "16686"} <= set(bound)


def test_every_service_is_limited_and_asked_for_its_health(everything):
    for name, service in everything.items():
        assert int(service["mem_limit"]) > 0, name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["restart"] == "unless-stopped", name
        # Its image is a program and nothing else, and that program cannot ask itself.
        assert ("healthcheck" in service) == (name != "collector"), name


def test_nothing_waits_for_the_health_of_what_has_none(everything):
    for service in everything.values():
        for needed, how in service.get("depends_on", {}).items():
            assert how["condition"] == ("service_started" if needed == "collector" else "service_healthy")


def test_the_images_without_a_shell_are_asked_by_their_own_program(everything):
    assert everything["loki"]["healthcheck"]["test"] == ["CMD", "/usr/bin/loki", "-health"]
    assert everything["prometheus"]["healthcheck"]["test"][:2] == ["CMD", "promtool"]


def test_prometheus_keeps_exemplars_and_takes_otlp(everything):
    command = everything["prometheus"]["command"]
    assert {"--enable-feature=exemplar-storage", "--web.enable-otlp-receiver"} <= set(command)
    assert everything["prometheus"]["extra_hosts"] == ["host.docker.internal=host-gateway"]


def test_grafana_lets_nobody_in_and_downloads_nothing(everything):
    environment = everything["grafana"]["environment"]
    assert environment["GF_SECURITY_ADMIN_PASSWORD"] == "x"
    assert environment["GF_AUTH_ANONYMOUS_ENABLED"] == environment["GF_USERS_ALLOW_SIGN_UP"] == "false"
    assert environment["GF_PLUGINS_PREINSTALL_AUTO_UPDATE"] == "false"
    assert environment["GF_PLUGINS_PREINSTALL_DISABLED"] == "true"


def test_every_file_that_is_mounted_is_there():
    for jaeger in ("memory", "badger"):
        for rules in ("rules", "rules-demo"):
            found = services(*PROFILES, DOTFLOW_JAEGER_STORAGE=jaeger, DOTFLOW_RULES=rules)
            mounts = [mount for service in found.values() for mount in service.get("volumes", [])]
            missing = [
                mount["source"] for mount in mounts if mount["type"] == "bind" and not Path(mount["source"]).exists()
            ]
            assert missing == []
            assert all(mount["read_only"] for mount in mounts if mount["type"] == "bind")
            storage = Path(found["jaeger"]["command"][1].removeprefix("--config=")).name
            assert (ROOT / "stack/jaeger" / storage).exists()


def test_the_example_of_an_env_file_names_every_variable():
    named = re.findall(r"^(\w+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    used = re.findall(r"\$\{(\w+)", (ROOT / "docker-compose.yml").read_text())
    assert sorted(named) == sorted(set(used))


def provisioned(name):
    return yaml.safe_load((ROOT / "grafana/provisioning" / name).read_text())


def test_the_data_sources_lead_from_a_point_to_its_trace_and_from_a_span_to_its_metrics(everything):
    sources = {source["uid"]: source for source in provisioned("datasources/dotflow.yml")["datasources"]}
    assert {uid: source["url"] for uid, source in sources.items()} == {
        "prometheus": "http://prometheus:9090",
        "jaeger": "http://jaeger:16686",
        "loki": "http://loki:3100",
        "alertmanager": "http://alertmanager:9093",
    }
    inside, outside = sources["prometheus"]["jsonData"]["exemplarTraceIdDestinations"]
    assert (inside["name"], inside["datasourceUid"]) == ("trace_id", "jaeger")
    assert (outside["name"], outside["url"]) == ("trace_id", "http://localhost:16686/trace/$${__value.raw}")
    to_metrics = sources["jaeger"]["jsonData"]["tracesToMetrics"]
    assert to_metrics["datasourceUid"] == "prometheus"
    assert to_metrics["tags"] == [{"key": "dotflow.workflow.name", "value": "workflow"}]
    assert sources["jaeger"]["jsonData"]["nodeGraph"] == {"enabled": True}
    for name in sources:
        assert sources[name]["access"] == "proxy"
        assert sources[name]["url"].split("/")[2].split(":")[0] in everything


def test_a_dollar_of_grafanas_own_is_written_twice():
    text = (ROOT / "grafana/provisioning/datasources/dotflow.yml").read_text()
    uncommented = "\n".join(line.split(" #")[0] for line in text.splitlines())
    assert re.findall(r"(?<!\$)\$(?!\$)", uncommented) == []


def test_the_dashboards_are_mounted_where_grafana_looks(everything):
    (provider,) = provisioned("dashboards/dotflow.yml")["providers"]
    mounts = {mount["target"]: Path(mount["source"]) for mount in everything["grafana"]["volumes"]}
    folder = mounts[provider["options"]["path"]]
    assert {path.name for path in folder.iterdir()} == {"overview.json", "traces.json", "workflow.json"}
    home = everything["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (folder / Path(home).name).exists()
