"""Receivers that are away, and services that die while they send."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from mentorgrad.domain.event import Created
from mentorgrad.domain.run import RunState
from mentorgrad.domain.spec import RunSpec
from run_store.open import open_store
from run_store.protocols import RunStore
from tests.support.webhook_receiver import Receiver
from trainer_service.webhooks import posting
from trainer_service.webhooks import sender as sender_module
from trainer_service.webhooks.endpoint import Endpoint
from trainer_service.webhooks.sender import WebhookSender

SENDS = """
import asyncio, sys
from datetime import timedelta
from run_store.open import open_store
from trainer_service.webhooks import posting, sender
from trainer_service.webhooks.endpoint import Endpoint

async def main():
    sender.LEASE, posting.SECONDS = timedelta(seconds=0.2), 3600.0
    url = sys.argv[2]
    ops = Endpoint("ops", url, allows_private=True)
    sender.WebhookSender(open_store(sys.argv[1]), {"ops": ops}).start()
    await asyncio.sleep(3600)

asyncio.run(main())
"""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender_module, "_POLL_SECONDS", 0.01)
    monkeypatch.setattr(posting, "SECONDS", 3600.0)  # a deadline that only a hang exceeds


def cancelled(store: RunStore) -> str:
    run_id = store.create(Created(RunSpec(webhooks=("ops",))))[0].run_id
    store.transition(run_id, RunState.CANCELLED)
    return run_id


async def until_sent(store: RunStore, sender: WebhookSender) -> None:
    while store.waiting_deliveries():
        await asyncio.sleep(0.01)
    await sender.close()


async def test_a_receiver_that_was_dead_gets_what_it_missed(tmp_path: Path, free_port: int) -> None:
    store = open_store(f"sqlite:///{tmp_path}/runs.sqlite")
    endpoint = Endpoint("ops", f"http://127.0.0.1:{free_port}/", allows_private=True)
    failed = asyncio.Event()

    def pause(attempt: int) -> timedelta:
        failed.set()
        return timedelta(0)

    sender = WebhookSender(store, {"ops": endpoint}, pause=pause)
    runs = {cancelled(store) for _ in range(3)}
    sender.start()
    await failed.wait()
    with Receiver(free_port) as receiver:
        await until_sent(store, sender)
    assert {said["data"]["run_id"] for said in receiver.said()} == runs
    assert len(receiver.got) == 3
    store.close()


async def test_a_service_that_died_after_it_sent_leads_to_a_second_message_of_the_same_id(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path}/runs.sqlite"
    store = open_store(url)
    run_id = cancelled(store)
    with Receiver() as receiver:
        target = f"http://127.0.0.1:{receiver.port}/"
        receiver.may_answer.clear()
        first = subprocess.Popen([sys.executable, "-c", SENDS, url, target], env=os.environ)
        await asyncio.to_thread(receiver.arrived.wait, 120)
        first.kill()  # between the arrival of the message and its removal from the outbox
        first.wait(120)
        receiver.may_answer.set()
        endpoint = Endpoint("ops", target, allows_private=True)
        sender = WebhookSender(store, {"ops": endpoint})
        sender.start()
        await until_sent(store, sender)
    assert receiver.ids() == [f"{run_id}.2"] * 2
    assert {said["type"] for said in receiver.said()} == {"run.cancelled"}
    store.close()
