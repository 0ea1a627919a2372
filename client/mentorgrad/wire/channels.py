"""gRPC channels and their options: message limits, keepalive and retries.

gRPC's retries can silently lose messages of a stream, so unary calls and streams use separate
channels, and only listed, idempotent unary methods are retried.

Of the proxy variables only ``grpc_proxy`` (with ``no_grpc_proxy``) applies, and never to loopback:
``http_proxy`` and ``https_proxy`` are set for downloads, and most such proxies refuse gRPC.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from typing import Any, Self, cast

import grpc
import grpc.aio

from mentorgrad.wire.addresses import is_local
from mentorgrad.wire.credentials import Credentials

MAX_MESSAGE_BYTES = 8 * 1024 * 1024
"""Maximum message size of clients and servers, bytes."""

SEGMENT_BYTES = 256 * 1024
"""Size at which a segment or batch is sent, bytes."""

_PROXY = "grpc_proxy"
"""Environment variable; the library knows it in lower case only."""

_KEEPALIVE_MS = 30_000
"""Keepalive interval; servers allow pings three times as often."""

_COMMON: list[tuple[str, int | str]] = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
]

SERVER_OPTIONS: list[tuple[str, int | str]] = [
    *_COMMON,
    # Otherwise a second server on the same port would start without an error.
    ("grpc.so_reuseport", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", _KEEPALIVE_MS // 3),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.max_concurrent_streams", 256),
    # A cancelled call is one of these until its handler has ended.
    ("grpc.http.overload_protection", 1),
    # A few kilobytes of gzip become megabytes: only uncompressed requests are accepted.
    ("grpc.compression_enabled_algorithms_bitset", 1),
    # Room for the token of an identity provider (8 KiB) and the rest; by default 8 KiB of all.
    ("grpc.max_metadata_size", 12 * 1024),
    # What arrives of a call before it is asked for; if it may be adapted, 4 MiB.
    ("grpc.http2.lookahead_bytes", SEGMENT_BYTES),
    ("grpc.http2.bdp_probe", 0),
    # Until a connection has said in HTTP/2 and TLS that it is one; 120 s by default.
    ("grpc.server_handshake_timeout_ms", 10_000),
    # Of clients that have vanished, and of those without a call; a client connects again by itself.
    ("grpc.keepalive_time_ms", 2 * _KEEPALIVE_MS),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.max_connection_idle_ms", 300_000),
    # Calls that have arrived and that the service has not seen yet.
    ("grpc.server.max_pending_requests", 256),
    ("grpc.server.max_pending_requests_hard_limit", 512),
]
"""Options of every server, but for the number of its connections (`max_connections`)."""

OPEN_FILES = 16_384
"""Number of open files of a service that takes as many connections as it can serve."""


def max_connections() -> int:
    """Maximum number of a server's connections: half of `OPEN_FILES`, or of the files that the
    process may have open, so that the others are left for its store and its workers."""
    most = OPEN_FILES
    with contextlib.suppress(ImportError):
        import resource  # not available on all systems

        allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if allowed != resource.RLIM_INFINITY:
            most = min(most, allowed)
    return max(most // 2, 1)


# Both methods that create something are idempotent by request_id.
_RETRIED = {
    "HistoryService": (
        "GetRun",
        "ListRuns",
        "ListCandidates",
        "CompareRuns",
        "ListArtifacts",
        "ListAudit",
        "ListWorkers",
    ),
    "ExperimentService": ("GetExperiment", "ListExperiments", "GetReport", "CreateExperiment"),
    "TrainerService": ("GetTrainerInfo", "CreateRun"),
    "MentorService": ("GetMentorInfo",),
    "PredictService": ("GetPredictorInfo", "Predict"),
}

_SERVICE_CONFIG = {
    "methodConfig": [
        {
            "name": [
                {"service": f"mentorgrad.v1.{service}", "method": method}
                for service, methods in _RETRIED.items()
                for method in methods
            ],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.1s",
                "maxBackoff": "1s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}

_CLIENT: list[tuple[str, int | str]] = [
    *_COMMON,
    ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2_000),
]


STREAM_OPTIONS: list[tuple[str, int | str]] = [
    *_CLIENT,
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),
]
"""Options of channels without retries and with separate connections."""


def unary_channel(target: str, credentials: Credentials | None = None) -> grpc.aio.Channel:
    """A channel for unary calls, with retries of idempotent methods.

    Raises:
        InvalidInput: The credentials are unusable; as in the other two functions.
    """
    options = [*_CLIENT, ("grpc.service_config", json.dumps(_SERVICE_CONFIG))]
    return cast(grpc.aio.Channel, _open(grpc.aio, target, credentials, options))


def stream_channel(target: str, credentials: Credentials | None = None) -> grpc.aio.Channel:
    """A channel for streams, without retries: the caller resumes them."""
    return cast(grpc.aio.Channel, _open(grpc.aio, target, credentials, STREAM_OPTIONS))


def upload_channel(target: str, credentials: Credentials | None = None) -> grpc.Channel:
    """A synchronous (threaded) channel for client streams.

    If a server rejects a client stream before its end, grpc.aio loses the status ("Internal error
    from Core"); the synchronous API keeps it.
    """
    return cast(grpc.Channel, _open(grpc, target, credentials, STREAM_OPTIONS))


def _open(
    kind: Any, target: str, credentials: Credentials | None, options: list[tuple[str, int | str]]
) -> Any:
    """Opens a channel of ``grpc`` or ``grpc.aio``."""
    given = credentials or Credentials()
    given.check_target(target)
    through_proxy = bool(os.environ.get(_PROXY)) and not is_local(target)
    options = [*options, ("grpc.enable_http_proxy", int(through_proxy))]
    if given.is_encrypted:
        secrets = grpc.ssl_channel_credentials(*given.read())
        channel = kind.secure_channel(target, secrets, options=options)
    else:
        channel = kind.insecure_channel(target, options=options)
    return _WithToken(channel, given) if given.has_token else channel


_CALLS = frozenset({"unary_unary", "unary_stream", "stream_unary", "stream_stream"})


class _WithToken:
    """Wraps a channel, asyncio or not, so that all calls carry the token.

    Call credentials would raise on plaintext, and grpc.aio's interceptors put a queue between a
    stream's writes and the wire, which breaks back-pressure.
    """

    def __init__(self, channel: Any, credentials: Credentials) -> None:
        self._channel = channel
        self._credentials = credentials

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._channel, name)
        if name not in _CALLS:
            return found
        return lambda *args, **kwargs: _Method(found(*args, **kwargs), self._credentials)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._channel.close()


class _Method:
    """One method of a channel with a token."""

    def __init__(self, method: Any, credentials: Credentials) -> None:
        self._method = method
        self._credentials = credentials

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._with_token(self._method, *args, **kwargs)

    def future(self, *args: Any, **kwargs: Any) -> Any:
        """Calls it as a future; synchronous channels only."""
        return self._with_token(self._method.future, *args, **kwargs)

    def _with_token(
        self, call: Callable[..., Any], *args: Any, metadata: Any = None, **kwargs: Any
    ) -> Any:
        return call(*args, metadata=(*(metadata or ()), *self._credentials.metadata()), **kwargs)
