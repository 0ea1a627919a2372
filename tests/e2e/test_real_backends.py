"""The contract of a Backend, kept with the real model: in process, and behind another server."""

from __future__ import annotations

import dataclasses
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from mentor_service.backends.openai import OpenAIBackend
from mentorgrad.errors import InvalidInput
from mentorgrad.model_refs import DEFAULT_MENTOR_MODEL, resolve
from tests.contract.test_backends import (  # noqa: F401
    CONTEXT,
    SHORT,
    test_a_question_beyond_the_context_is_invalid_input,
    test_a_question_is_answered_and_accounted_for,
    test_as_many_replies_as_samples_and_the_question_counts_once,
    test_cancelling_frees_the_backend_for_the_next,
    test_many_samples_end_with_the_time_or_the_asker_and_the_next_is_served,
    test_questions_at_once_are_all_answered,
    test_questions_of_many_samples_wait_for_each_other,
    test_the_backend_says_what_it_is,
    test_too_little_time_is_deadline_exceeded_and_the_next_is_served,
)
from tests.support.trainer_process import eventually


@pytest.fixture(scope="module")
def llm_server() -> Iterator[str]:
    """The real model behind llama-cpp-python's own OpenAI server."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    model = str(resolve(DEFAULT_MENTOR_MODEL))
    command = [sys.executable, "-m", "llama_cpp.server", "--model", model]
    options = {"port": port, "n_ctx": CONTEXT, "n_threads": 1, "n_threads_batch": 1}
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}/v1"

    def serves() -> bool:
        assert process.poll() is None
        try:
            return httpx.get(f"{url}/models").is_success
        except httpx.HTTPError:
            return False

    try:
        eventually(serves, "the server answers")
        yield url
    finally:
        process.kill()
        process.wait()


@pytest.fixture(params=["llama_cpp", "openai"])
async def backend(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    if request.param == "llama_cpp":
        yield request.getfixturevalue("llama")
        return
    url = request.getfixturevalue("llm_server")
    made = OpenAIBackend(url, "smollm2", context_tokens=CONTEXT)
    yield made
    await made.close()


async def test_openai_passes_on_that_the_server_finds_the_question_too_long(
    llm_server: str,
) -> None:
    backend = OpenAIBackend(llm_server, "smollm2", context_tokens=100_000)
    try:
        with pytest.raises(InvalidInput) as caught:
            await backend.ask(dataclasses.replace(SHORT, user="word " * 3_000), 60.0)
        assert caught.value.reason == "QUESTION_TOO_LONG"
    finally:
        await backend.close()
