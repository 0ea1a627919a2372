"""Tunes a soft prompt in front of every message with a LightningModule and a mentor."""

import argparse
import json
from pathlib import Path

import torch
from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader
from transformers import AutoModel, AutoTokenizer

from mentorgrad import DEFAULT_ENCODER, MentorClient, resolve
from mentorgrad.integrations.lightning import MentorCallback, Rules, Words

flags = argparse.ArgumentParser(description=__doc__)
flags.add_argument("--mentor", default="127.0.0.1:50552")
flags.add_argument("--steps", type=int, default=120)
args = flags.parse_args()
rules = Rules(stage_steps=max(2, args.steps // 3), proposals=4, finalists=2, probe_steps=5)

task = json.loads(Path(__file__).with_name("messages.json").read_text(encoding="utf-8"))
tokenizer = AutoTokenizer.from_pretrained(path := resolve(DEFAULT_ENCODER))


class Tuned(LightningModule):
    def __init__(self):
        super().__init__()
        self.encoder = AutoModel.from_pretrained(path, dtype=torch.float32).requires_grad_(False)
        self.table = self.encoder.get_input_embeddings().weight
        self.prompt = torch.nn.Parameter(self.table[2000:2008].clone())
        self.head = torch.nn.Linear(self.table.shape[1], len(task["labels"]))

    def loss(self, batch, _=None):
        tokens, truth = batch
        prompt = self.prompt.expand(len(truth), -1, -1)
        vectors = torch.cat([prompt, self.table[tokens["input_ids"]]], dim=1)
        mask = torch.nn.functional.pad(tokens["attention_mask"], (prompt.shape[1], 0), value=1)
        hidden = self.encoder(inputs_embeds=vectors, attention_mask=mask).last_hidden_state
        return torch.nn.functional.cross_entropy(self.head(hidden[:, 0]), truth)

    training_step = loss

    def configure_optimizers(self):
        return torch.optim.AdamW([self.prompt, *self.head.parameters()], lr=0.02)


def collate(rows):
    tokens = tokenizer([row["text"] for row in rows], padding=True, return_tensors="pt")
    return tokens, torch.tensor([row["label"] for row in rows])


module, selection = Tuned(), DataLoader(task["selection"], 32, collate_fn=collate)
train = DataLoader(task["train"], 8, shuffle=True, collate_fn=collate)
card = {"proposal": "a phrase in front of every message", "place": "in front of every message"}
with MentorClient(args.mentor) as mentor, mentor.session(task["description"], **card) as session:
    words = Words(module.table, tokenizer)
    advice = MentorCallback(session, words, loss=Tuned.loss, selection=selection, rules=rules)
    Trainer(max_steps=args.steps, callbacks=[advice], barebones=True).fit(module, train)
print(f"{advice.advised.restarts} restarts")
