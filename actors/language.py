"""A language model in llama.cpp's format, held by the process that computes. No Ray.

The server of llama.cpp runs inside of this process and batches what comes at once; a native crash ends this process alone.
"""

import asyncio
import os
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from actors.chat import payload_of
from actors.models import ModelSource, Wire
from actors.weights import check_weights
from workflow.errors import NodeError
from workflow.models import ChatRequest

SUFFIX = ".gguf"


class LanguageModel:
    """A loaded model. Several answers may be under way at once."""

    def __init__(self, source: ModelSource, *, threads: int, context_tokens: int, parallel: int) -> None:
        """Load it. Raises `NodeError`: `model_unknown`, `model_altered` where the weights are not those of the hash."""
        began_s = time.monotonic()
        path = weights_of(source)
        check_weights(path, source)
        import xllamacpp

        options = xllamacpp.CommonParams()
        options.model.path = str(path)
        options.n_ctx = context_tokens * parallel
        options.n_parallel = parallel
        options.cpuparams.n_threads = threads
        options.warmup = False
        self.source = source
        self._server: Any = xllamacpp.Server(options)
        self.load_s = round(time.monotonic() - began_s, 2)

    async def chunks(self, request: ChatRequest) -> AsyncGenerator[dict[str, Any]]:
        """Yield the answer's chunks as they come. Closing the iterator stops the model."""
        loop = asyncio.get_running_loop()
        arrived: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        stopped = False

        def tell(chunk: dict[str, Any] | None) -> bool:
            loop.call_soon_threadsafe(arrived.put_nowait, chunk)
            return stopped

        def compute() -> None:
            try:
                self._server.handle_chat_completions(payload_of(request, self.source.name, Wire()), tell)
            except Exception as error:  # noqa: BLE001 - whatever the native code raises is the answer's end
                tell({"error": {"message": f"{type(error).__name__}: {error}"}})
            finally:
                tell(None)

        computing = loop.run_in_executor(None, compute)
        try:
            while (chunk := await arrived.get()) is not None:
                yield chunk
        finally:
            stopped = True
            await asyncio.shield(computing)


def weights_of(source: ModelSource) -> Path:
    """Return the file of weights: the one that is named, or the only one in the folder. Raises `NodeError` (`model_unknown`)."""
    path = Path(source.path())
    if path.is_file():
        return path
    found = sorted(path.rglob(f"*{SUFFIX}")) if path.is_dir() else []
    if len(found) != 1:
        message = f"the model {source.name} cannot be loaded: {len(found)} files *{SUFFIX} in {path.name or os.sep}"
        raise NodeError(message, "model_unknown", {"retryable": False})
    return found[0]
