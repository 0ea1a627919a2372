"""Exact nearest-token search for soft-prompt vectors, fast for consecutive snapshots.

A full search compares each position of each snapshot with every word: 8 positions and 22,000 words
of 384 numbers take 68 million multiplications per snapshot. But the snapshots of a trajectory lie
near a low-dimensional subspace. So each position keeps a basis B of the directions seen so far and
the products T·Bᵀ of all words with them. For a vector x = c·B + e, the dot product with a word v is
c·(B v) up to ‖e‖·‖v‖ (Cauchy-Schwarz). Only words within that bound of the best are compared
exactly. A new direction costs one product with the table, and most snapshots need none. The result
equals that of the full search and does not depend on earlier searches.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.nn import functional

from mentorgrad.domain.objective import Metric
from mentorgrad.errors import InvalidInput
from trainer_service.encoding.token_table import TokenTable

_BLOCK = 128
"""Words per block; `_settle` compares block maxima first."""
_RESIDUAL = 0.05
"""Maximum ‖e‖ before the basis grows, relative to the mean norm of the token vectors."""
_MOST_DIRECTIONS = 32
"""Maximum directions per position; beyond it the basis is rebuilt."""
_MEMORY = 64 * 1024 * 1024
"""Maximum bytes of scores held at once."""
_BASIS_MEMORY = 256 * 1024 * 1024
"""Maximum bytes of basis products; larger prompts use the full search."""
_ROUNDING = 1e-5
"""Upper bound on the relative float32 rounding error of a dot product."""


@dataclass(frozen=True)
class Vocabulary:
    """The tokens that a projection may return."""

    ids: Tensor
    """int64 [tokens], ascending."""
    words: Mapping[int, str]
    """Maps each id to its text."""

    @classmethod
    def of(
        cls,
        tokens: TokenTable,
        *,
        whole_words: bool,
        first_id: int = 0,
        last_id: int | None = None,
    ) -> Vocabulary:
        """Selects tokens of a model; special tokens are always left out.

        Args:
            tokens: The model's tokens.
            whole_words: Only tokens of two or more letters (and nothing else) whose text is
                tokenised to that token alone; only those that begin with the `word_lead` of the
                tokens, since others may be the end of a word.
            first_id: Minimum id.
            last_id: Maximum id; None: no maximum.

        Raises:
            InvalidInput: No token is left.
        """
        known = _SELECTED.setdefault(tokens, {})
        chosen = (whole_words, first_id, last_id)
        if chosen not in known:
            known[chosen] = cls._select(tokens, *chosen)
        return known[chosen]

    @classmethod
    def _select(
        cls, tokens: TokenTable, whole_words: bool, first_id: int, last_id: int | None
    ) -> Vocabulary:
        every = set(tokens.vocabulary().values()) - tokens.special_ids
        ids = sorted(i for i in every if first_id <= i and (last_id is None or i <= last_id))
        texts = tokens.many_texts_of([[token] for token in ids])
        if not whole_words:
            kept = [
                (token, text)
                for token, text in zip(ids, texts, strict=True)
                if token == tokens.filler_id or (_is_text(text) and not text.startswith("[unused"))
            ]
        else:
            wordlike = [
                (token, text)
                for token, text in zip(ids, texts, strict=True)
                if len(word := text.strip()) > 1
                and word.isalpha()
                and text.startswith(tokens.word_lead)
            ]
            back = tokens.many_token_ids([text for _, text in wordlike])
            kept = [pair for pair, again in zip(wordlike, back, strict=True) if again == [pair[0]]]
        if not kept:
            raise InvalidInput("the projection's settings leave no tokens", reason="NO_TOKENS")
        return cls(torch.tensor([token for token, _ in kept], dtype=torch.int64), dict(kept))


def _is_text(text: str) -> bool:
    """Whether a text can be shown and read again: not so control characters, and the bytes of
    characters that have no token of their own."""
    return bool(text) and text.isprintable() and "\ufffd" not in text


_SELECTED: WeakKeyDictionary[TokenTable, dict[tuple[bool, int, int | None], Vocabulary]] = (
    WeakKeyDictionary()
)
"""Selections made so far: each takes half a second for 30,000 tokens."""


@dataclass(frozen=True)
class NearestMatches:
    """Result of a nearest-row search."""

    rows: Tensor
    """int64 [...]: row indices of the table; on ties the lowest."""
    distances: Tensor
    """float64 [...]: 1 − cosine, or Euclidean."""


class NearestRows:
    """Exact nearest-row search in a table.

    `search` compares with every row. `search_along` returns the same result and is much faster for
    consecutive snapshots. Thread-safe.

    Args:
        table: float32 [rows, width].
        metric: Distance metric.
    """

    def __init__(self, table: Tensor, metric: Metric) -> None:
        self._is_cosine = metric is not Metric.L2
        # The token farthest from a vector is the one nearest to its opposite.
        self._sign = -1.0 if metric is Metric.FARTHEST_COSINE else 1.0
        rows = functional.normalize(table, dim=-1) if self._is_cosine else table
        padding = -len(rows) % _BLOCK
        self._table = functional.pad(rows, (0, 0, 0, padding)).contiguous()
        squares = rows.double().square().sum(-1)
        # The nearest row has the greatest score x·v + bias(v), for both metrics.
        bias = torch.zeros_like(squares) if self._is_cosine else -0.5 * squares
        self._bias = functional.pad(bias, (0, padding), value=-torch.inf)
        self._bias32 = self._bias.float()
        norms = squares.sqrt()
        self._longest = float(norms.max())
        self._residual = _RESIDUAL * float(norms.mean())
        self._lock = threading.Lock()
        self._basis = self._table.new_empty(0, 0, 0)
        self._products = self._table.new_empty(0, 0, 0)

    def search(self, vectors: Tensor) -> NearestMatches:
        """Searches vectors [..., width] by comparison with every row; returns [...]."""
        queries = self._queries(vectors).flatten(0, -2)
        chunk = max(1, _MEMORY // (4 * len(self._table)))
        parts = []
        for part in torch.split(queries, chunk):
            scores = functional.linear(part.float(), self._table) + self._bias32
            slack = torch.zeros(len(part), dtype=torch.float64, device=part.device)
            parts.append(self._settle(part, scores, slack))
        return self._found(queries, torch.cat(parts), vectors.shape[:-1])

    def search_along(self, vectors: Tensor) -> NearestMatches:
        """Same as `search` for [snapshots, positions, width]; returns [snapshots, positions]."""
        positions = vectors.shape[1]
        basis_bytes = 4 * positions * len(self._table) * _MOST_DIRECTIONS
        # On accelerators a full search is cheap, and decisions on the host force a sync.
        if vectors.device.type != "cpu" or basis_bytes > _BASIS_MEMORY:
            return self.search(vectors)
        chunk = max(1, min(_MOST_DIRECTIONS, _MEMORY // (4 * len(self._table) * positions)))
        queries = self._queries(vectors)
        with self._lock:
            parts = [self._along(part.transpose(0, 1)) for part in torch.split(queries, chunk)]
        rows = torch.cat(parts)
        return self._found(queries.flatten(0, 1), rows.flatten(), vectors.shape[:-1])

    # -- within -------------------------------------------------------------------------------

    def _queries(self, vectors: Tensor) -> Tensor:
        exact = vectors.detach().double()
        return self._sign * functional.normalize(exact, dim=-1) if self._is_cosine else exact

    def _found(self, queries: Tensor, rows: Tensor, shape: Sequence[int]) -> NearestMatches:
        scores = self._exact(queries, rows)
        if self._is_cosine:
            distances = 1.0 - self._sign * scores
        else:
            distances = (queries.square().sum(-1) - 2.0 * scores).clamp_min(0.0).sqrt()
        return NearestMatches(rows.reshape(shape), distances.reshape(shape))

    def _exact(self, queries: Tensor, rows: Tensor) -> Tensor:
        """Scores queries [n, width] against rows [n] pairwise, in float64.

        A pair's score does not depend on the other pairs of the batch.
        """
        return (queries * self._table[rows].double()).sum(-1) + self._bias[rows]

    def _settle(self, queries: Tensor, scores: Tensor, slack: Tensor) -> Tensor:
        """Best row of each query, given scores with an error of at most `slack`.

        Args:
            queries: float64 [n, width].
            scores: float32 [n, rows].
            slack: float64 [n], without rounding errors.
        """
        reach = slack + _ROUNDING * (1.0 + queries.norm(dim=-1)) * max(1.0, self._longest) ** 2
        blocks = scores.view(len(scores), -1, _BLOCK)
        peaks = blocks.amax(-1)
        floor = peaks.amax(-1) - 2.0 * reach.float()
        query, block = (peaks >= floor.unsqueeze(-1)).nonzero(as_tuple=True)
        which, offset = (blocks[query, block] >= floor[query].unsqueeze(-1)).nonzero(as_tuple=True)
        query, rows = query[which], block[which] * _BLOCK + offset
        exact = torch.cat(
            [
                self._exact(queries[some], these)
                for some, these in zip(
                    torch.split(query, 65_536), torch.split(rows, 65_536), strict=True
                )
            ]
        )
        best = exact.new_full((len(queries),), -torch.inf).scatter_reduce_(0, query, exact, "amax")
        rows = torch.where(exact == best[query], rows, len(self._table))
        first = rows.new_full((len(queries),), len(self._table))
        return first.scatter_reduce_(0, query, rows, "amin")

    def _along(self, queries: Tensor) -> Tensor:
        """Searches queries float64 [positions, k, width]; returns rows [k, positions]."""
        coefficients, rest = self._explain(queries)
        slack = rest.norm(dim=-1)
        flat = queries.flatten(0, 1)
        if float(slack.max()) > 2.0 * self._residual:  # residual too large for a useful bound
            scores = functional.linear(flat.float(), self._table) + self._bias32
            slack = torch.zeros_like(slack)
        else:
            products = self._products[:, : coefficients.shape[-1]]
            bias = self._bias32.view(1, 1, -1)
            scores = torch.baddbmm(bias, coefficients.float(), products).flatten(0, 1)
        rows = self._settle(flat, scores, slack.flatten() * self._longest)
        return rows.view(queries.shape[:2]).transpose(0, 1)

    def _explain(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Splits [positions, k, width] into basis coefficients and residuals.

        Extends the basis until the residuals are below the limit.
        """
        if len(self._basis) != len(x):
            self._forget(len(x))
        coefficients, rest = self._split(x)
        if float(rest.norm(dim=-1).max()) <= self._residual:
            return coefficients, rest
        directions = self._directions(rest)
        if self._basis.shape[1] + directions.shape[1] > _MOST_DIRECTIONS:
            self._forget(len(x))
            directions = self._directions(x)
        known, count = self._basis.shape[1], directions.shape[1]
        products = functional.linear(directions.float().flatten(0, 1), self._table)
        self._products[:, known : known + count] = products.view(len(x), count, -1)
        self._basis = torch.cat([self._basis, directions], dim=1)
        return self._split(x)

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        coefficients = x @ self._basis.mT
        return coefficients, x - coefficients @ self._basis

    def _directions(self, rest: Tensor) -> Tensor:
        """Minimal orthonormal directions [positions, m, width] for residuals [positions, k, width].

        With them each row's residual is below the limit. Positions that need fewer than m
        directions get zeros, because a direction of rounding errors is not orthogonal to the basis.
        """
        squares, vectors = torch.linalg.eigh(rest @ rest.mT)
        squares, vectors = squares.flip(-1).clamp_min(0.0), vectors.flip(-1)
        shares = squares.unsqueeze(1) * vectors.square()  # [positions, k, direction]
        left = shares.sum(-1, keepdim=True) - shares.cumsum(-1)
        enough = left.amax((0, 1)) <= (0.9 * self._residual) ** 2
        count = min(int((~enough).sum()) + 1, vectors.shape[-1])
        chosen = vectors[..., :count].mT @ rest
        lengths = chosen.norm(dim=-1, keepdim=True)
        return torch.where(lengths > 0.1 * self._residual, chosen / lengths, 0.0)

    def _forget(self, positions: int) -> None:
        rows, width = self._table.shape
        if len(self._products) != positions:
            self._products = self._table.new_zeros(positions, _MOST_DIRECTIONS, rows)
        self._basis = self._table.new_empty(positions, 0, width, dtype=torch.float64)


