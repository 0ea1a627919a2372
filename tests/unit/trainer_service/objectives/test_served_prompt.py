"""`served_prompt`: templates, texts as parameters, label tokens, replies of servers, and what is
refused when a run is created."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from mentorgrad.domain.advice import Proposal, ProposalStatus
from mentorgrad.domain.objective import Calibration, ServedPrompt
from mentorgrad.domain.run import Candidate
from mentorgrad.domain.spec import (
    Acceptance,
    Budget,
    DataFiles,
    MentorChoice,
    Optimizer,
    RunSpec,
    Stages,
    Task,
)
from mentorgrad.errors import InvalidInput, Unsupported
from mentorgrad.installed import pip_line
from tests.support.numerics import tiny_task
from tests.support.tiny_models import TEXTS
from trainer_service.control_plane.validation import validate_objective
from trainer_service.costs import RowCosts
from trainer_service.objectives import served_prompt
from trainer_service.objectives.demonstrations import set_apart
from trainer_service.objectives.input_template import TemplateError
from trainer_service.objectives.served_prompt.label_tokens import (
    label_tokens,
    prefix_tree,
    shared_length,
)
from trainer_service.objectives.served_prompt.language import TextLanguage, to_parameter, to_text
from trainer_service.objectives.served_prompt.server_replies import (
    echoed_score,
    label_in,
    likely_tokens,
    reply_text,
    score_first_tokens,
)
from trainer_service.protocols import ProposalRejected, Scored
from trainer_service.running.scoring import place

CPU = torch.device("cpu")


# -- templates --------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["{text} {prompt}:{label}", "{text} {prompt}  {label}"])
def test_a_label_follows_one_space(text: str) -> None:
    with pytest.raises(TemplateError, match="a space and"):
        served_prompt.read_template(ServedPrompt(template=text), tiny_task())


def test_demonstrations_leave_the_train_rows() -> None:
    task = tiny_task()
    shown, left = set_apart(task, 2, seed=1)
    assert sorted(row.label for row in shown) == [0, 0, 1, 1]
    assert {*shown} | {*left.train} == {*task.train}
    assert not {*shown} & {*left.train}
    assert set_apart(task, 2, seed=1)[0] == shown != set_apart(task, 2, seed=2)[0]
    assert set_apart(task, 0, seed=1) == ((), task)


# -- texts as parameters ----------------------------------------------------------------------


def language(size: int = 20, initial: str = "") -> TextLanguage:
    return TextLanguage(size, initial, ["red", "green", "a" * 30], CPU)


@pytest.mark.parametrize("text", ["", "plain", "Grüße, 世界 🦉", "\U0010ffff"])
def test_a_text_comes_back(text: str) -> None:
    assert to_text(to_parameter(text, 20)) == text


@pytest.mark.parametrize(
    ("proposal", "status"),
    [
        (Proposal(text="x" * 21), ProposalStatus.TOO_LONG),
        (Proposal(text="a\x00b"), ProposalStatus.MALFORMED),
        (Proposal(text="a\x07b"), ProposalStatus.MALFORMED),
        (Proposal(parameters=torch.full((20,), -1.0).numpy()), ProposalStatus.MALFORMED),
        (Proposal(parameters=torch.full((20,), 0.5).numpy()), ProposalStatus.MALFORMED),
        (Proposal(parameters=torch.full((20,), 2.0**22).numpy()), ProposalStatus.MALFORMED),
        (Proposal(parameters=torch.zeros(20).numpy()), ProposalStatus.EMPTY),
        (Proposal(parameters=torch.full((20,), 0xD800).numpy()), ProposalStatus.MALFORMED),
    ],
)
def test_texts_that_cannot_be_taken(proposal: Proposal, status: ProposalStatus) -> None:
    spoken = language()
    with pytest.raises(ProposalRejected) as caught:
        spoken.embed(proposal, spoken.initial(torch.Generator()))
    assert caught.value.status is status
    if status is ProposalStatus.TOO_LONG:
        assert "21 characters, at most 20" in caught.value.detail


def test_texts_are_not_blended() -> None:
    spoken = language()
    base = Scored(Candidate("s0/start"), to_parameter("one", 20))
    whole = place(spoken, Proposal(text="two"), base, lambda _: None)
    assert to_text(whole.parameters) == "two"
    with pytest.raises(ProposalRejected, match="cannot be blended") as caught:
        place(spoken, Proposal(text="two", weight=0.5), base, lambda _: None)
    assert caught.value.status is ProposalStatus.MALFORMED


def test_white_space_is_a_single_space() -> None:
    embedded = language().embed(Proposal(text="  is\nit \t good "), torch.zeros(20))
    assert to_text(embedded.parameters) == "is it good"
    assert embedded.filled == (0, 1, 2)


def test_random_texts_are_words_that_fit() -> None:
    spoken = language()
    for seed in range(20):
        text = spoken.random_proposal(torch.Generator().manual_seed(seed)).text
        assert {*text.split()} <= {"red", "green"}
        assert len(text) <= 20


def test_without_words_that_fit_there_is_still_a_random_text() -> None:
    spoken = TextLanguage(8, "", ["a" * 9, "b" * 30], CPU)
    assert {*to_text(spoken.initial(torch.Generator())).split()} == {"text"}


def test_a_text_for_which_the_model_has_no_room_is_too_long() -> None:
    spoken = TextLanguage(20, "", ["red"], CPU, has_room=str.isascii)
    start = spoken.initial(torch.Generator())
    assert to_text(spoken.embed(Proposal(text="owl"), start).parameters) == "owl"
    with pytest.raises(ProposalRejected, match="too many tokens") as caught:
        spoken.embed(Proposal(text="🦉"), start)
    assert caught.value.status is ProposalStatus.TOO_LONG


def test_a_perturbed_text_has_other_words_in_places() -> None:
    spoken = TextLanguage(40, "", ["red", "green"], CPU)
    point = to_parameter("one two three four", 40)
    kept = []
    for seed in range(40):
        moved = to_text(spoken.perturbed(point, 0.5, torch.Generator().manual_seed(seed))).split()
        assert 1 <= sum(word in ("red", "green") for word in moved) <= 4
        kept.append(sum(word in ("one", "two", "three", "four") for word in moved))
    assert 1.0 < sum(kept) / len(kept) < 2.5
    (tiny,) = {to_text(spoken.perturbed(to_parameter("one", 40), 1e-9, torch.Generator()))}
    assert tiny in ("red", "green"), "at least one word is replaced"


# -- costs ------------------------------------------------------------------------------------


def test_what_a_pass_costs() -> None:
    task = tiny_task()
    costs = {
        kind: served_prompt.costs(ServedPrompt(calibration=kind, demonstrations=2), task)
        for kind in Calibration
    }
    assert costs == {
        Calibration.NONE: RowCosts(per_row=1),
        Calibration.CONTENT_FREE: RowCosts(per_row=1, per_score=3),
        Calibration.BATCH: RowCosts(per_row=1, per_score=len(task.train) - 4),
        Calibration.MATCHED: RowCosts(per_row=1, per_score=len(task.train) - 4),
    }


# -- label tokens -----------------------------------------------------------------------------


def letters(text: str) -> list[int]:
    return [ord(letter) for letter in text]


def test_labels_share_their_beginnings() -> None:
    found = label_tokens(["to", "tea"], "A:", letters)
    assert found == [tuple(letters(" to")), tuple(letters(" tea"))]
    tree = prefix_tree(found)
    assert tree.depth == 3
    inner = tree.children[ord(" ")].children[ord("t")]
    assert inner.ends == {ord("o"): 0}
    assert inner.next_tokens == [ord("o"), ord("e")]


def test_a_label_that_begins_another_ends_with_a_newline() -> None:
    found = label_tokens(["to", "tom"], "A:", letters)
    assert found == [tuple(letters(" to\n")), tuple(letters(" tom\n"))]
    assert prefix_tree(found).depth == 4


@pytest.mark.parametrize(
    ("tokenize", "why"),
    [
        (lambda text: [len(word) for word in text.split()], "the same tokens"),
        (lambda text: [len(text)], "told apart"),
    ],
)
def test_labels_that_cannot_be_told_apart(tokenize: Callable[[str], list[int]], why: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        label_tokens(["to", "go"], "A:", tokenize)
    assert caught.value.reason == "BAD_LABELS"
    assert why in caught.value.violations[0].description


def test_a_label_of_too_many_tokens_is_refused() -> None:
    with pytest.raises(InvalidInput, match="has 302 tokens; at most 256") as caught:
        label_tokens(["a", "b" * 301], "", letters)
    assert caught.value.violations[0].field == "spec.task.labels[1]"


def test_the_shared_beginning_of_sequences() -> None:
    assert shared_length([[1, 2, 3], [1, 2], [1, 2, 4]]) == 2
    assert shared_length([[1], [2]]) == 0
    assert shared_length([[5, 6]]) == 2


# -- replies of servers -----------------------------------------------------------------------


def choice(**fields: Any) -> dict[str, Any]:
    return {"choices": [fields]}


TOPS = {" yes": -0.1, " no": -2.5}


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (choice(logprobs={"top_logprobs": [TOPS]}), TOPS),
        (
            choice(
                logprobs={
                    "content": [
                        {"top_logprobs": [{"token": t, "logprob": v} for t, v in TOPS.items()]}
                    ]
                }
            ),
            TOPS,
        ),
        (choice(logprobs={"top_logprobs": [{" yes": -0.1, "no": None, "x": "1", "y": True}]}),
         {" yes": -0.1}),
        (choice(logprobs={"content": [{"top_logprobs": [{}, 3, {"token": 1, "logprob": 1}]}]}), {}),
        (choice(logprobs={"top_logprobs": None, "content": "x"}), {}),
        (choice(logprobs=None, text="yes"), {}),
        ({"choices": []}, {}),
        ({"choices": "none"}, {}),
        ({}, {}),
    ],
)  # fmt: skip
def test_likely_tokens_in_every_dialect(body: dict[str, Any], found: dict[str, float]) -> None:
    assert likely_tokens(body) == found


def test_labels_are_scored_by_their_longest_first_tokens() -> None:
    tops = {" pos": -1.0, " positive": -0.5, "negative": -2.0, " ": -3.0, " p": -0.2}
    found = score_first_tokens(tops, ["positive", "negative"])
    assert (found.scores, found.missing, found.shared) == ([-0.5, -2.0], False, False)
    found = score_first_tokens({" acc": -1.0, " the": -4.0}, ["account", "access", "other"])
    assert (found.scores, found.missing, found.shared) == ([-1.0, -1.0, -4.0], True, True)


def test_the_score_of_an_echoed_label_is_the_sum_of_its_tokens() -> None:
    tokens = ["<s>", "Answer", ":", " acc", "ount"]
    body = choice(logprobs={"tokens": tokens, "token_logprobs": [None, -9.0, -8.0, -1.0, -0.5]})
    assert echoed_score(body, "Answer:", "account") == -1.5
    assert echoed_score(body, "Other:", "account") is None
    broken = choice(logprobs={"tokens": tokens, "token_logprobs": [None] * 5})
    assert echoed_score(broken, "Answer:", "account") is None
    assert echoed_score(choice(text="account"), "Answer:", "account") is None


@pytest.mark.parametrize(
    ("reply", "label"),
    [
        (" refund", 0),
        ('"Refund".', 0),
        ('{"label": "bill"}', 1),
        ("bill me", 1),
        ("billing", 2),
        ("It is about billing", 2),
        ("a refund or a bill", None),
        ("unbilled", None),
        ("", None),
        ("{}", None),
    ],
)
def test_the_label_that_a_reply_names(reply: str, label: int | None) -> None:
    assert label_in(reply, ["refund", "bill", "billing"]) == label


def test_the_text_of_a_reply() -> None:
    assert reply_text(choice(text="a")) == "a"
    assert reply_text(choice(message={"content": "b"})) == "b"
    assert reply_text(choice(message={"content": None})) is None
    assert reply_text({}) is None


# -- what is refused when a run is created ----------------------------------------------------


@pytest.fixture
def own_task(tmp_path: Path) -> Task:
    lines = [
        json.dumps({"text": text, "label": int("good" in text or "bad" in text)}) for text in TEXTS
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    data = DataFiles("rows.jsonl")
    return Task("own", data, "what is said", ("other", "worth"), shots=4, selection_rows=4)


def spec_of(task: Task, **fields: Any) -> RunSpec:
    return RunSpec(
        objective=ServedPrompt("own", **fields),
        task=task,
        stages=Stages(count=3, steps=0),
        mentor=MentorChoice("random_tokens"),
    )


def refused(spec: RunSpec, folder: Path) -> dict[str, str]:
    """Field → violation."""
    try:
        validate_objective(
            spec, data_roots=[folder], model_roots=[folder], tuned_models=["own", "other"]
        )
    except InvalidInput as error:
        return {violation.field: violation.description for violation in error.violations}
    return {}


def test_a_good_run_is_taken_whatever_its_optimizer(own_task: Task, tmp_path: Path) -> None:
    assert refused(spec_of(own_task), tmp_path) == {}
    more = {"template": "{text} | {prompt} => {label}", "demonstrations": 2}
    assert refused(spec_of(own_task, **more), tmp_path) == {}


@pytest.mark.parametrize(
    ("fields", "field", "why"),
    [
        ({"template": "{text} {label}"}, "spec.objective.served_prompt.template", "{prompt}"),
        ({"demonstrations": 4}, "spec.objective.served_prompt.demonstrations", "less than 4"),
        (
            {"initial_text": "x" * 201},
            "spec.objective.served_prompt.initial_text",
            "has 201 characters; at most 200 (max_characters)",
        ),
    ],
)
def test_fields_that_cannot_be_used(
    own_task: Task, tmp_path: Path, fields: dict[str, Any], field: str, why: str
) -> None:
    found = refused(spec_of(own_task, **fields), tmp_path)
    assert why in found.pop(field)
    assert not found


@pytest.mark.parametrize(
    ("changes", "field", "why"),
    [
        ({"stages": Stages(steps=40)}, "spec.stages.steps", "to 0"),
        ({"stages": Stages(steps=0, first_steps=1)}, "spec.stages.steps", "first_steps"),
        ({"budget": Budget(gradient_steps=9)}, "spec.stages.steps", "budget.gradient_steps"),
        ({"optimizer": Optimizer("unknown")}, "spec.optimizer.name", "must be one of"),
        ({"acceptance": Acceptance(blend=0.5)}, "spec.acceptance.blend", "must be 1"),
        (
            {"mentor": MentorChoice("random_tokens", options={"weight": [1.0, 0.5]})},
            "spec.mentor.options.weight",
            "must be 1",
        ),
        (
            {"mentor": MentorChoice("small", options={"weights": [0.5]})},
            "spec.mentor.options.weights",
            "must be 1",
        ),
    ],
)
def test_settings_that_make_no_sense_for_texts(
    own_task: Task, tmp_path: Path, changes: dict[str, Any], field: str, why: str
) -> None:
    found = refused(replace(spec_of(own_task), **changes), tmp_path)
    assert why in found[field]


@pytest.mark.parametrize(
    ("model", "why"),
    [
        ("unknown", "served models: own, other"),
        ("rows.jsonl", "GGUF"),
        (".", "GGUF"),
        ("hf:none/none:x.gguf", "models pull"),
        ("http://127.0.0.1:8080/v1", "model roots"),
    ],
)
def test_a_model_that_is_not_known(own_task: Task, tmp_path: Path, model: str, why: str) -> None:
    spec = replace(spec_of(own_task), objective=ServedPrompt(model))
    assert why in refused(spec, tmp_path)["spec.objective.served_prompt.model"]


@pytest.mark.parametrize(
    ("model", "package", "extras"),
    [("own", "httpx", "trainer"), ("file.gguf", "llama_cpp", "trainer,mentor")],
)
def test_a_missing_package_is_said_with_the_pip_command(
    own_task: Task,
    tmp_path: Path,
    model: str,
    package: str,
    extras: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "file.gguf").write_bytes(b"GGUF")
    real = served_prompt.importlib.util.find_spec
    monkeypatch.setattr(
        served_prompt.importlib.util,
        "find_spec",
        lambda name, *more: None if name == package else real(name, *more),
    )
    with pytest.raises(Unsupported, match=re.escape(pip_line(extras))) as caught:
        refused(replace(spec_of(own_task), objective=ServedPrompt(model)), tmp_path)
    assert caught.value.reason == "MISSING_EXTRA"


def test_labels_must_be_words(own_task: Task, tmp_path: Path) -> None:
    found = refused(spec_of(replace(own_task, labels=("other", " "))), tmp_path)
    assert "spec.task.labels[1]" in found
