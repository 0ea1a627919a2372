"""The alert rules and the dashboard in themselves.

`tests/e2e/test_operations.py` compares them with what services show.
"""

from __future__ import annotations

from tests.support.monitoring_files import RULES, RULES_TEST, panels, rule_tests, rules
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
