"""Parquet files and Arrow streams, read in batches by pyarrow (extra ``tables``)."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mentorgrad.tables.malformed import MalformedError, missing_package

MAX_PARQUET_BYTES = 1024 * 1024 * 1024
"""Maximum decompressed size of a parquet file, in bytes."""
_BATCH_ROWS = 1024


def schema(path: Path) -> Any:
    """The Arrow schema of a file.

    Raises:
        MalformedError: The file is not what its suffix says.
        Unsupported: pyarrow is not installed.
    """
    with _opened(path) as file:
        return _schema(file)


def class_names(path: Path) -> dict[str, tuple[str, ...]]:
    """Maps the class label columns of a Hugging Face data set to the names of their classes."""
    said = (schema(path).metadata or {}).get(b"huggingface", b"{}")
    try:
        features = json.loads(said).get("info", {}).get("features", {})
        return {
            name: tuple(str(word) for word in feature["names"])
            for name, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError):
        return {}  # somebody else's metadata under that name


def arrow_rows(path: Path, columns: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    """Yields the rows of a parquet file or an Arrow stream, with these columns."""
    from mentorgrad.tables.records import check_columns

    with _opened(path) as file:
        check_columns(_schema(file).names, columns, "schema")
        for batch in _batches(file, columns):
            yield from batch.to_pylist()


def _batches(file: Any, columns: Sequence[str]) -> Iterator[Any]:
    if not hasattr(file, "iter_batches"):
        for batch in file:
            chosen = batch.select(list(columns))
            for start in range(0, len(chosen), _BATCH_ROWS):
                yield chosen.slice(start, _BATCH_ROWS)
        return
    groups = range(file.metadata.num_row_groups)
    size = sum(file.metadata.row_group(index).total_byte_size for index in groups)
    if size > MAX_PARQUET_BYTES:
        raise MalformedError(f"decompresses to more than {MAX_PARQUET_BYTES} bytes")
    yield from file.iter_batches(batch_size=_BATCH_ROWS, columns=list(columns))


def _schema(file: Any) -> Any:
    return file.schema_arrow if hasattr(file, "schema_arrow") else file.schema


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A ParquetFile, or the reader of an Arrow stream."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise missing_package("parquet and Arrow files", "pyarrow", error) from error
    is_stream = path.suffix.lower() == ".arrow"
    try:
        if is_stream:
            with pyarrow.memory_map(str(path)) as mapped, pyarrow.ipc.open_stream(mapped) as file:
                yield file
        else:
            with pyarrow.parquet.ParquetFile(path) as file:
                yield file
    except (pyarrow.ArrowException, ValueError, OSError) as error:
        # ValueError: such as text that is not UTF-8; OSError without a number: broken bytes
        if isinstance(error, OSError) and error.errno is not None:
            raise
        detail = (str(error).strip() or type(error).__name__).splitlines()[0]
        kind = "Arrow stream" if is_stream else "parquet file"
        raise MalformedError(f"not a readable {kind} ({detail})") from None
