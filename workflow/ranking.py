"""How found passages are put in order: ranks fused, and the same not said twice. Pure."""

from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

K = TypeVar("K", bound=Hashable)

RANK_CONSTANT = 60
"""Reciprocal rank fusion as published (Cormack, Clarke and Büttcher, SIGIR 2009): 60 damps the weight of single first places."""


def fused(rankings: Sequence[Sequence[K]], weights: Sequence[float] | None = None) -> dict[K, float]:
    """Return the score of each element by reciprocal rank fusion, best first; equal scores in the order of the first ranking."""
    scores: dict[K, float] = {}
    for number, ranking in enumerate(rankings):
        weight = 1.0 if weights is None else weights[number]
        for rank, element in enumerate(ranking, 1):
            scores[element] = scores.get(element, 0.0) + weight / (RANK_CONSTANT + rank)
    return dict(sorted(scores.items(), key=lambda entry: -entry[1]))


def diverse(scores: Mapping[K, float], vectors: Mapping[K, Sequence[float]], count: int, diversity: float) -> list[K]:
    """Return `count` elements by maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998).

    Each next one is the best by its score, spread to 0..1, less its likeness to what was chosen before; `diversity` (0 to 1) weighs the
    two. Vectors have length 1; what has none is like nothing.
    """
    left = list(scores)
    low, high = min(scores.values(), default=0.0), max(scores.values(), default=0.0)
    spread = {key: (value - low) / (high - low) if high > low else 1.0 for key, value in scores.items()}
    likeness = dict.fromkeys(left, 0.0)
    chosen: list[K] = []
    while left and len(chosen) < count:
        best = max(left, key=lambda key: (1 - diversity) * spread[key] - diversity * likeness[key])
        left.remove(best)
        chosen.append(best)
        for key in left:
            likeness[key] = max(likeness[key], _cosine(vectors.get(best), vectors.get(key)))
    return chosen


def _cosine(one: Sequence[float] | None, other: Sequence[float] | None) -> float:
    return 0.0 if one is None or other is None else sum(a * b for a, b in zip(one, other, strict=True))
