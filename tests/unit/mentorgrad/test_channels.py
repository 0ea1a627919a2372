"""Channels and the proxies of the environment."""

from __future__ import annotations

from typing import Any

import pytest

from mentorgrad.wire import channels

PROXY = "http://127.0.0.1:9"
ANY = {"http_proxy": PROXY, "https_proxy": PROXY, "HTTP_PROXY": PROXY, "ALL_PROXY": PROXY}


class Recorder:
    """Takes the place of ``grpc``."""

    def insecure_channel(self, target: str, options: Any) -> dict[str, Any]:
        return dict(options)


@pytest.mark.parametrize(
    ("environment", "target", "through_proxy"),
    [
        ({}, "host:1", False),
        (ANY, "host:1", False),
        (ANY, "127.0.0.1:1", False),
        (ANY | {"grpc_proxy": PROXY}, "host:1", True),
        ({"grpc_proxy": PROXY}, "10.0.0.1:1", True),
        ({"grpc_proxy": PROXY}, "127.0.0.1:1", False),
        ({"grpc_proxy": PROXY}, "127.8.0.1:1", False),
        ({"grpc_proxy": PROXY}, "localhost:1", False),
        ({"grpc_proxy": PROXY}, "[::1]:1", False),
    ],
)
def test_only_the_variable_for_grpc_applies_and_never_to_loopback(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], target: str, through_proxy: bool
) -> None:
    monkeypatch.delenv("grpc_proxy", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    options = channels._open(Recorder(), target, None, channels.STREAM_OPTIONS)
    assert options["grpc.enable_http_proxy"] == through_proxy
