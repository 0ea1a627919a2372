from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mentorgrad.domain.advice import MentorInfo, ProposalKind, StrategyInfo
from mentorgrad.domain.objective import Function, Lora
from mentorgrad.domain.spec import MentorChoice, RunSpec
from mentorgrad.errors import InvalidInput, PreconditionFailed, Unavailable
from mentorgrad.wire.credentials import Credentials
from service_common.settings import load
from trainer_service.control_plane.mentor_registry import MentorRegistry
from trainer_service.control_plane.spec_rules import proposed_to
from trainer_service.job import WorkerJob
from trainer_service.settings import TrainerSettings

INFO = MentorInfo(
    model="tiny",
    max_proposals=16,
    strategies=(
        StrategyInfo(
            "maao",
            options_schema={
                "type": "object",
                "properties": {
                    "top": {"type": "integer", "minimum": 1, "maximum": 9},
                    "tone": {"type": "string", "enum": ["dry", "warm"]},
                    "heat": {"type": "number", "exclusiveMinimum": 0},
                },
                "additionalProperties": False,
            },
        ),
    ),
)


async def probe(target: str) -> MentorInfo:
    if target == "here:1":
        return INFO
    raise Unavailable(f"no mentor at {target}")


MENTORS = MentorRegistry({"small": "here:1", "gone": "there:1"}, probe)


async def test_mentors_are_known_by_name() -> None:
    assert MENTORS.names[:3] == ("small", "gone", "none")
    assert await MENTORS.states() == {"small": INFO, "gone": None}
    assert await MENTORS.check(MentorChoice("small")) == []
    assert await MENTORS.check(MentorChoice("perturb", options={"scale": 0.1})) == []


async def test_absent_is_a_warning_or_an_error() -> None:
    (warning,) = await MENTORS.check(MentorChoice("gone"))
    assert "'gone' does not answer" in warning
    with pytest.raises(PreconditionFailed) as caught:
        await MENTORS.check(MentorChoice("gone", required=True))
    assert caught.value.reason == "MENTOR_UNAVAILABLE"


@pytest.mark.parametrize(
    ("choice", "reason", "field", "says"),
    [
        ({"name": "who"}, "UNKNOWN_MENTOR", "spec.mentor.name", "known: small, gone, none"),
        ({"strategy": "leo"}, "UNKNOWN_STRATEGY", "spec.mentor.strategy", "known: maao"),
        ({"proposals": 17}, "INVALID_INPUT", "spec.mentor.proposals", "at most 16"),
        ({"options": {"k": 1}}, "BAD_OPTIONS", "spec.mentor.options.k", "known: top, tone, heat"),
        ({"options": {"top": 1.5}}, "BAD_OPTIONS", "spec.mentor.options.top", "of type integer"),
        ({"options": {"top": True}}, "BAD_OPTIONS", "spec.mentor.options.top", "of type integer"),
        ({"options": {"top": 0}}, "BAD_OPTIONS", "spec.mentor.options.top", "at least 1"),
        ({"options": {"top": 10}}, "BAD_OPTIONS", "spec.mentor.options.top", "at most 9"),
        ({"options": {"tone": "shrill"}}, "BAD_OPTIONS", "spec.mentor.options.tone", "dry, warm"),
        ({"options": {"heat": 0}}, "BAD_OPTIONS", "spec.mentor.options.heat", "greater than 0"),
    ],
)
async def test_what_the_mentor_would_refuse_is_refused_at_once(
    choice: dict[str, Any], reason: str, field: str, says: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        await MENTORS.check(MentorChoice(**{"name": "small", **choice}))
    assert caught.value.reason == reason
    (violation,) = caught.value.violations
    assert violation.field == field
    assert says in violation.description


async def test_a_strategy_that_cannot_propose_what_the_objective_takes_is_refused() -> None:
    words = StrategyInfo("gpo", kinds=(ProposalKind.TEXT,))
    info = MentorInfo(strategies=(words, StrategyInfo("maao", kinds=tuple(ProposalKind))))

    async def answer(target: str) -> MentorInfo:
        return info

    mentors = MentorRegistry({"small": "here:1"}, answer)
    choice = MentorChoice("small", "gpo")
    assert await mentors.check(choice, proposed=[ProposalKind.TEXT]) == []
    for spec in (RunSpec(objective=Function()), RunSpec(objective=Lora())):
        with pytest.raises(
            InvalidInput, match=r"cannot propose .*; those that can: maao"
        ) as caught:
            await mentors.check(choice, proposed=proposed_to(spec))
        assert caught.value.reason == "UNSUPPORTED_KIND"
        assert caught.value.violations[0].field == "spec.mentor.strategy"


async def test_a_strategy_that_does_not_say_what_it_proposes_is_not_refused() -> None:
    settings = (ProposalKind.SETTINGS,)
    assert await MENTORS.check(MentorChoice("small"), proposed=settings) == []


# -- settings and jobs ------------------------------------------------------------------------


def test_settings_are_read_from_flags_environment_and_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "trainer.toml"
    config.write_text('threads = 3\nqueue_limit = 7\nmentor = {a = "h:1"}\n')
    monkeypatch.setenv("MENTORGRAD_TRAINER_QUEUE_LIMIT", "8")
    monkeypatch.setenv("MENTORGRAD_TRAINER_DATA_ROOT", str(tmp_path))
    settings = load(TrainerSettings, config, {"max_restarts": 1, "listen": None})
    assert (settings.threads, settings.queue_limit, settings.max_restarts) == (3, 8, 1)
    assert settings.mentor == {"a": "h:1"}
    assert settings.data_root == (tmp_path.resolve(),)
    assert settings.listen == "127.0.0.1:50551"
    flags = {"mentor": ["x=h:1", "y=[::1]:2"]}
    assert load(TrainerSettings, config, flags).mentor == {"x": "h:1", "y": "[::1]:2"}


@pytest.mark.parametrize(
    ("flags", "field", "says"),
    [
        ({"mentor": ["small"]}, "mentor", "name=host:port"),
        ({"mentor": ["none=h:1"]}, "mentor", "is the name of a control"),
        ({"mentor": ["a=h:1", "a=h:2"]}, "mentor", "twice"),
        ({"mentor": ["a=h"]}, "mentor", "host:port"),
        ({"data_root": ["/does/not/exist"]}, "data_root", "does not exist"),
        ({"device": "tpu"}, "device", "cpu"),
        ({"threads": 0}, "threads", "greater than or equal to 1"),
    ],
)
def test_a_bad_setting_is_named(flags: dict[str, Any], field: str, says: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        load(TrainerSettings, None, flags)
    (violation,) = caught.value.violations
    assert violation.field.startswith(field)
    assert says in violation.description.lower()


def test_a_job_survives_its_line() -> None:
    access = Credentials(ca=Path("/run/ca.pem"), token_file=Path("/run/token"), insecure=True)
    job = WorkerJob(
        "r",
        "postgresql://u:secret@h/d",
        7,
        {"m": "h:1"},
        ("/a",),
        threads=2,
        mentor_access=access,
        tuned_models={"own": "http://h:1/v1#name"},
    )
    line = job.to_line()
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert WorkerJob.from_line(line) == job


NO_PATH = b'{"run_id": "r", "store": "s", "owner": "o", "mentor_access": {"ca": 1}}'


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b'{"run_id": "r"}', b'{"run_id": 1}', NO_PATH])
def test_a_wrong_job_is_refused(line: bytes) -> None:
    with pytest.raises(InvalidInput):
        WorkerJob.from_line(line)
