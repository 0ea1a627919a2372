"""The built page opens from the resources of the package, as it is installed."""

from __future__ import annotations

import re

from starlette.datastructures import Headers

from ui_service.app import built_page
from ui_service.page_files import PageFiles


def test_the_page_opens_from_the_package() -> None:
    pages = PageFiles(built_page())
    index = pages.response("/runs/01abc", Headers())
    assert index.status_code == 200
    named = re.findall(r'(?:src|href)="([^"]+)"', bytes(index.body).decode())
    assert named
    for name in named:
        assert pages.response(name, Headers()).status_code == 200, name
