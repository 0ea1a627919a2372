"""Constants of the objectives for code that must not import torch."""

ARTIFACT = "prompt.safetensors"
"""Artifact file of every finished run."""

PROMPT_TEXT = "prompt.txt"
"""Artifact file with the prompt in words, of the objectives with language models."""

CONTENT_FREE_TEXTS = ("N/A", "", "[MASK]")
"""Inputs without content, of Zhao et al. (ICML 2021): two markers and an empty text."""
