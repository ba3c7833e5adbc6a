"""A cross-encoder, held by the process that computes: it reads a query and a text together and tells how relevant that text is. No Ray.

A replica holds one. Work of several executions comes in one batch; what comes back is cut to the calls again.
"""

import time
from collections.abc import Sequence
from typing import Any

from actors.models import ModelSource
from actors.weights import prepare
from workflow.errors import NodeError


class ScoringModel:
    """A loaded model. Not for several threads at once."""

    precision = "float32"
    """What is near in a ranking differs by less than what bfloat16 can tell apart."""

    def __init__(self, source: ModelSource, *, threads: int) -> None:
        """Load it. Raises `NodeError`: `model_unknown` also where it is no model that ranks, `model_altered`."""
        began_s = time.monotonic()
        prepared = prepare(source, threads)
        from sentence_transformers import CrossEncoder

        self.source = source
        self.device = prepared.device
        self._model: Any = CrossEncoder(prepared.path, device=prepared.device, local_files_only=not source.hub)
        self._model.to(prepared.torch.float32)
        if self._model.num_labels != 1:
            message = (
                f"{source.name} does not rank: it gives {self._model.num_labels} numbers for a text instead of one"
            )
            raise NodeError(message, "model_unknown", {"model": source.name, "retryable": False})
        self.load_s = round(time.monotonic() - began_s, 2)

    def score(self, calls: Sequence[tuple[str, Sequence[str]]]) -> list[list[float]]:
        """Return a score for each text of each call (query, texts), computed as one batch; what is beyond the model's window is cut."""
        pairs = [(query, text) for query, texts in calls for text in texts]
        if not pairs:
            return [[] for _ in calls]
        made = self._model.predict(pairs, batch_size=self.source.batch_max, show_progress_bar=False).tolist()
        found, start = [], 0
        for _, texts in calls:
            found.append(made[start : start + len(texts)])
            start += len(texts)
        return found
