"""Excel workbooks, read row by row by openpyxl (extra ``tables``)."""

from __future__ import annotations

import contextlib
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mentorgrad.tables.malformed import MalformedError, missing_package

MAX_EXCEL_BYTES = 1024 * 1024 * 1024
"""Maximum decompressed size of a workbook, in bytes."""
MAX_EXCEL_ROWS = 1_048_576
"""Maximum rows of a sheet, as in Excel."""
MAX_SHARED_BYTES = 256 * 1024 * 1024
"""Maximum decompressed size of all that is not a sheet, in bytes; it is read as a whole."""


def header(path: Path, sheet: str) -> list[str]:
    """Names of the columns of a sheet: its first row that is not empty.

    Raises:
        MalformedError: The file is no workbook, or there are several sheets and none is named.
        Unsupported: openpyxl is not installed.
    """
    with _opened(path, sheet) as found:
        return next(([_name(value) for value in row] for _, row in _filled(found)), [])


def excel_rows(
    path: Path, columns: Sequence[str], sheet: str, refuse: Callable[[MalformedError], None]
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yields (row of the sheet, record) for each row below the header that is not empty.

    Calls `refuse` with the error of a row that is longer than the header, which is left out.
    """
    from mentorgrad.tables.records import check_columns

    with _opened(path, sheet) as found:
        names: list[str] = []
        for number, row in _filled(found):
            if not names:
                names = [_name(value) for value in row]
                check_columns(names, columns, f"row {number}")
                continue
            if len(row) > len(names):
                what = f"has {len(row)} cells, but the header has {len(names)} columns"
                refuse(MalformedError(f"row {number}: {what}"))
                continue
            cells = [*row, *[None] * (len(names) - len(row))]
            yield number, dict(zip(names, cells, strict=True))
        if not names:
            check_columns(names, columns, "row 1")


def _name(value: Any) -> str:
    return "" if value is None else str(value)


def _filled(sheet: Any) -> Iterator[tuple[int, list[Any]]]:
    """Numbers and cells of the rows that are not empty, without empty cells at their ends."""
    sheet.reset_dimensions()  # a wrong one pads or cuts every row
    for number, row in enumerate(sheet.iter_rows(values_only=True), start=1):
        cells = list(row)
        while cells and cells[-1] in (None, ""):
            cells.pop()
        if number > MAX_EXCEL_ROWS:  # a gap of any length is filled up
            raise MalformedError(f"has more than {MAX_EXCEL_ROWS} rows")
        if cells:
            yield number, cells


@contextlib.contextmanager
def _opened(path: Path, name: str) -> Iterator[Any]:
    with _workbook(path) as book:
        titles = [sheet.title for sheet in book.worksheets]
        if name and name not in titles:
            raise MalformedError(f"there is no sheet {name!r}; the sheets are: {titles}")
        if not name and len(titles) > 1:
            titles = [sheet.title for sheet in book.worksheets if next(_filled(sheet), None)]
            if len(titles) > 1:
                raise MalformedError(f"has the sheets {', '.join(titles)}; name one with --sheet")
        yield book[name or (titles[0] if titles else book.worksheets[0].title)]


@contextlib.contextmanager
def _workbook(path: Path) -> Iterator[Any]:
    try:
        import openpyxl
    except ImportError as error:
        raise missing_package("Excel files", "openpyxl", error) from error
    try:
        _check_size(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of formatting that openpyxl does not know
            book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        try:
            if not book.worksheets:
                raise MalformedError("has no sheets")
            yield book
        finally:
            book.close()
    except (MalformedError, OSError):
        raise
    except Exception as error:  # an untrusted archive or document can raise anything
        detail = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise MalformedError(f"not a readable Excel workbook ({detail[:200]})") from None


def _check_size(path: Path) -> None:
    """Refuses an archive that unfolds without end; what it says of its sizes, zipfile enforces."""
    with zipfile.ZipFile(path) as archive:
        parts = archive.infolist()
        if sum(part.file_size for part in parts) > MAX_EXCEL_BYTES:
            raise MalformedError(
                f"decompresses to more than {MAX_EXCEL_BYTES} bytes; save the sheet as CSV"
            )
        shared = [part for part in parts if not part.filename.startswith("xl/worksheets/")]
        if sum(part.file_size for part in shared) > MAX_SHARED_BYTES:
            raise MalformedError(
                f"its texts decompress to more than {MAX_SHARED_BYTES} bytes; save the sheet as CSV"
            )
        for part in parts:
            if part.filename.endswith(".xml"):
                with archive.open(part) as file:
                    if b"<!DOCTYPE" in file.read(4096):
                        raise MalformedError(f"{part.filename[:80]} declares a document type")
