"""Settings of the page."""

from __future__ import annotations

import pytest

from mentorgrad.errors import InvalidInput
from service_common.settings import load
from ui_service.settings import UiSettings


@pytest.mark.parametrize("server", ["::1:50551", "http://127.0.0.1:50551", "127.0.0.1"])
def test_the_trainer_is_named_by_its_address(server: str) -> None:
    with pytest.raises(InvalidInput, match="server: must be HOST:PORT"):
        load(UiSettings, None, {"server": server})


@pytest.mark.parametrize("server", ["[::1]:50551", "dns:///trainer:50551"])
def test_it_may_be_any_that_grpc_connects_to(server: str) -> None:
    assert load(UiSettings, None, {"server": server}).server == server
