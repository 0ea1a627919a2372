"""Constants of the objectives for code that must not import torch."""

ARTIFACT = "prompt.safetensors"
"""Artifact file of every finished run."""
