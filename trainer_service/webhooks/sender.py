"""Sends what the outbox holds: at least once, with growing pauses, and gives up after a day."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta

import structlog
from prometheus_client import CollectorRegistry, Counter

from mentorgrad.errors import MentorgradError
from run_store.outbox import Delivery, OutboxStore
from trainer_service.webhooks.endpoint import Endpoint
from trainer_service.webhooks.posting import SECONDS, post

log = structlog.get_logger(__name__)

LEASE = timedelta(seconds=60)
"""How long a message belongs to who sends it; much longer than sending takes."""

KEPT = timedelta(days=1)
"""After this time a message is given up."""

_AT_ONCE = 8
"""Messages that are sent to a webhook at once."""

_POLL_SECONDS = 1.0
_EXPIRE_SECONDS = 60.0
_LONGEST_PAUSE = 900.0

Post = Callable[[Endpoint, Delivery, str], Awaitable[None]]
"""Sends a message. Raises `MentorgradError`."""


def pause_after(attempt: int) -> timedelta:
    """Pause after a message has failed for the `attempt`-th time: 1 to 2 s at first, doubled up to
    15 minutes, so that receivers which failed for all are not asked by all at once."""
    longest = min(2.0 ** min(attempt, 16), _LONGEST_PAUSE)
    return timedelta(seconds=longest * random.uniform(0.5, 1.0))


class WebhookSender:
    """Sends messages about runs. Each webhook is served by itself, so that one which does not
    answer delays no other. For one event loop.

    Args:
        store: The run store.
        endpoints: Name of each webhook → the webhook.
        link: Address of a run for people, with ``{run_id}``; empty: none.
        registry: Registry of the metrics; at most one sender per registry.
        post: Sends one message.
        pause: Number of failed attempts → pause.
    """

    def __init__(
        self,
        store: OutboxStore,
        endpoints: Mapping[str, Endpoint],
        link: str = "",
        registry: CollectorRegistry | None = None,
        *,
        post: Post = post,
        pause: Callable[[int], timedelta] = pause_after,
    ) -> None:
        self._store = store
        self._endpoints = endpoints
        self._link = link
        self._post = post
        self._pause = pause
        self._serving: dict[str, asyncio.Task[None]] = {}
        self._loops: list[asyncio.Task[None]] = []
        self._closing = asyncio.Event()
        self._messages = Counter(
            "mentorgrad_trainer_webhook_messages",
            "Messages to webhooks, by what came of an attempt to send them.",
            ("webhook", "outcome"),
            registry=registry or CollectorRegistry(),
        )
        for name in endpoints:
            for outcome in ("sent", "failed", "given_up"):
                self._messages.labels(name, outcome)

    def start(self) -> None:
        """Begins to send, on this event loop."""
        for endpoint in self._endpoints.values():
            if endpoint.secret_file is None:
                log.warning("webhook_unsigned", webhook=endpoint.name)
        self._loops = [
            asyncio.create_task(self._every(_EXPIRE_SECONDS, self.expire)),
        ]
        if self._endpoints:
            self._loops.append(asyncio.create_task(self._every(_POLL_SECONDS, self.poll)))

    async def close(self, grace: float = SECONDS) -> None:
        """Sends what is due, such as what the end of the service made due, and stops. What takes
        longer than `grace` seconds is sent again by another service, or the next one."""
        if not self._loops:  # it was never started
            return
        self._closing.set()
        await asyncio.gather(*self._loops)
        with contextlib.suppress(MentorgradError, TimeoutError):
            async with asyncio.timeout(grace):
                if self._endpoints:
                    await self.poll()
                await asyncio.gather(*self._serving.values())
        for task in self._serving.values():
            task.cancel()
        await asyncio.gather(*self._serving.values(), return_exceptions=True)

    async def poll(self) -> None:
        """Begins to serve the webhooks with due messages."""
        self._serving = {name: task for name, task in self._serving.items() if not task.done()}
        for webhook in await asyncio.to_thread(self._store.due_webhooks):
            if webhook in self._endpoints and webhook not in self._serving:
                task = asyncio.create_task(self._serve(self._endpoints[webhook]))
                self._serving[webhook] = task

    async def expire(self) -> None:
        """Gives up what is too old, of whatever webhook: one that no service has any more, too."""
        while gone := await asyncio.to_thread(self._store.expire_deliveries, KEPT):
            for delivery in gone:
                self._messages.labels(delivery.webhook, "given_up").inc()
                log.error("webhook_given_up", **_named(delivery))
            if self._closing.is_set():
                return

    async def _serve(self, endpoint: Endpoint) -> None:
        with contextlib.suppress(MentorgradError):  # the health check tells of a store that is away
            while claimed := await asyncio.to_thread(
                self._store.claim_deliveries, endpoint.name, LEASE, _AT_ONCE
            ):
                await asyncio.gather(*(self._send(endpoint, delivery) for delivery in claimed))

    async def _send(self, endpoint: Endpoint, delivery: Delivery) -> None:
        try:
            await self._post(endpoint, delivery, self._link)
        except MentorgradError as error:
            await self._failed(delivery, error.message)
        except Exception as error:  # a bug costs this message its turn, and no other
            log.exception("webhooks_failed", **_named(delivery))
            await self._failed(delivery, type(error).__name__)
        else:
            log.debug("webhook_sent", **_named(delivery))
            self._messages.labels(delivery.webhook, "sent").inc()
            await asyncio.to_thread(self._store.settle_delivery, delivery)

    async def _failed(self, delivery: Delivery, said: str) -> None:
        say = log.warning if delivery.attempt == 1 else log.debug
        say("webhook_failed", error=said, **_named(delivery))
        self._messages.labels(delivery.webhook, "failed").inc()
        pause = self._pause(delivery.attempt)
        await asyncio.to_thread(self._store.retry_delivery, delivery, pause)

    async def _every(self, seconds: float, do: Callable[[], Awaitable[None]]) -> None:
        while not self._closing.is_set():
            try:
                await do()
            except MentorgradError:
                pass  # the health check tells of a store that is away
            except Exception:  # the loop has to go on
                log.exception("webhooks_failed")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._closing.wait()


def _named(delivery: Delivery) -> dict[str, object]:
    return {
        "webhook": delivery.webhook,
        "run_id": delivery.run_id,
        "event_id": delivery.event_id,
        "attempt": delivery.attempt,
    }
