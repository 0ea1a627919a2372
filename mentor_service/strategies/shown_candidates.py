"""Selects candidates of the pool to show in prompts; pure functions of a session's knowledge."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Sequence

import numpy as np

from mentor_service.prompts import Shown
from mentor_service.protocols import Knowledge
from mentor_service.similarity import canonical, plain_letters
from mentorgrad.domain.run import Candidate, CandidateSource

MOST_PLACES = 48
"""Maximum words of a pattern; longer ones make grammars too large."""


def ranked(
    known: Knowledge, sources: Collection[CandidateSource] = tuple(CandidateSource)
) -> list[Candidate]:
    """The candidates with words and a finite loss, best first, without duplicate words.

    If a snapshot and its projection have the same words, the projection is kept: its loss is the
    loss of these words.

    Args:
        known: The session's knowledge.
        sources: Only candidates from these.
    """
    chosen: dict[str, Candidate] = {}
    for candidate in known.pool.values():
        key = canonical(candidate.text) or candidate.text
        if not key or not math.isfinite(candidate.score.loss) or candidate.source not in sources:
            continue
        other = chosen.get(key)
        if other is None or _rank(candidate) < _rank(other):
            chosen[key] = candidate
    return sorted(chosen.values(), key=lambda item: item.score.loss)


def best(
    known: Knowledge, top_k: int, sources: Collection[CandidateSource] = tuple(CandidateSource)
) -> list[Candidate]:
    """The `top_k` candidates of lowest loss, worst first, without duplicate words; of all `sources`
    or of some."""
    return ranked(known, sources)[:top_k][::-1]


def spread(candidates: Sequence[Candidate], count: int) -> list[Candidate]:
    """At most `count` of the ranked candidates, evenly spaced from best to worst; worst first."""
    if len(candidates) <= count:
        return list(candidates)[::-1]
    places = np.linspace(0, len(candidates) - 1, count).round().astype(int).tolist()
    return [candidates[place] for place in dict.fromkeys(places)][::-1]


def under_settings(known: Knowledge) -> list[Candidate]:
    """What is known of settings, in order of arrival: the snapshots, and proposed settings that
    steps were taken with."""
    return [
        candidate
        for candidate in known.pool.values()
        if candidate.settings is not None
        and math.isfinite(candidate.score.loss)
        and (candidate.source is CandidateSource.SNAPSHOT or candidate.probe_loss is not None)
    ]


def best_snapshot(known: Knowledge) -> str:
    """Id of the soft snapshot of lowest loss; empty if there is none."""
    snapshots = [
        candidate
        for candidate in known.pool.values()
        if candidate.source is CandidateSource.SNAPSHOT and math.isfinite(candidate.score.loss)
    ]
    return min(snapshots, key=lambda item: item.score.loss).candidate_id if snapshots else ""


def texts(known: Knowledge) -> list[str]:
    """The texts of all candidates of the pool."""
    return [candidate.text for candidate in known.pool.values() if candidate.text]


def plain_words(candidate: Candidate, longest: int) -> tuple[str, ...]:
    """The first words of a candidate that consist of ASCII letters, as grammars need them; at most
    `longest` and at most `MOST_PLACES`."""
    words = (word for word in canonical(candidate.text).split() if plain_letters(word))
    return tuple(itertools.islice(words, min(longest, MOST_PLACES)))


def alike(known: Knowledge, one: Candidate, other: Candidate) -> float:
    """Similarity of two candidates, at most 1: the cosine of their embeddings, or without
    embeddings the Jaccard index of their words."""
    left = known.embeddings.get(one.candidate_id)
    right = known.embeddings.get(other.candidate_id)
    if left is not None and right is not None:
        return float(left @ right)
    mine, others = set(canonical(one.text).split()), set(canonical(other.text).split())
    return len(mine & others) / max(1, len(mine | others))


def show(candidate: Candidate) -> Shown:
    """Converts a candidate to its form in prompts."""
    return Shown(
        text=candidate.text,
        loss=candidate.score.loss,
        accuracy=candidate.score.accuracy,
        toward=candidate.toward_text,
        source=candidate.source.value,
        settings=candidate.settings,
        probe_loss=candidate.probe_loss,
    )


def _rank(candidate: Candidate) -> tuple[bool, float]:
    return candidate.source is CandidateSource.SNAPSHOT, candidate.score.loss
