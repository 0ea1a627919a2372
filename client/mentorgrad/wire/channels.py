"""Channels and their options: one place for limits, keepalive and retries.

A retry policy on a stream loses messages in silence, so unary calls and streams go over separate
channels, and only named, idempotent unary methods are retried.
"""

from __future__ import annotations

import json

import grpc
import grpc.aio

MAX_MESSAGE_BYTES = 8 * 1024 * 1024
"""Largest message either side takes."""

SEGMENT_BYTES = 256 * 1024
"""Size at which a segment or batch is sent."""

_KEEPALIVE_MS = 30_000
"""How often an idle connection is checked; the servers allow a third of it."""

_COMMON: list[tuple[str, int | str]] = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
]

SERVER_OPTIONS: list[tuple[str, int | str]] = [
    *_COMMON,
    # Without this, two servers share a port in silence.
    ("grpc.so_reuseport", 0),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", _KEEPALIVE_MS // 3),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.max_concurrent_streams", 256),
]
"""Options of every server."""

_RETRIED = [
    {"service": "mentorgrad.v1.HistoryService", "method": name}
    for name in ("GetRun", "ListRuns", "ListCandidates", "CompareRuns", "ListArtifacts")
] + [
    {"service": "mentorgrad.v1.TrainerService", "method": "GetTrainerInfo"},
    {"service": "mentorgrad.v1.MentorService", "method": "GetMentorInfo"},
    # Safe to repeat: the same request_id names the same run.
    {"service": "mentorgrad.v1.TrainerService", "method": "CreateRun"},
]

_SERVICE_CONFIG = {
    "methodConfig": [
        {
            "name": _RETRIED,
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


def unary_channel(target: str) -> grpc.aio.Channel:
    """A channel for unary calls, with retries of the idempotent ones."""
    options = [*_CLIENT, ("grpc.service_config", json.dumps(_SERVICE_CONFIG))]
    return grpc.aio.insecure_channel(target, options=options)


_STREAMS: list[tuple[str, int | str]] = [
    *_CLIENT,
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),
]


def stream_channel(target: str) -> grpc.aio.Channel:
    """A channel for streams, without retries: the application resumes them."""
    return grpc.aio.insecure_channel(target, options=_STREAMS)


def upload_channel(target: str) -> grpc.Channel:
    """A channel for client streams, with threads of its own instead of an event loop.

    When a server refuses a client stream before its end, asyncio's calls lose the status
    ("Internal error from Core") and these keep it.
    """
    return grpc.insecure_channel(target, options=_STREAMS)
