"""Constants of the objectives for code that must not import torch."""

ARTIFACT = "prompt.safetensors"
"""Artifact file of every finished run."""

MODEL_FILE = "model.json"
"""Artifact file that says what a prompt belongs to; see `objectives.model_file`."""

PROBE_FILE = "probe.safetensors"
"""Artifact file with the linear probe, of a run that has computed one."""

PREDICTIONS_FILE = "predictions.safetensors"
"""Artifact file with what each method predicts for the test rows; see `predictions_file`."""

PROMPT_TEXT = "prompt.txt"
"""Artifact file with the prompt in words, of the objectives with language models."""

CONTENT_FREE_TEXTS = ("N/A", "", "[MASK]")
"""Inputs without content, of Zhao et al. (ICML 2021): two markers and an empty text."""
