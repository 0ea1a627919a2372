"""Prometheus metrics of the mentor service, in addition to those of its gRPC calls."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from mentorgrad.domain.advice import Answer
from service_common.metrics import ANSWER_BUCKETS


class MentorMetrics:
    """Metrics of answers, the question queue and sessions. Called on the service's event loop.

    Args:
        registry: Prometheus registry; one per process.
        waiting: Returns the number of queued questions.
        sessions: Returns the number of open sessions.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        waiting: Callable[[], int],
        sessions: Callable[[], int],
    ) -> None:
        self._answers = Histogram(
            "mentorgrad_mentor_answer_seconds",
            "From a request to its answer, by what came of it.",
            ("status",),
            buckets=ANSWER_BUCKETS,
            registry=registry,
        )
        self._proposals = Counter(
            "mentorgrad_mentor_proposals", "Proposals given.", registry=registry
        )
        self._tokens = Counter(
            "mentorgrad_mentor_tokens",
            "Tokens of questions and replies.",
            ("kind",),
            registry=registry,
        )
        for kind in ("prompt", "reply"):
            self._tokens.labels(kind)
        queue = Gauge(
            "mentorgrad_mentor_queue_length",
            "Questions that wait for the model.",
            registry=registry,
        )
        queue.set_function(waiting)
        opened = Gauge("mentorgrad_mentor_sessions_open", "Open sessions.", registry=registry)
        opened.set_function(sessions)

    def answered(self, answer: Answer, seconds: float) -> None:
        """Records an answer, with or without proposals, and its duration in seconds."""
        self._answers.labels(answer.status.value).observe(seconds)
        self._proposals.inc(len(answer.proposals))
        self._tokens.labels("prompt").inc(sum(r.prompt_tokens for r in answer.records))
        self._tokens.labels("reply").inc(sum(r.reply_tokens for r in answer.records))
