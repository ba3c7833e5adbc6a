"""A model that embeds texts, held by the process that computes: loading, precision, batches. No Ray.

A replica holds one. Work of several executions comes in one batch; what comes back is cut to the calls again.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from actors.models import ModelSource
from actors.weights import prepare
from workflow.models import Purpose

CHARS_PER_TOKEN_MIN = 0.25
"""No tokenizer makes more than four tokens of a character; what is far beyond a model's window need not be tokenized."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """What one call gave: float32 rows, packed one after the other, and how many tokens its texts had."""

    data: bytes
    dimension: int
    tokens: int


class EmbeddingModel:
    """A loaded model. Not for several threads at once."""

    def __init__(self, source: ModelSource, *, threads: int) -> None:
        """Load it. Raises `NodeError`: `model_unknown`, `model_altered` where the weights are not those of the hash."""
        began_s = time.monotonic()
        prepared = prepare(source, threads)
        from sentence_transformers import SentenceTransformer

        self.source = source
        self.device = prepared.device
        self._torch = prepared.torch
        self._model: Any = SentenceTransformer(prepared.path, device=self.device, local_files_only=not source.hub)
        self.precision = "float32"
        if self.device == "cpu" and computes_bf16(self._torch):
            self._model.to(self._torch.bfloat16)
            self.precision = "bfloat16"
        self.dimension = int(self._model.get_embedding_dimension() or 0)
        self.window_tokens = int(self._model.max_seq_length or 0)
        self.load_s = round(time.monotonic() - began_s, 2)

    def encode(self, calls: Sequence[tuple[Sequence[str], Purpose]]) -> list[Embedded]:
        """Embed the texts of several calls as one batch; texts beyond the model's window are cut."""
        prefixes = {Purpose.QUERY: self.source.query_prefix, Purpose.PASSAGE: self.source.passage_prefix}
        texts = [prefixes[purpose] + text for each, purpose in calls for text in each]
        if not texts:
            return [Embedded(data=b"", dimension=self.dimension, tokens=0) for _ in calls]
        with self._torch.inference_mode():
            made = self._model.encode(
                texts,
                batch_size=self.source.batch_max,
                convert_to_tensor=True,
                normalize_embeddings=False,
                show_progress_bar=False,
            ).float()
            rows = self._torch.nn.functional.normalize(made, dim=1).cpu().numpy()
        counts = self._tokens(texts)
        found, start = [], 0
        for each, _ in calls:
            end = start + len(each)
            found.append(
                Embedded(data=rows[start:end].tobytes(), dimension=self.dimension, tokens=sum(counts[start:end]))
            )
            start = end
        return found

    def _tokens(self, texts: Sequence[str]) -> list[int]:
        """Count the tokens that the model has read of each text."""
        encodings = self._model.tokenizer.backend_tokenizer.encode_batch(
            [text[: int(self.window_tokens / CHARS_PER_TOKEN_MIN) * 4] for text in texts], add_special_tokens=True
        )
        return [min(sum(encoding.attention_mask), self.window_tokens) for encoding in encodings]


def computes_bf16(torch: Any) -> bool:
    """Whether this processor computes with bfloat16 itself; emulated it is slower than float32."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # noqa: SLF001 - there is no public name for it
