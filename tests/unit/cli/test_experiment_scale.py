"""Experiments in small, and published figures beside their results."""

from __future__ import annotations

from pathlib import Path

import pytest

from mentorgrad.cli.support.experiment_file import read_experiment, read_published
from mentorgrad.cli.support.experiment_scale import (
    TINY_CLIP,
    names_tiny_clip,
    scaled,
    write_tiny_clip,
)
from mentorgrad.cli.support.options import Scale
from mentorgrad.domain.experiment import Cell, Report
from mentorgrad.domain.objective import DEFAULT_ENCODER, CausalPrompt, LabelPrompt, PromptTuning
from mentorgrad.domain.run import Score
from mentorgrad.domain.spec import Budget, Criterion, Optimizer, Stages, Task
from mentorgrad.errors import InvalidInput
from mentorgrad.model_refs import resolve
from mentorgrad.reports.markdown import markdown
from mentorgrad.reports.published import PublishedFigure, published_table

FILE = """
name = "large"
tasks = [{ name = "rte", shots = 0 }, { name = "cola", shots = 2, test_rows = 1000 }]
seeds = [7, 8]
[tuning]
learning_rates = [0.1, 1]
seeds = [1]
[base]
stages = { count = 4, steps = 500, first_steps = 0 }
optimizer = { batch_size = 32 }
[base.objective.prompt_tuning]
encoder = "hf:org/large"
n_tokens = 20
[[variations]]
name = "shots"
changes.task.shots = 16
[[arms]]
name = "long"
mentor = { name = "small", proposals = 48 }
changes = { optimizer = "sgd", stages = { steps = 1000 } }
[[arms]]
name = "other"
changes.objective.causal_prompt = { model = "hf:org/other", n_tokens = 3 }
[[published]]
arm = "long"
task = "rte"
value = 0.866
source = "a paper"
[[published]]
arm = "other"
task = "cola"
metric = "matthews"
value = 0.634
source = "a page"
note = "of another model"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "large.toml"
    path.write_text(FILE)
    return path


def test_a_tiny_experiment_has_the_same_arms_and_little_of_the_rest(file: Path) -> None:
    whole = read_experiment(file)
    assert scaled(whole, Scale.FULL) is whole
    tiny = scaled(whole, Scale.TINY)
    assert (tiny.name, tiny.seeds, tiny.tuning.learning_rates) == ("large_tiny", (7,), ())
    assert tiny.tasks == (
        Task("rte", shots=4, selection_rows=4, test_rows=8),
        Task("cola", shots=2, selection_rows=4, test_rows=8),
    )
    assert tiny.base.objective == PromptTuning(DEFAULT_ENCODER, 20, max_length=64)
    assert tiny.base.stages == Stages(2, 1, candidates=1, first_steps=0)
    assert tiny.base.budget == Budget(gradient_steps=6, evaluations=24)
    assert tiny.base.optimizer == Optimizer(batch_size=4)
    assert tiny.variations[0].changes == {"task": {"shots": 4}}
    long, other = tiny.arms
    assert (long.mentor.name, long.mentor.proposals) == ("small", 4)
    assert long.changes == {"optimizer": "sgd", "stages": {"steps": 1}}
    assert other.changes["objective"] == {
        "causal_prompt": {"model": CausalPrompt().model, "n_tokens": 3}
    }


def test_images_are_seen_by_a_tiny_clip(tmp_path: Path) -> None:
    path = tmp_path / "large.toml"
    path.write_text(FILE.replace("rte", "eurosat").replace("prompt_tuning", "label_prompt"))
    tiny = scaled(read_experiment(path), Scale.TINY)
    assert tiny.base.objective == LabelPrompt(TINY_CLIP, 20)
    assert names_tiny_clip(tiny)


@pytest.mark.campaign
def test_a_tiny_clip_is_written_to_a_model_root(tmp_path: Path) -> None:
    write_tiny_clip(tmp_path)
    assert (resolve(TINY_CLIP, roots=[tmp_path]) / "model.safetensors").is_file()


def test_published_figures_stand_beside_the_runs_that_they_compare_with(file: Path) -> None:
    figures = read_published(file)
    assert figures[1] == PublishedFigure(
        "cola", "other", 0.634, "a page", "", Criterion.MATTHEWS, "of another model"
    )
    cells = (
        Cell("a", "long", "rte", "shots", 7, 0.5, 0.7),
        Cell("b", "long", "rte", "shots", 8, 0.5, 0.8),
        Cell("c", "long", "cola", "shots", 7, 0.5, 0.1),
        Cell("d", "other", "cola", "shots", 7),
    )
    report = Report("x", "large", complete=True, cells=cells)
    scores = {"a": Score(0.5, 0.7, 10), "b": Score(0.5, 0.8, 10)}
    table = published_table(report, figures, scores.get)
    assert [row[:6] for row in table.rows] == [
        ("long", "rte", "accuracy", "0.866", "0.750", "2"),
        ("other", "cola", "matthews", "0.634", "–", "0"),
    ]
    text = markdown(report, [table])
    assert "| long | rte | accuracy | 0.866 | 0.750 | 2 | a paper |  |" in text


def test_a_figure_needs_a_source(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(FILE.replace('source = "a paper"\n', ""))
    with pytest.raises(InvalidInput) as caught:
        read_published(path)
    assert caught.value.violations[0].field == "published[0].source"
    path.write_text("published = 3\n")
    with pytest.raises(InvalidInput, match="list of figures"):
        read_published(path)
