"""Keeps the incomplete blocks of snapshots of the runs that a process appends to."""

from __future__ import annotations

import threading
from collections import OrderedDict

from run_store.snapshot_blocks import BlockMaker

_KEPT_MAKERS = 64
"""Runs whose incomplete blocks are kept."""


class KeptMakers:
    """The incomplete blocks of the runs that this process appends to, so that an append need not
    read what the one before wrote. Thread-safe."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, tuple[int, BlockMaker]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, run_id: str, last_seq: int) -> BlockMaker | None:
        """What was kept of a run, unless others have appended since. It is kept no longer: the
        transaction at hand may fail."""
        with self._lock:
            seq, maker = self._kept.pop(run_id, (-1, None))
        return maker if seq == last_seq else None

    def keep(self, run_id: str, last_seq: int, maker: BlockMaker | None) -> None:
        """Keeps the incomplete block of a run after the commit of its event `last_seq`."""
        if maker is None:
            return
        with self._lock:
            self._kept[run_id] = (last_seq, maker)
            if len(self._kept) > _KEPT_MAKERS:
                self._kept.popitem(last=False)
