"""Builds the objective of a run from its spec."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from mentorgrad.domain.spec import RunSpec
from mentorgrad.errors import InvalidInput, MentorgradError, Violation
from mentorgrad.model_refs import resolve
from trainer_service.costs import RowCosts
from trainer_service.encoding.embedding_cache import EmbeddingCache
from trainer_service.objectives.classification import ClassificationProblem
from trainer_service.objectives.kept_results import KeptResults
from trainer_service.objectives.model_file import model_document
from trainer_service.objectives.row_parts import RowParts
from trainer_service.objectives.start_files import OpenRun, StartSources, no_runs
from trainer_service.objectives.table import kind_of
from trainer_service.protocols import Objective
from trainer_service.registry import load
from trainer_service.tasks.data import TaskData
from trainer_service.tasks.load import load_task
from trainer_service.tasks.uploaded import OpenUpload

if TYPE_CHECKING:
    from trainer_service.encoding.causal_model import CausalModel
    from trainer_service.encoding.clip import ClipEncoder
    from trainer_service.encoding.encoders import TextEncoder


DEFAULT_STATE_BYTES = 2 << 30
"""Maximum bytes of texts' keys and values that a worker keeps, unless it is set otherwise."""


@dataclass(frozen=True)
class BuildInputs:
    """What an objective is built from in a worker."""

    path: str
    """Path of the objective's fields in the request."""
    task: TaskData | None
    """The run's rows; None for an objective without data."""
    costs: RowCosts
    """Forward rows of the objective's passes."""
    device: torch.device
    """Device of the parameters."""
    abort: Callable[[], None]
    """Called between batches of long work; may raise to abort."""
    model_roots: Sequence[Path] | None = ()
    """Folders that models named by a path must be in; None: any folder."""
    cache_dir: Path | None = None
    """Folder for embeddings of texts and images; None: no caching."""
    state_bytes: int = DEFAULT_STATE_BYTES
    """Maximum bytes of texts' keys and values that are kept in memory."""
    known: KeptResults = field(default_factory=KeptResults)
    """What the worker's earlier runs have computed with frozen models."""
    run: RunSpec = field(default_factory=RunSpec)
    """The whole spec of the run."""
    threads: int = 1
    """Threads of libraries that do not use torch's."""
    tuned_models: Mapping[str, str] = field(default_factory=dict)
    """Name → URL of the served models."""
    api_key: str = field(default="", repr=False)
    """API key of the served models; empty: none is sent."""
    open_run: OpenRun = no_runs
    """Opens the files of another run, to start from."""

    @property
    def starts(self) -> StartSources:
        """Where the files that the run starts from may be."""
        return StartSources(self.model_roots, self.open_run)

    @property
    def rows(self) -> TaskData:
        """The run's rows, for an objective that uses a task."""
        if self.task is None:
            raise LookupError("this objective has no data")
        return self.task

    @property
    def cache(self) -> EmbeddingCache:
        """Cache of embeddings."""
        return EmbeddingCache(self.cache_dir)

    def encoder(self, reference: str, dtype: str = "auto") -> TextEncoder:
        """Loads the text encoder that the spec's field `encoder` names.

        Raises:
            InvalidInput: It cannot be used; the violation names the field.
        """
        # transformers takes seconds to import, and not every objective needs it.
        from trainer_service.encoding.encoders import TextEncoder

        with self._naming("encoder"):
            folder = resolve(reference, roots=self.model_roots)
            return TextEncoder(folder, self.device, self.abort, dtype)

    def image_encoder(self, reference: str) -> ClipEncoder:
        """Loads the encoder of images that the spec's field `encoder` names.

        Raises:
            InvalidInput: It cannot be used; the violation names the field.
        """
        from trainer_service.encoding.clip import ClipEncoder

        with self._naming("encoder"):
            folder = resolve(reference, roots=self.model_roots)
            return ClipEncoder(folder, self.device, self.abort)

    def causal_model(self, reference: str, dtype: str) -> CausalModel:
        """Loads the causal language model that the spec's field `model` names.

        Raises:
            InvalidInput: It cannot be used; the violation names the field.
        """
        from trainer_service.encoding.causal_model import CausalModel
        from trainer_service.encoding.dequantising import causal_folder

        with self._naming("model"):
            path = resolve(reference, roots=self.model_roots)
            folder = causal_folder(path, self.cache_dir, self.abort)
            return CausalModel(folder, self.device, dtype, self.abort)

    def revision(self, reference: str) -> str:
        """Commit of a model of the Hugging Face hub, as its cache names it; empty for others."""
        if not reference.startswith("hf:"):
            return ""
        parts = resolve(reference).parts
        return next((b for a, b in pairwise(parts) if a == "snapshots"), "")

    def document(
        self,
        spec: Any,
        model: str,
        model_sha256: str,
        problem: ClassificationProblem,
        text: str,
        **facts: Any,
    ) -> dict[str, Any]:
        """`model_document` of an objective with a frozen model.

        Args:
            spec: The objective.
            model: Reference of its model.
            model_sha256: The model's digest.
            problem: Its problem.
            text: The prompt in words.
            **facts: The objective's own, as JSON has them.
        """
        return model_document(
            spec,
            self.run,
            self.rows,
            model=model,
            model_sha256=model_sha256,
            model_revision=self.revision(model),
            device=self.device.type,
            text=text,
            cut_texts=problem.cut_texts,
            **facts,
        )

    @contextmanager
    def _naming(self, field: str) -> Iterator[None]:
        """Turns errors of the product into violations of a field of the objective."""
        try:
            yield
        except MentorgradError as error:
            violation = Violation(f"{self.path}.{field}", error.message)
            raise InvalidInput(violations=[violation], reason=error.reason) from error


