"""PEFT prompt tuning with a Hugging Face Trainer and a mentor."""

import argparse
import json
import tempfile
from pathlib import Path

from peft import PromptTuningConfig, TaskType, get_peft_model
from torch.utils.data import DataLoader
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
)

from mentorgrad import DEFAULT_ENCODER, MentorClient, resolve
from mentorgrad.integrations.huggingface import MentorCallback, Rules

flags = argparse.ArgumentParser(description=__doc__)
flags.add_argument("--mentor", default="127.0.0.1:50552")
flags.add_argument("--steps", type=int, default=120)
args = flags.parse_args()
rules = Rules(stage_steps=max(2, args.steps // 3), proposals=4, finalists=2, probe_steps=5)

task = json.loads(Path(__file__).with_name("messages.json").read_text(encoding="utf-8"))
path = resolve(DEFAULT_ENCODER)
tokenizer = AutoTokenizer.from_pretrained(path)
model = AutoModelForSequenceClassification.from_pretrained(path, num_labels=len(task["labels"]))
model = get_peft_model(model, PromptTuningConfig(TaskType.SEQ_CLS, num_virtual_tokens=8))


def rows(split):
    return [{**tokenizer(row["text"]), "labels": row["label"]} for row in task[split]]


collate = DataCollatorWithPadding(tokenizer)
selection = DataLoader(rows("selection"), 32, collate_fn=collate)
card = {"proposal": "a phrase in front of every text", "place": "in front of every text"}
with (
    MentorClient(args.mentor) as mentor,
    mentor.session(task["description"], labels=task["labels"], n_tokens=8, **card) as session,
    tempfile.TemporaryDirectory() as folder,
):
    advice = MentorCallback(session, selection, rules=rules)
    settings = {"learning_rate": 0.05, "logging_steps": 1, "report_to": [], "save_strategy": "no"}
    Trainer(
        model,
        TrainingArguments(folder, max_steps=args.steps, **settings),
        collate,
        rows("train"),
        processing_class=tokenizer,
        callbacks=[advice],
    ).train()
print(f"{advice.advised.restarts} restarts")
