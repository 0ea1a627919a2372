"""The alert rules and the dashboard, for tests."""

from __future__ import annotations

import json
from typing import Any

import yaml

from tests.support.deployment import ROOT

RULES = ROOT / "deploy/prometheus/alerts.yaml"
RULES_TEST = ROOT / "deploy/prometheus/alerts_test.yaml"
_DASHBOARD = ROOT / "deploy/grafana/mentorgrad.json"


def rules() -> list[dict[str, Any]]:
    """The alert rules."""
    return list(yaml.safe_load(RULES.read_text())["groups"][0]["rules"])


def rule_tests() -> list[dict[str, Any]]:
    """The tests of the rules."""
    return list(yaml.safe_load(RULES_TEST.read_text())["tests"])


def whole_dashboard() -> dict[str, Any]:
    """The dashboard, as Grafana imports it."""
    found: dict[str, Any] = json.loads(_DASHBOARD.read_text())
    return found


def panels() -> list[dict[str, Any]]:
    """The panels of the dashboard, and the rows that head them."""
    return list(whole_dashboard()["panels"])


def dashboard() -> list[str]:
    """The expressions of the dashboard, with an interval in place of Grafana's."""
    return [
        target["expr"].replace("$__rate_interval", "5m")
        for panel in panels()
        for target in panel.get("targets", ())
    ]
