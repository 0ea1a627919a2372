"""A group of processes as threads of this one, of which one computes at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from trainer_service.objectives.problem import Problem
from trainer_service.process_group.answering import Leader, follow

_HANGS = 60.0
"""Seconds that only a hang exceeds."""


class Meeting:
    """Where the threads of a group meet."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.turn = threading.Lock()
        self._held: list[Any] = [None] * size
        self._barrier = threading.Barrier(size, timeout=_HANGS)

    def exchange(self, number: int, value: Any) -> list[Any]:
        """What all threads bring; lets them compute meanwhile."""
        self._held[number] = value
        self.turn.release()
        try:
            self._barrier.wait()
            found = list(self._held)
            self._barrier.wait()
        finally:
            self.turn.acquire()
        return found


class ThreadCollectives:
    """The `Collectives` of one thread, which holds the meeting's turn while it computes."""

    def __init__(self, meeting: Meeting, number: int) -> None:
        self.number, self.size = number, meeting.size
        self._meeting = meeting

    def broadcast(self, tensor: Tensor) -> None:
        tensor.copy_(self._meeting.exchange(self.number, tensor.clone())[0])

    def total(self, tensor: Tensor) -> None:
        found = self._meeting.exchange(self.number, tensor.clone())
        if self.number == 0:
            tensor.copy_(sum(found[1:], found[0]))

    def greatest(self, numbers: Sequence[int]) -> list[int]:
        found = self._meeting.exchange(self.number, list(numbers))
        return [max(column) for column in zip(*found, strict=True)]


@contextmanager
def together(*problems: Problem) -> Iterator[None]:
    """In this block, the first problem answers together with the others, each in a thread. They may
    be the same."""
    meeting = Meeting(len(problems))

    def run(number: int) -> None:
        torch.set_num_threads(1)
        with meeting.turn:
            follow(problems[number], ThreadCollectives(meeting, number))

    threads = [threading.Thread(target=run, args=(n,)) for n in range(1, len(problems))]
    for thread in threads:
        thread.start()
    with meeting.turn:

        def end() -> None:
            problems[0].group = None

        group, devices = ThreadCollectives(meeting, 0), ("cpu",) * len(problems)
        problems[0].group = Leader(problems[0], group, devices, end)
        try:
            yield
        finally:
            if problems[0].group is not None:  # the run has not ended it
                problems[0].group.close()
    for thread in threads:
        thread.join(_HANGS)
