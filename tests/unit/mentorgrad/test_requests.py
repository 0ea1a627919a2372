"""Arguments of a client's methods, as users fill them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from mentorgrad import AsyncClient
from mentorgrad.errors import InvalidInput
from mentorgrad.v1 import history_service_pb2 as history
from mentorgrad.wire.requests import request_of


def test_a_request_has_its_fields() -> None:
    request = request_of(history.ListCandidatesRequest, run_id=np.str_("a"), page_size=3)
    assert (request.run_id, request.page_size) == ("a", 3)


@pytest.mark.parametrize("value", ["\ud800", 3, b"\xff", {}], ids=repr)
def test_an_argument_that_is_no_text_is_named(value: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        request_of(history.ListCandidatesRequest, page_size=3, run_id=value)
    assert caught.value.violations[0].field == "run_id"


@pytest.mark.parametrize("value", [None, "5", math.nan, math.inf, 0, -1.0], ids=repr)
async def test_a_timeout_is_a_number_of_seconds(value: Any) -> None:
    for name in ("timeout", "stream_timeout"):
        with pytest.raises(InvalidInput) as caught:
            AsyncClient("127.0.0.1:1", **{name: value})
        assert caught.value.violations[0].field == name


async def test_a_timeout_keeps_its_precision_beside_the_time_of_day() -> None:
    """Added to the seconds since 1970, a float32 loses minutes: the deadline would be over."""
    client = AsyncClient("127.0.0.1:1", timeout=np.float32(5))
    assert type(client._timeout) is float
