"""The page's types of the views say what the service sends."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from mentorgrad.reports import chart_views, design_views, group_view, path_view, tables, texts, view
from mentorgrad.reports.view import camel_case

SOURCE = Path(__file__).parents[3] / "ui/src/data/report.ts"
MODULES = (chart_views, design_views, group_view, path_view, tables, texts, view)
VIEWS = {
    name: cls
    for module in MODULES
    for name, cls in vars(module).items()
    if dataclasses.is_dataclass(cls) and cls.__module__ == module.__name__
    if cls is not group_view.RunCurve  # what a view is made of
}


def _interfaces() -> dict[str, list[str]]:
    """The fields of every interface."""
    text = SOURCE.read_text("utf-8")
    found = re.findall(r"^export interface (\w+) \{\n(.*?)^\}", text, re.M | re.S)
    return {name: re.findall(r"^  (\w+)\??:", body, re.M) for name, body in found}


@pytest.mark.parametrize("name", sorted(VIEWS))
def test_a_view_has_the_same_fields_on_both_sides(name: str) -> None:
    fields = [camel_case(field.name) for field in dataclasses.fields(VIEWS[name])]
    assert _interfaces()[name] == fields
