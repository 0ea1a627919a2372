"""From a data set and a real encoder to an adapter that PEFT loads: with the logits of the run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from mentorgrad.cli.main import app
from mentorgrad.domain.objective import DEFAULT_ENCODER, PromptTuning
from mentorgrad.domain.run import Run, RunState
from mentorgrad.domain.spec import Acceptance, MentorChoice, Optimizer, RunSpec, Stages, Task
from mentorgrad.model_refs import resolve
from run_store.open import open_store
from tests.contract.test_resume import StopsAt, create, go
from trainer_service import tensorfile
from trainer_service.job import WorkerJob
from trainer_service.run_composition import run_parts

SUBJECTS = ("The film", "This story", "Her new book", "The second season", "That concert")
VERDICTS = (
    ("was a joy from the first minute", 1),
    ("bored everybody to tears", 0),
    ("deserves every prize there is", 1),
    ("should never have been made", 0),
)
N_TOKENS = 5


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    """A data root with one data set in the hub's layout."""
    folder = tmp_path / "data/org/reviews"
    folder.mkdir(parents=True)
    for split, years in (("train", (1, 2)), ("validation", (3,)), ("test", (4,))):
        rows = [
            {"review": f"{subject} {verdict}, {year} years on.", "label": label}
            for subject in SUBJECTS
            for verdict, label in VERDICTS
            for year in years
        ]
        lines = "\n".join(json.dumps(row) for row in rows)
        (folder / f"{split}.jsonl").write_text(lines)
    return tmp_path / "data"


SPEC = RunSpec(
    objective=PromptTuning(n_tokens=N_TOKENS),
    task=Task("hf:org/reviews", labels=("bad", "good"), shots=4, selection_rows=4),
    optimizer=Optimizer(batch_size=8),
    stages=Stages(count=2, steps=4, candidates=2),
    mentor=MentorChoice("random_tokens", proposals=2),
    acceptance=Acceptance(finalists=1, probe_steps=2),
)


def tuned(store_url: str, reviews: Path) -> Run:
    """A run as a worker executes it, but in this process."""
    torch.set_num_threads(1)
    store = open_store(store_url)
    how = run_parts(WorkerJob(run_id="-", store="-", data_roots=(str(reviews),)))
    run_id = create(store, SPEC)
    go(store, run_id, StopsAt(), how)
    run = store.get_run(run_id)
    store.close()
    return run


@pytest.mark.usefixtures("without_probe")
@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")
def test_peft_loads_what_a_run_left(
    reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, store_url = tmp_path / "adapter", f"sqlite:///{tmp_path}/runs.sqlite"
    run = tuned(store_url, reviews)
    assert run.state is RunState.SUCCEEDED, run.reason
    with pytest.raises(SystemExit) as left:
        app(["runs", "download", run.run_id, "--into", str(folder), "--store", store_url])
    assert left.value.code == 0
    assert "adapter_config.json" in capsys.readouterr().out
    assert run.result is not None
    assert run.result.test is not None
    assert run.result.test.rows == 20

    lines = (reviews / "org/reviews/test.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    logits = peft_logits(folder, [row["review"] for row in rows])
    torch.testing.assert_close(
        logits, by_hand(folder, [row["review"] for row in rows]), atol=1e-5, rtol=0
    )
    wanted = torch.tensor([row["label"] for row in rows])
    assert float(functional.cross_entropy(logits, wanted)) == pytest.approx(
        run.result.test.loss, abs=1e-5
    )
    share = float((logits.argmax(-1) == wanted).float().mean())
    assert share == pytest.approx(run.result.test.accuracy)


def tokens(texts: list[str]) -> dict[str, torch.Tensor]:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(resolve(DEFAULT_ENCODER))
    return dict(tokenizer(texts, padding=True, return_tensors="pt"))


@torch.no_grad()
def peft_logits(folder: Path, texts: list[str]) -> torch.Tensor:
    """As the guide says it is done."""
    from peft import PeftModel
    from transformers import AutoModelForTokenClassification

    base = AutoModelForTokenClassification.from_pretrained(resolve(DEFAULT_ENCODER), num_labels=2)
    model = PeftModel.from_pretrained(base, folder)
    logits: torch.Tensor = model(**tokens(texts)).logits[:, N_TOKENS]
    return logits


@torch.no_grad()
def by_hand(folder: Path, texts: list[str]) -> torch.Tensor:
    """Without PEFT and without the trainer: the prompt in front, the head on what is [CLS]."""
    from transformers import AutoModel

    saved, metadata = tensorfile.load((folder / "prompt.safetensors").read_bytes())
    assert metadata["readout"] == "cls"
    model = AutoModel.from_pretrained(resolve(DEFAULT_ENCODER)).eval()
    inputs = tokens(texts)
    words = model.get_input_embeddings()(inputs["input_ids"])
    prompt = saved["prompt"].expand(len(texts), -1, -1)
    hidden = model(
        inputs_embeds=torch.cat([prompt, words], dim=1),
        attention_mask=functional.pad(inputs["attention_mask"], (N_TOKENS, 0), value=1),
    ).last_hidden_state
    read: torch.Tensor = hidden[:, N_TOKENS]
    return read @ saved["head.weight"].T + saved["head.bias"]
