"""Progress bars on a terminal; none elsewhere."""

from __future__ import annotations

from typing import Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from mentorgrad.cli.support.output import Output


class Live:
    """Context manager that shows progress bars; a subclass updates them.

    Args:
        out: Output to use.
        width: Width of a bar, characters.
    """

    def __init__(self, out: Output, width: int) -> None:
        self._out = out
        self._bars: Progress | None = None
        """None if the output is not a terminal."""
        if out.is_terminal:
            self._bars = Progress(
                TextColumn("{task.description}", style="bold", markup=False),
                BarColumn(bar_width=width),
                MofNCompleteColumn(),
                TextColumn("{task.fields[status]}", markup=False),
                console=out.console,
            )

    def __enter__(self) -> Self:
        if self._bars is not None:
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars is not None:
            self._bars.stop()