@dataclass(frozen=True)
class Projections:
    """Soft prompts projected to tokens."""

    ids: list[list[int]]
    """Token ids, [k][positions]."""
    distances: list[float]
    """Mean distance between a prompt's vectors and their tokens, [k]."""


class WordProjector:
    """Projects soft prompts to tokens of a vocabulary.

    Args:
        tokens: The model's tokens.
        vocabulary: Tokens that may be returned.
        metric: Distance metric.
        apart: Whether to put a space between all tokens, even between pieces of one word.
    """

    def __init__(
        self,
        tokens: TokenTable,
        vocabulary: Vocabulary,
        metric: Metric,
        *,
        apart: bool = False,
    ) -> None:
        self._apart = apart
        self._ids = vocabulary.ids.to(tokens.vectors.device)
        self._words = vocabulary.words
        self._text_of = tokens.text_of
        self._joint = tokens.joint
        table = tokens.vectors[self._ids]
        self._nearest = NearestRows(table, metric)
        self._directions = (
            self._nearest if metric is Metric.COSINE else NearestRows(table, Metric.COSINE)
        )

    def nearest(self, vectors: Tensor) -> Projections:
        """Nearest tokens of [k, positions, width]; fast for consecutive snapshots."""
        found = self._nearest.search_along(vectors)
        return Projections(self._ids[found.rows].tolist(), found.distances.mean(-1).tolist())

    def toward(self, start: Tensor, vectors: Tensor) -> list[list[int]]:
        """Tokens nearest, by cosine, to the displacements of [k, positions, width] from `start`.

        For a zero displacement: the token nearest to the vector itself.
        """
        moves = vectors.detach() - start.detach()
        still = (moves == 0).all(-1, keepdim=True)
        found = self._directions.search(torch.where(still, vectors.detach(), moves))
        ids: list[list[int]] = self._ids[found.rows].tolist()
        return ids

    def text(self, ids: Sequence[int]) -> str:
        """Text of token ids; text of whole words is tokenised to the same ids."""
        if self._apart:
            words = (self._words.get(token) or self._text_of([token]) for token in ids)
            return " ".join(word.strip() for word in words)
        if all(token in self._words for token in ids):
            pieces = [self._words[token] for token in ids]
            if all(piece.strip().isalpha() for piece in pieces):
                return self._joint.join(pieces)
        return self._text_of(ids)
