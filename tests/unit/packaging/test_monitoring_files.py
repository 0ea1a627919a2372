"""The alert rules and the dashboard in themselves.

`tests/e2e/test_operations.py` compares them with what services show.
"""

from __future__ import annotations

import re

from tests.support.monitoring_files import (
    RULES,
    RULES_TEST,
    panels,
    rule_tests,
    rules,
    whole_dashboard,
)
from tests.support.promtool import promtool, unknown_in


def test_each_alert_fires_when_it_should_and_only_then() -> None:
    promtool("check", "rules", str(RULES))
    promtool("test", "rules", str(RULES_TEST))
    tests = [one for test in rule_tests() for one in test["alert_rule_test"]]
    names = {rule["alert"] for rule in rules()}
    for fires in (True, False):
        assert {one["alertname"] for one in tests if ("exp_alerts" in one) is fires} == names


def test_a_metric_or_label_that_there_is_not_is_noticed() -> None:
    known = {"mentorgrad_a_total": {"code"}, "up": {"job"}}
    assert unknown_in('rate(mentorgrad_a_total{code=~"x=1"}[5m]) and up{job!="y"}', known) == []
    asked = 'sum(mentorgrad_b) + mentorgrad_a_total{kind="x"}'
    assert unknown_in(asked, known) == ["mentorgrad_b", "mentorgrad_a_total{kind}"]


def test_panels_can_be_told_apart_and_cover_no_other() -> None:
    assert len({panel["id"] for panel in panels()}) == len(panels())
    cells = [
        (x, y)
        for panel in panels()
        for at in [panel["gridPos"]]
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) == 23


def test_grafana_imports_the_dashboard_again_in_place_of_the_old_one() -> None:
    """By its `uid`; without a database's id. Grafana brings an older schema up to date, and refuses
    a newer one."""
    whole = whole_dashboard()
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,40}", whole["uid"])
    assert not {"id", "version", "__inputs"} & set(whole)
    assert whole["schemaVersion"] <= 39  # that of Grafana 10.3


def test_each_panel_has_what_grafana_requires_and_the_source_that_the_reader_chooses() -> None:
    (source,) = whole_dashboard()["templating"]["list"]
    assert (source["type"], source["query"]) == ("datasource", "prometheus")
    chosen = {"type": "prometheus", "uid": f"${{{source['name']}}}"}
    for panel in panels():
        assert panel["title"]
        if panel["type"] == "row":
            assert (panel["collapsed"], panel["panels"]) == (False, [])
            assert panel["gridPos"]["w"] == 24
            continue
        assert panel["type"] == "timeseries"
        assert panel["datasource"] == chosen
        letters = [target["refId"] for target in panel["targets"]]
        assert letters == sorted(set(letters))
        assert all(target["legendFormat"] for target in panel["targets"])
        fields = panel["fieldConfig"]
        assert fields["defaults"].get("unit", "s") in ("s", "bytes", "percentunit", "reqps")
        for override in fields["overrides"]:
            assert override["matcher"]["options"] in letters
