"""Turns GGUF files into folders that transformers loads as they are, once per cache."""

from __future__ import annotations

import atexit
import contextlib
import functools
import io
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import structlog
import torch
from safetensors import SafetensorError

from mentorgrad.errors import InvalidInput, ResourceExhausted
from mentorgrad.model_refs import first_line
from trainer_service.encoding.causal_files import require_causal_model
from trainer_service.encoding.gguf_files import (
    file_digest,
    is_whole,
    kept_folder,
    require_gguf_reader,
    write_list,
)
from trainer_service.encoding.gguf_header import read_gguf_header
from trainer_service.encoding.memory import memory_for
from trainer_service.encoding.weight_files import UNSUITABLE

log = structlog.get_logger(__name__)

_LOADER = threading.Lock()
"""Held while the loader of transformers is changed."""

_POLL = 0.1
"""Seconds between looks whether another process has finished."""


def causal_folder(
    path: Path, cache_dir: Path | None = None, check: Callable[[], None] = lambda: None
) -> Path:
    """The folder to load a causal language model from.

    A GGUF file is dequantised to float32 and kept in the cache. Processes that want the same file
    at once wait for the first of them. Without a cache, or if it cannot be written, the folder is a
    temporary one that is removed when the process ends.

    Args:
        path: A folder, which is returned as it is, or a GGUF file.
        cache_dir: The cache folder.
        check: Called while waiting and between the parts of the work; may raise to abort.

    Raises:
        InvalidInput: The model is unsuitable, or its architecture cannot be dequantised.
        NotFound: A file is missing.
        ResourceExhausted: There is not enough memory or disk.
        Unsupported: A package that reads GGUF files is not installed.
    """
    require_causal_model(path)
    if not path.is_file():
        return path
    parent = _writable(cache_dir)
    if cache_dir is None or parent is None:
        return _temporary(path, check)
    file_digest(path, check)  # takes seconds the first time
    target = kept_folder(path, cache_dir)
    if not is_whole(target):
        with _alone(target, check):
            if not is_whole(target):
                _make(path, target, check)
    return target


def _writable(cache_dir: Path | None) -> Path | None:
    """The folder of kept models; None if there is none that can be written."""
    if cache_dir is None:
        return None
    folder = cache_dir.expanduser() / "models"
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    return folder if os.access(folder, os.W_OK) else None


def _temporary(file: Path, check: Callable[[], None]) -> Path:
    parent = Path(tempfile.mkdtemp(prefix="mentorgrad-model-"))
    atexit.register(shutil.rmtree, parent, ignore_errors=True)
    folder = parent / file.stem
    _make(file, folder, check)
    return folder


@contextlib.contextmanager
def _alone(target: Path, check: Callable[[], None]) -> Iterator[None]:
    """Waits for other processes that make the same folder.

    It only saves work: renaming is safe without it, as on file systems without locks.
    """
    try:
        import fcntl
    except ImportError:  # not available on all systems
        yield
        return
    with target.with_suffix(".lock").open("wb") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                check()
                time.sleep(_POLL)
            except OSError:  # a file system without locks
                yield
                return
        for left in target.parent.glob(f".{target.name}.*"):  # by a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        yield


def _make(file: Path, target: Path, check: Callable[[], None]) -> None:
    """Writes a folder aside and renames it."""
    log.info("model_dequantising", file=file.name)
    began = time.monotonic()
    aside = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    try:
        _write(file, aside, check)
        write_list(aside, file)
        size = sum(path.stat().st_size for path in aside.iterdir())
        _rename(aside, target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    seconds = round(time.monotonic() - began, 1)
    log.info("model_dequantised", file=file.name, folder=str(target), bytes=size, seconds=seconds)


def _rename(aside: Path, target: Path) -> None:
    """Renames a finished folder, over a broken one, and not over another process's whole one."""
    if target.exists() and not is_whole(target):
        broken = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
        with contextlib.suppress(OSError):  # another process was quicker
            target.rename(broken)
        shutil.rmtree(broken, ignore_errors=True)
    try:
        aside.rename(target)
    except OSError:
        if not is_whole(target):
            raise


def _write(file: Path, folder: Path, check: Callable[[], None]) -> None:
    """Writes the weights in float32, the configuration and the tokenizer of a GGUF file."""
    require_gguf_reader()
    with memory_for(f"dequantise {file.name}", "use a smaller model"), _header_read_once():
        tokenizer = _read(file, _tokenizer)
        check()
        model = _read(file, _model)
    check()
    try:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    except (OSError, SafetensorError) as error:
        raise ResourceExhausted(
            f"the dequantised {file.name} cannot be written to {folder.parent}: "
            f"{first_line(error)}; it takes four bytes per weight",
            reason="MODEL_NOT_KEPT",
        ) from error


@contextlib.contextmanager
def _header_read_once() -> Iterator[None]:
    """Lets the loader of transformers keep what it makes of a file's header.

    It reads the header anew for tokenizer, configuration and weights, and makes the list of tensor
    names anew for every layer, which takes more than half of the time. Half of the rest, the
    reader spends on slices of a `numpy.memmap`, several for each token of the vocabulary.
    """
    import gguf

    # Of two threads, the one would put back what the other has set.
    with _LOADER, contextlib.ExitStack() as kept:
        reader, name_map = _plain(gguf.GGUFReader), gguf.get_tensor_name_map
        for name, made in (("GGUFReader", reader), ("get_tensor_name_map", name_map)):
            kept.callback(setattr, gguf, name, getattr(gguf, name))
            setattr(gguf, name, functools.cache(made))
        yield


def _plain(reader: Any) -> Any:
    """A GGUF reader that slices the mapped file as a plain array, in a third of the time."""

    class Reader(reader):  # type: ignore[misc]
        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, value.view(np.ndarray) if name == "data" else value)

    return Reader


def _read(file: Path, part: Callable[[Path, dict[str, Any]], Any]) -> Any:
    options = {"gguf_file": file.name, "local_files_only": True, "trust_remote_code": False}
    try:
        # The loader draws a progress bar, which would stand among the worker's log lines.
        with contextlib.redirect_stderr(io.StringIO()):
            return part(file.parent, options)
    except (OSError, ValueError, LookupError, NotImplementedError) as error:
        raise InvalidInput(
            f"{file.name} ({read_gguf_header(file).architecture}) cannot be dequantised: "
            f"{first_line(error)}",
            reason=UNSUITABLE,
        ) from error


def _tokenizer(folder: Path, options: dict[str, Any]) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, **options)


def _model(folder: Path, options: dict[str, Any]) -> Any:
    """A model with the weights of the file that can be saved: a fresh one, because the one that was
    read knows that it was quantised."""
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    read, report = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True, **options
    )
    if report["missing_keys"]:  # transformers gives them random numbers
        raise ValueError(f"it has no {min(report['missing_keys'])}")
    config = read.config
    del config.quantization_config
    with torch.device("meta"):
        fresh = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    fresh.load_state_dict(read.state_dict(), assign=True)
    fresh.tie_weights()
    return fresh
