"""What runs inside a worker process of templates: reads requests from its socket (descriptor 0), answers them.

Started by path in an isolated interpreter without packages; `templates` is the other end. Templates see JSON data and nothing else,
their steps are counted, and the memory of this process has an end.
"""

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from quickjs_program import ERROR, VALUE, load_engine, serve  # type: ignore[import-not-found]

STEPS_MAX = 5_000_000
TOO_LONG = "it is longer than"


def evaluate(minijinja: Any, request: bytes) -> tuple[int, bytes, bytes]:
    """Fill one template in; return the kind of the answer, the answer and nothing."""
    asked = json.loads(request)
    environment = minijinja.Environment()
    environment.fuel = STEPS_MAX
    environment.undefined_behavior = "semi_strict"
    environment.debug = True
    try:
        text = environment.render_str(asked["template"], **asked["variables"])
    except BaseException as error:  # noqa: BLE001 - a panic of the engine is none of Python's exceptions
        return ERROR, str(error).encode("utf-8", "replace"), b""
    if len(text) > asked["charsMax"]:
        return ERROR, f"{TOO_LONG} {asked['charsMax']} characters".encode(), b""
    return VALUE, text.encode("utf-8", "replace"), b""


class TemplateFailure(RuntimeError):
    """What the engine says is wrong with a template."""

    def __init__(self, info: Any) -> None:
        super().__init__(info.description)


def stand_in() -> None:
    """Put something in the place of the Python half of the engine's package, which it asks for when a template fails."""
    package, internal = ModuleType("minijinja"), ModuleType("minijinja._internal")
    internal.make_error = TemplateFailure  # type: ignore[attr-defined]
    internal.mark_safe = str  # type: ignore[attr-defined]
    sys.modules.update({"minijinja": package, "minijinja._internal": internal})


def main(engine_path: str) -> None:
    """Serve requests until the socket closes."""
    stand_in()
    minijinja = load_engine(engine_path)
    serve(lambda request, _seconds, _memory_bytes: evaluate(minijinja, request), lambda: None)


if __name__ == "__main__":
    main(sys.argv[1])
