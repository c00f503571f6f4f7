"""What deploy/ promises to Prometheus and Grafana, checked without either."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
from support.deployed import DEPLOY, ROOT, SERVICES, loaded

from consumers.metrics import metric_names

DASHBOARDS = sorted(DEPLOY.rglob("*.json"))
OF_PROMETHEUS = {"up"}
VARIABLES = {"$__rate_interval": "1m", "$job": "sampler|clusterer"}
RULES = [rule for group in loaded(DEPLOY / "prometheus/rules.yml")["groups"] for rule in group["rules"]]
RECORDED = {rule["record"] for rule in RULES if "record" in rule}


def metrics_of(expression: str) -> set[str]:
    """The metrics that a PromQL expression reads; fails when it is none."""
    found: set[str] = set()

    def visit(node: promql_parser.Expr) -> bool:
        if isinstance(node, promql_parser.VectorSelector):
            found.add(node.name)
        return True

    promql_parser.walk(promql_parser.parse(expression), visit)
    return found


def known() -> set[str]:
    return metric_names() | OF_PROMETHEUS | RECORDED


# --- Prometheus


def test_prometheus_finds_its_rules() -> None:
    mounted = [volume.split(":")[1] for volume in SERVICES["prometheus"]["volumes"]]
    assert set(loaded(DEPLOY / "prometheus/prometheus.yml")["rule_files"]) <= set(mounted)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.get("alert") or rule["record"])
def test_rules_read_metrics_that_exist(rule: dict[str, Any]) -> None:
    read = metrics_of(rule["expr"])
    assert read
    assert read <= known()
    assert set(rule) <= {"alert", "record", "expr", "for", "labels", "annotations"}


@pytest.mark.parametrize("rule", [rule for rule in RULES if "alert" in rule], ids=lambda rule: rule["alert"])
def test_alerts_say_what_is_wrong_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert set(rule["annotations"]) == {"summary", "description"}
    assert re.fullmatch(r"\d+[smh]", rule.get("for", "0s"))


# --- Grafana


def panels(dashboard: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for panel in dashboard["panels"]:
        yield panel
        yield from panel.get("panels", [])


def expressions(dashboard: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for panel in panels(dashboard):
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]
    for annotation in dashboard["annotations"]["list"]:
        if "expr" in annotation:
            yield annotation["name"], annotation["expr"]
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            labelled = re.fullmatch(r"label_values\((\w+), \w+\)", variable["query"]["query"])
            assert labelled
            yield variable["name"], labelled[1]


def plain(expression: str) -> str:
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    return expression


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.name)
def test_dashboards_read_metrics_that_exist(path: Path) -> None:
    for title, expression in expressions(json.loads(path.read_text())):
        read = metrics_of(plain(expression))
        assert read, title
        assert read <= known(), title


def test_every_metric_is_on_the_dashboard() -> None:
    read: set[str] = set()
    for path in DASHBOARDS:
        for _, expression in expressions(json.loads(path.read_text())):
            read |= metrics_of(plain(expression))
    of_the_process = {name for name in metric_names() if name.startswith("stream_coreset_process_")}
    assert metric_names() - of_the_process - read == set()


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.name)
def test_panels_are_told_apart_described_and_do_not_overlap(path: Path) -> None:
    all_panels = list(panels(json.loads(path.read_text())))
    assert len({panel["id"] for panel in all_panels}) == len(all_panels)
    taken: set[tuple[int, int]] = set()
    for panel in all_panels:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
        assert panel["type"] == "row" or panel["description"]


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.name)
def test_one_variable_says_where_the_data_come_from(path: Path) -> None:
    dashboard = json.loads(path.read_text())
    (provisioned,) = loaded(DEPLOY / "grafana/provisioning/datasources/prometheus.yml")["datasources"]
    variables = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
    assert variables["datasource"]["current"]["value"] == provisioned["uid"]
    used = {target["datasource"]["uid"] for panel in panels(dashboard) for target in panel.get("targets", [])}
    assert used == {"${datasource}"}
    host, port = provisioned["url"].removeprefix("http://").split(":")
    assert host in SERVICES
    assert f"127.0.0.1:{port}:{port}" in SERVICES[host]["ports"]


def test_grafana_finds_its_dashboards() -> None:
    mounted = {volume.split(":")[1]: volume.split(":")[0] for volume in SERVICES["grafana"]["volumes"]}
    (provider,) = loaded(DEPLOY / "grafana/provisioning/dashboards/stream-coreset.yml")["providers"]
    folder = provider["options"]["path"]
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (ROOT / mounted[folder] / Path(home).relative_to(folder)).exists()
