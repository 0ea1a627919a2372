"""Names models in results by the SHA-256 of their files."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from mentorgrad.model_refs import resolve


def model_sha256(reference: str) -> str:
    """SHA-256 of a model's file; of a folder, of its file names and sizes."""
    path = Path(resolve(reference))
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    files = sorted((str(item.relative_to(path)), item.stat().st_size) for item in path.rglob("*"))
    return hashlib.sha256(json.dumps(files).encode()).hexdigest()
