"""Tunes a soft prompt in front of label words in a plain torch loop, with a mentor."""

import argparse
import json
from pathlib import Path

import torch
from torch.nn import functional
from transformers import AutoModel, AutoTokenizer

from mentorgrad import DEFAULT_ENCODER, MentorClient, Score, resolve
from mentorgrad.integrations.torch import AdvisedPrompt, Rules, Words

flags = argparse.ArgumentParser(description=__doc__)
flags.add_argument("--mentor", default="127.0.0.1:50552")
flags.add_argument("--steps", type=int, default=120)
args = flags.parse_args()

task = json.loads(Path(__file__).with_name("messages.json").read_text(encoding="utf-8"))
path = resolve(DEFAULT_ENCODER)
tokenizer = AutoTokenizer.from_pretrained(path)
encoder = AutoModel.from_pretrained(path, dtype=torch.float32).eval().requires_grad_(False)
table = encoder.get_input_embeddings().weight
prompt = table[2000:2008].clone().requires_grad_()
optimizer = torch.optim.AdamW([prompt], lr=0.05)


def encode(texts, soft=table[:0]):
    tokens = tokenizer(texts, padding=True, return_tensors="pt")
    words, soft = table[tokens.input_ids], soft.expand(len(texts), -1, -1)
    vectors = torch.cat([words[:, :1], soft, words[:, 1:]], dim=1)  # after the start token
    mask = functional.pad(tokens.attention_mask, (soft.shape[1], 0), value=1)
    hidden = encoder(inputs_embeds=vectors, attention_mask=mask).last_hidden_state
    return functional.normalize((hidden * mask[..., None]).sum(1), dim=-1)


def loss_of(texts, truth):
    return functional.cross_entropy(20 * texts @ encode(task["labels"], prompt).T, truth)


def split(rows):
    return encode([row["text"] for row in rows]), torch.tensor([row["label"] for row in rows])


train, selection = split(task["train"]), split(task["selection"])
with MentorClient(args.mentor) as mentor, mentor.session(task["description"]) as session:
    advised = AdvisedPrompt(
        *(session, prompt, Words(table, tokenizer), optimizer),
        score=lambda: Score(loss_of(*selection).item(), rows=len(selection[1])),
        losses=lambda: iter(lambda: loss_of(*train), None),
        rules=Rules(max(2, args.steps // 3), proposals=4, finalists=2, probe_steps=5),
    )
    for step in range(1, args.steps + 1):
        optimizer.zero_grad()
        (loss := loss_of(*train)).backward()
        optimizer.step()
        advised.step(step, loss)
print(f"selection loss {loss_of(*selection).item():.4f}, {advised.restarts} restarts")
