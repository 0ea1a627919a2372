"""A served model over the wire: known by its name, tuned in a worker, unknown under other names."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from mentorgrad import AsyncClient, InvalidInput, RunState
from tests.support.label_server import LabelServer
from tests.support.served_prompts import SPEC, write_rows
from tests.support.trainer_process import TrainerProcess

KEY = "key-of-the-served-model"


async def test_a_served_model_is_tuned_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MENTORGRAD_TRAINER_OPENAI_API_KEY", KEY)
    write_rows(tmp_path)
    with LabelServer() as server:
        known = ("--tuned-model", f"own={server.url}")
        trainer = TrainerProcess(tmp_path, *known, "--data-root", str(tmp_path))
        try:
            async with AsyncClient(trainer.address) as client:
                info = await client.trainer_info()
                assert info.tuned_models == ("own",)
                assert "served_prompt" in info.objectives
                objective = dataclasses.replace(SPEC.objective, model="theirs")  # type: ignore[type-var]
                with pytest.raises(InvalidInput) as caught:
                    await client.create_run(dataclasses.replace(SPEC, objective=objective))
                (violation,) = caught.value.violations
                assert violation.field == "spec.objective.served_prompt.model"
                assert "served models: own" in violation.description
                made = await client.create_run(SPEC)
                async for _ in client.watch(made.run.run_id):
                    pass
                run = await client.get_run(made.run.run_id)
        finally:
            trainer.stop()
        assert run.state is RunState.SUCCEEDED, run.reason
        assert run.usage.tuned_model_tokens == server.tokens > 0
        assert server.keys == {f"Bearer {KEY}"}
    assert KEY not in trainer.log.read_text()