def build_objective(
    spec: RunSpec,
    *,
    device: torch.device,
    check: Callable[[], None] = lambda: None,
    data_roots: Sequence[Path] = (),
    model_roots: Sequence[Path] | None = (),
    cache_dir: Path | None = None,
    state_bytes: int = DEFAULT_STATE_BYTES,
    known: KeptResults | None = None,
    threads: int = 1,
    tuned_models: Mapping[str, str] | None = None,
    api_key: str = "",
    task_digest: str = "",
    uploads: OpenUpload | None = None,
    open_run: OpenRun = no_runs,
) -> Objective:
    """Builds the objective of a run; reads its data and loads its tuned model.

    Args:
        spec: The run.
        device: Device of the parameters.
        check: Called between batches; may raise to abort.
        data_roots: Folders that data files may be read from.
        model_roots: Folders that models named by a path must be in; None: any folder.
        cache_dir: Cache folder of text embeddings and dequantised models; None: no caching.
        state_bytes: Maximum bytes of texts' keys and values that are kept in memory.
        known: What the worker's earlier runs have computed with frozen models; None: nothing.
        threads: Threads of libraries that do not use torch's.
        tuned_models: Name → URL of the served models.
        api_key: API key of the served models.
        task_digest: Digest of the rows that the run was created with; empty: unknown.
        uploads: Opens uploaded data files; None: there are none.
        open_run: Opens the files of another run, to start from.

    Raises:
        InvalidInput: The task or model cannot be used; violations name the fields.
        PreconditionFailed: The task's rows have changed since (reason DATA_CHANGED).
        Unsupported: A required package is not installed.
    """
    kind = kind_of(spec.objective)
    task = None
    if kind.uses_task:
        task = load_task(spec.task, spec.seed, data_roots, uploads=uploads, recorded=task_digest)
    costs = kind.costs(spec.objective, task)
    inputs = BuildInputs(
        path=kind.path,
        task=task,
        costs=costs,
        device=device,
        abort=check,
        model_roots=model_roots,
        cache_dir=cache_dir,
        state_bytes=state_bytes,
        known=known or KeptResults(),
        run=spec,
        threads=threads,
        tuned_models=tuned_models or {},
        api_key=api_key,
        open_run=open_run,
    )
    built = cast(Objective, load(kind.build)(spec.objective, inputs))
    optimizer = spec.optimizer
    built.problem.parts = RowParts(optimizer.accumulation, optimizer.automatic_batch_size)
    if isinstance(built.problem, ClassificationProblem):
        built.problem.weight_classes(spec.task.class_weight)
    return built
