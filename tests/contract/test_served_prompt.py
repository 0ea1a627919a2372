"""Runs of `served_prompt` with a scripted server: dialects, controls, resume, and other models."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from mentorgrad.domain.event import CandidatesScored, EventKind, RestartDecided, StageStarted
from mentorgrad.domain.objective import Calibration
from mentorgrad.domain.query import EventQuery
from mentorgrad.domain.run import Run, RunState
from mentorgrad.domain.spec import (
    Acceptance,
    Criterion,
    DataFiles,
    MentorChoice,
    Policy,
    RunSpec,
    Stages,
)
from run_store.protocols import RunStore
from run_store.temporary_store import TemporaryRunStore
from tests.contract.test_resume import StopsAt, create, go, longer
from tests.support.effective_log import effective
from tests.support.label_server import DIALECTS, LabelServer
from tests.support.served_prompts import OBJECTIVE, SPEC, parts, write_rows
from trainer_service import tensorfile
from trainer_service.objectives.calibration import prior_of
from trainer_service.objectives.served_prompt import server_scorer
from trainer_service.objectives.served_prompt.label_requests import KEY_VARIABLE
from trainer_service.objectives.served_prompt.language import to_parameter, to_text
from trainer_service.objectives.torch_free import ARTIFACT
from trainer_service.tasks.data import Split

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def server() -> Iterator[LabelServer]:
    with LabelServer() as opened:
        yield opened


@pytest.fixture
def store() -> Iterator[RunStore]:
    opened = TemporaryRunStore()
    yield opened
    opened.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_rows(tmp_path)


SHORT = dataclasses.replace(
    SPEC, stages=Stages(count=2, steps=0), mentor=MentorChoice("random_tokens", proposals=2)
)


def finished(
    server: LabelServer, folder: Path, store: RunStore, spec: RunSpec = SHORT
) -> tuple[Run, dict[str, str], str]:
    """The run, the metadata of its artifact, and its text."""
    run_id = create(store, spec)
    assert go(store, run_id, StopsAt(), parts(server, folder)) is RunState.SUCCEEDED
    tensors, metadata = tensorfile.load(store.read_artifact(run_id, ARTIFACT))
    text = store.read_artifact(run_id, "prompt.txt").decode().removesuffix("\n")
    assert to_text(tensors["prompt"]) == metadata["text"] == text
    return store.get_run(run_id), metadata, text


# -- whole runs -------------------------------------------------------------------------------


def test_a_run_is_rounds_of_proposals_and_scores(
    server: LabelServer, folder: Path, store: RunStore
) -> None:
    run, metadata, text = finished(server, folder, store, SPEC)
    assert run.result is not None
    assert run.result.returned.text == text
    assert run.usage.gradient_steps == run.usage.probe_steps == 0
    assert run.usage.evaluations == 1 + 2 * 4
    assert run.usage.forward_rows == (1 + 2 * 4) * 8
    assert run.usage.tuned_model_tokens == server.tokens
    assert metadata["tuned_model"] == "tiny (completions, top_logprobs)"
    assert json.loads(metadata["labels"]) == ["other", "worth"]
    assert json.loads(metadata["loss_is_likelihood"]) is True
    events = [event.payload for event in store.events(run.run_id, EventQuery())]
    started = [event for event in events if isinstance(event, StageStarted)]
    assert {event.tuned_model for event in started} == {metadata["tuned_model"]}
    scored = [event for event in events if isinstance(event, CandidatesScored)]
    assert all(c.text and c.projection_distance is None for e in scored for c in e.candidates)


def test_tokens_of_the_final_test_are_counted(
    server: LabelServer, folder: Path, store: RunStore
) -> None:
    rows = [json.dumps({"text": f"a good one, {i}", "label": "worth"}) for i in range(5)]
    (folder / "test.jsonl").write_text("\n".join(rows))
    task = dataclasses.replace(SPEC.task, data=DataFiles("rows.jsonl", test="test.jsonl"))
    run, _, _ = finished(server, folder, store, dataclasses.replace(SHORT, task=task))
    assert run.result is not None
    assert run.result.test is not None
    assert run.result.zero_shot is not None
    assert run.usage.tuned_model_tokens == run.result.usage.tuned_model_tokens == server.tokens
    assert run.usage.forward_rows == (1 + 2) * 8
    # At the end each test row is asked about once with the best prompt and once without any.
    assert len(server.requests) <= (1 + 2) * 8 + 2 * 5 + 2


@pytest.mark.parametrize("dialect", [longer(DIALECTS[0]), *DIALECTS[1:]])
def test_every_dialect_gives_the_model_s_own_predictions(
    folder: Path, store: RunStore, dialect: str
) -> None:
    with LabelServer(dialect=dialect) as server:
        run, metadata, text = finished(server, folder, store)
        expected = "chats" if dialect.startswith("chat") else "completions"
        how = "answers" if "answers" in dialect else "top_logprobs"
        assert metadata["tuned_model"] == f"tiny ({expected}, {how})"
        assert json.loads(metadata["loss_is_likelihood"]) is ("answers" not in dialect)
        built = parts(server, folder).objective(SHORT, lambda: None)
        point = tensorfile.load(store.read_artifact(run.run_id, ARTIFACT))[0]["prompt"]
        (score,) = built.problem.score(point[None])
        assert run.result is not None
        assert score == run.result.returned.score
        if dialect != "chat-answers":  # whose question is another one
            rows = built.problem.task.selection  # type: ignore[union-attr]
            hits = []
            for row in rows:
                scores = server.scores(f"Text: {row.text}\n{text}")
                hits.append(max(scores, key=scores.__getitem__) == server.labels[row.label])
            assert score.accuracy == pytest.approx(sum(hits) / len(hits))
        built.problem.close()


def test_labels_with_a_common_first_token_are_scored_by_echoes(
    folder: Path, store: RunStore
) -> None:
    labels = ("account", "access")
    spec = dataclasses.replace(SHORT, task=dataclasses.replace(SPEC.task, labels=labels))
    with LabelServer(labels, piece=4) as server:
        _, metadata, _ = finished(server, folder, store, spec)
    assert metadata["tuned_model"] == "tiny (completions, echo)"


def test_a_label_that_is_not_listed_is_scored_by_echoes(
    server: LabelServer, folder: Path, store: RunStore
) -> None:
    server.hidden = ("worth",)
    _, metadata, _ = finished(server, folder, store)
    assert metadata["tuned_model"] == "tiny (completions, echo)"


def test_wrong_echoes_are_not_used(server: LabelServer, folder: Path, store: RunStore) -> None:
    server.hidden = ("worth",)
    server.echoes_wrongly = True
    _, metadata, _ = finished(server, folder, store)
    assert metadata["tuned_model"] == "tiny (completions, top_logprobs)"


def test_a_label_that_is_not_listed_later_is_scored_by_echoes(
    server: LabelServer, folder: Path, store: RunStore
) -> None:
    whole, *_ = finished(server, folder, store)

    def hide() -> None:
        server.hidden = ("worth",) if len(server.requests) % 3 == 0 else ()

    server.before = hide
    run, metadata, _ = finished(server, folder, store)
    assert metadata["tuned_model"] == "tiny (completions, top_logprobs)"
    assert any(body.get("echo") for _, body in server.requests)
    assert run.result is not None
    assert whole.result is not None
    assert run.result.returned.score == whole.result.returned.score


def test_no_row_is_scored_otherwise_while_echoes_are_tried(
    server: LabelServer, folder: Path
) -> None:
    """The first rows with a label that is not listed are asked about at the same time."""
    built = parts(server, folder).objective(SPEC, lambda: None)
    point = to_parameter("what is it?", 60)[None]
    (expected,) = built.problem.score(point)
    server.hidden = ("worth",)
    (found,) = built.problem.score(point)
    assert found.loss == pytest.approx(expected.loss)
    tried = [body for _, body in server.requests if body.get("echo")]
    assert len(tried) == 1 + 2 * built.problem.size(Split.SELECTION)
    built.problem.close()


def test_without_echoes_a_label_that_is_not_listed_is_the_least_likely(
    folder: Path, store: RunStore
) -> None:
    with LabelServer(echoes=False) as server:
        server.hidden = ("worth",)
        run, metadata, _ = finished(server, folder, store)
    assert metadata["tuned_model"] == "tiny (completions, top_logprobs)"
    assert run.result is not None
    assert run.result.returned.score.accuracy == 0.5


@pytest.mark.parametrize("dialect", ["answers", "chat-answers"])
@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"criterion": Criterion.LOSS}, "criterion"),
        (
            {"objective": dataclasses.replace(OBJECTIVE, calibration=Calibration.BATCH)},
            "calibration",
        ),
    ],
)
def test_without_probabilities_there_is_no_loss_to_rank_by(
    folder: Path, store: RunStore, dialect: str, changes: dict[str, Any], wrong: str
) -> None:
    run_id = create(store, dataclasses.replace(SPEC, **changes))
    with LabelServer(dialect=dialect) as server:
        assert go(store, run_id, StopsAt(), parts(server, folder)) is RunState.FAILED
    reason = store.get_run(run_id).reason
    assert wrong in reason
    assert "no log-probabilities" in reason


def test_an_answer_that_is_no_label_counts_as_wrong(folder: Path, store: RunStore) -> None:
    with LabelServer(dialect="answers") as server:
        asked = server.reply
        server.reply = lambda path, body: (  # type: ignore[method-assign]
            200,
            asked(path, body)[1] | {"choices": [{"text": "I do not know"}]},
        )
        run, _, _ = finished(server, folder, store)
    assert run.result is not None
    assert run.result.returned.score.accuracy == 0.0


@pytest.mark.parametrize(
    "calibration", [Calibration.CONTENT_FREE, Calibration.MATCHED, longer(Calibration.BATCH)]
)
def test_calibrated_scores_are_those_of_the_prior_in_the_artifact(
    server: LabelServer, folder: Path, store: RunStore, calibration: Calibration
) -> None:
    objective = dataclasses.replace(OBJECTIVE, calibration=calibration)
    spec = dataclasses.replace(SHORT, objective=objective)
    run, metadata, text = finished(server, folder, store, spec)
    prior = torch.tensor(json.loads(metadata["prior"]))
    assert float(prior.sum()) == pytest.approx(1.0)
    built = parts(server, folder).objective(spec, lambda: None)
    task = built.problem.task
    assert task is not None

    def scores(texts: list[str]) -> torch.Tensor:
        inputs = [f"Text: {item}\n{text}" for item in texts]
        return torch.tensor([[*server.scores(item).values()] for item in inputs])

    rows = (*task.train, *task.selection)
    free, matched = [row.text for row in rows], None
    if calibration is Calibration.CONTENT_FREE:
        free = ["N/A", "", "[MASK]"]
    if calibration is Calibration.MATCHED:
        matched = torch.tensor([row.label for row in rows])
    expected = prior_of(scores(free).log_softmax(-1), matched)
    torch.testing.assert_close(prior, expected, rtol=1e-4, atol=1e-6)
    raw = scores([row.text for row in task.selection])
    labels = torch.tensor([row.label for row in task.selection])
    losses = torch.nn.functional.cross_entropy(raw - prior.log(), labels)
    assert run.result is not None
    assert run.result.returned.score.loss == pytest.approx(float(losses), rel=1e-4)
    passed = (1 + 2) * (8 + (3 if calibration is Calibration.CONTENT_FREE else 8))
    assert run.usage.forward_rows == passed
    built.problem.close()


def test_a_run_without_words_of_its_own_starts_from_the_usual_form(
    server: LabelServer, folder: Path
) -> None:
    built = parts(server, folder).objective(SPEC, lambda: None)
    start = built.language.initial(torch.Generator())
    assert built.language.project(start[None])[0].text == "Answer:"
    (found,) = built.problem.logits(start[None], Split.SELECTION, torch.arange(8))
    torch.testing.assert_close(found, built.problem.untuned_logits(Split.SELECTION))
    assert built.card.place == "between the text and {label}"
    assert built.card.proposal.startswith("a line of text that stands ")
    built.problem.close()


def test_demonstrations_stand_before_every_text(
    server: LabelServer, folder: Path, store: RunStore
) -> None:
    objective = dataclasses.replace(OBJECTIVE, demonstrations=1)
    spec = dataclasses.replace(SHORT, objective=objective)
    _, metadata, _ = finished(server, folder, store, spec)
    shown, _, _ = metadata["template"].partition("Text: {text}")
    assert shown.count("Answer: other\n\n") == shown.count("Answer: worth\n\n") == 1
    scored = [body["prompt"] for _, body in server.requests]
    assert all(text.startswith(shown) for text in scored)
    texts = [text.removeprefix(shown).split("\n")[0] for text in scored]
    assert not any(f"{text}\n" in shown for text in texts)


@pytest.mark.parametrize("control", ["recombine", longer("random_init"), longer("perturb")])
def test_every_control_proposes_texts(
    server: LabelServer, folder: Path, store: RunStore, control: str
) -> None:
    spec = dataclasses.replace(SPEC, mentor=MentorChoice(control, proposals=4))
    run, _, _ = finished(server, folder, store, spec)
    assert run.usage.usable_answers == 2
    assert run.usage.evaluations > 3


def test_proposals_are_screened_on_parts_of_the_rows(
    server: LabelServer, folder: Path, store: RunStore
) -> None:
    screened = Acceptance(screening_rounds=3, finalists=1)
    run, _, _ = finished(server, folder, store, dataclasses.replace(SPEC, acceptance=screened))
    assert run.usage.evaluations < 9
    kinds = EventQuery(kinds=(EventKind.RESTART_DECIDED,))
    decided = [event.payload for event in store.events(run.run_id, kinds)]
    outcomes = [o for event in decided if isinstance(event, RestartDecided) for o in event.outcomes]
    assert any("screened out" in outcome.detail for outcome in outcomes)


@pytest.mark.parametrize(
    "policy", [Policy.ALWAYS, *(longer(one) for one in Policy if one is not Policy.ALWAYS)]
)
def test_every_policy_decides(
    server: LabelServer, folder: Path, store: RunStore, policy: Policy
) -> None:
    spec = dataclasses.replace(SHORT, acceptance=Acceptance(policy=policy))
    run, _, _ = finished(server, folder, store, spec)
    assert run.restarts_applied >= (policy in (Policy.ALWAYS, Policy.FIRST, Policy.EXPLORE))


def test_the_key_comes_from_the_environment_and_a_fragment_is_the_name_on_the_server(
    server: LabelServer, folder: Path, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "secret")
    how = parts(server, folder, "#org/large:1b")
    assert go(store, create(store, SHORT), StopsAt(), how) is RunState.SUCCEEDED
    assert server.keys == {"Bearer secret"}
    assert {body["model"] for _, body in server.requests} == {"org/large:1b"}


# -- resume -----------------------------------------------------------------------------------


def test_paused_between_steps_it_goes_on_exactly(
    server: LabelServer, folder: Path, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_scorer, "_TICK", 3600.0)  # asks between steps alone
    spec = dataclasses.replace(SPEC, mentor=MentorChoice("perturb", proposals=2))
    whole, control = create(store, spec), StopsAt()
    assert go(store, whole, control, parts(server, folder)) is RunState.SUCCEEDED
    assert control.asked > 4
    for n in (1, control.asked // 2):
        broken = create(store, spec)
        assert go(store, broken, StopsAt(n), parts(server, folder)) is RunState.PAUSED
        assert go(store, broken, StopsAt(), parts(server, folder)) is RunState.SUCCEEDED
        assert effective(store, broken) == effective(store, whole)
        assert store.read_artifact(broken, ARTIFACT) == store.read_artifact(whole, ARTIFACT)


def test_another_model_is_refused_on_resume(
    server: LabelServer, folder: Path, store: RunStore
) -> None:
    spec = dataclasses.replace(SPEC, mentor=MentorChoice("random_tokens", proposals=2))
    run_id = create(store, spec)
    requests = 0

    def change() -> None:
        nonlocal requests
        requests += 1
        if requests == 32:  # in the second stage
            server.model = "another"

    server.before = change
    assert go(store, run_id, StopsAt(), parts(server, folder)) is RunState.PAUSED
    reason = store.get_run(run_id).reason
    assert "the tuned model has changed: it was tiny, and is another now" in reason
    assert go(store, run_id, StopsAt(), parts(server, folder)) is RunState.PAUSED
    assert "it was tiny (completions" in store.get_run(run_id).reason
    server.model = "tiny"
    assert go(store, run_id, StopsAt(), parts(server, folder)) is RunState.SUCCEEDED
    whole = create(store, spec)
    assert go(store, whole, StopsAt(), parts(server, folder)) is RunState.SUCCEEDED
    assert effective(store, run_id) == effective(store, whole)
