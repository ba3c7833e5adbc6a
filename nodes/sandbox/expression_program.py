"""What runs inside a worker process of expressions: reads requests from its socket (descriptor 0), answers them.

Started by path in an isolated interpreter without packages, so it imports nothing of ours but the module beside it;
`expressions` is the other end. Each execution gets a runtime of its own, which was made while the worker was idle and is used
again as long as the requests are that execution's: everything in it that an expression can reach is frozen.
"""

import os
import struct
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from quickjs_program import ENGINE, STACK_BYTES, VALUE, load_engine, serve  # type: ignore[import-not-found]

# The prelude is loaded as if so many lines stood before it: the places of expressions are at smaller ones.
PRELUDE_LINES = 100_000
PRELUDE = ("functions", "dates", "hashes", "jmespath", "lockdown", "engine")
HEAD = "const library = {}, RealFunction = Function, RealDate = Date;"
SIZE = struct.Struct("!Q")


def prelude(folder: Path) -> str:
    """Return the program that every runtime begins with: an expression whose value is the function that evaluates."""
    parts = [(folder / f"{name}.js").read_text(encoding="utf-8") for name in PRELUDE]
    return "\n" * PRELUDE_LINES + "\n".join(['(function () { "use strict";', HEAD, *parts, "})()"])


def sections(request: bytes) -> list[str]:
    """Split a request into its texts."""
    texts, position = [], 0
    while position < len(request):
        (size,) = SIZE.unpack_from(request, position)
        position += SIZE.size
        texts.append(request[position : position + size].decode())
        position += size
    return texts


class Evaluator:
    """Evaluates requests; the next execution's runtime is made before it is needed."""

    def __init__(self, quickjs: Any, program: str) -> None:
        self._quickjs = quickjs
        self._program = program
        self._ready: tuple[Any, Any] | None = None
        self._present: tuple[Any, Any] | None = None
        self._owner = ""

    def prepare(self) -> None:
        """Make the runtime of the next execution."""
        if self._ready is None:
            self._ready = self._make()

    def _make(self) -> tuple[Any, Any]:
        context = self._quickjs.Context()
        context.set_max_stack_size(STACK_BYTES)
        return context, context.eval(self._program)

    def evaluate(self, request: bytes, seconds: float, memory_bytes: int) -> tuple[int, bytes, bytes]:
        """Run one request; return the kind of the answer, the answer and nothing."""
        owner, *texts = sections(request)
        context, run = self._runtime_of(owner)
        context.set_memory_limit(memory_bytes)
        context.set_time_limit(seconds)
        try:
            return VALUE, run(*texts).encode(), b""
        except self._quickjs.JSException as error:
            self._present = None  # it was stopped somewhere in the middle
            return ENGINE, str(error).encode("utf-8", "replace"), b""

    def _runtime_of(self, owner: str) -> tuple[Any, Any]:
        if self._present is None or self._owner != owner:
            self._present, self._ready, self._owner = self._ready or self._make(), None, owner
        return self._present


def main(engine_path: str) -> None:
    """Serve requests until the socket closes."""
    os.environ["TZ"] = "UTC0"
    time.tzset()
    evaluator = Evaluator(load_engine(engine_path), prelude(Path(__file__).with_name("prelude")))
    evaluator.prepare()
    serve(evaluator.evaluate, evaluator.prepare)


if __name__ == "__main__":
    main(sys.argv[1])
