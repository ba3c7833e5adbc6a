"""What can go wrong with user code, as `NodeError`s with stable codes, and the limits on what comes out."""

from dataclasses import dataclass
from typing import Any

from workflow.errors import BadInput, NodeError
from workflow.spec import CodeLimits
from workflow.values import decode

RESULT_BYTES_MAX = 16 * 1024 * 1024
"""How large a result may be, as JSON."""
MESSAGE_CHARS_MAX = 2_000
KILL_GRACE_MS = 500
"""How long after its time limit an evaluation may end by itself before its process is killed."""


@dataclass(frozen=True, slots=True)
class UserError:
    """An exception of user code: type, message, line (from 1, of the user's text) and the item it was at (from 0)."""

    type: str
    message: str
    line: int | None = None
    item_index: int | None = None

    def fields(self) -> dict[str, Any]:
        """Return what of it goes into the fields of an error."""
        fields: dict[str, Any] = {"type": self.type}
        if self.line is not None:
            fields["line"] = self.line
        if self.item_index is not None:
            fields["item_index"] = self.item_index
        return fields

    def sentence(self) -> str:
        """Return it as one line for people."""
        text = f"{self.type}: {self.message}" if self.message else self.type
        places = [f"line {self.line}"] if self.line is not None else []
        places += [f"item {self.item_index}"] if self.item_index is not None else []
        return f"{cut(text)} ({', '.join(places)})" if places else cut(text)


def cut(text: str) -> str:
    """Shorten a message that user code may have made as long as it liked."""
    return text if len(text) <= MESSAGE_CHARS_MAX else text[:MESSAGE_CHARS_MAX] + "…"


def raised(error: UserError) -> NodeError:
    """Say that the code raised an exception."""
    return NodeError(error.sentence(), "code_error", error.fields())


def bad_syntax(error: UserError) -> NodeError:
    """Say that the code does not parse."""
    return NodeError(error.sentence(), "code_syntax", error.fields())


def timed_out(limits: CodeLimits) -> NodeError:
    """Say that the code ran longer than it may."""
    fields = {"timeout_ms": limits.timeout_ms}
    return NodeError(f"the code did not finish within {limits.timeout_ms} ms", "code_timeout", fields)


def out_of_memory(limits: CodeLimits) -> NodeError:
    """Say that the code needed more memory than it may."""
    fields = {"memory_bytes": limits.memory_bytes}
    megabytes = limits.memory_bytes // 2**20
    return NodeError(f"the code needed more than its {megabytes} MiB of memory", "code_memory", fields)


def bad_result(reason: str, item_index: int | None = None) -> NodeError:
    """Say that what the code returned cannot be a result."""
    fields = {} if item_index is None else {"item_index": item_index}
    place = "" if item_index is None else f" (item {item_index})"
    return NodeError(f"the result cannot be used: {cut(reason)}{place}", "code_result_invalid", fields)


def crashed(reason: str) -> NodeError:
    """Say that the process which ran the code is gone."""
    return NodeError(f"the sandbox process ended: {cut(reason)}", "sandbox_crashed", {"retryable": True})


def read_result(data: bytes) -> Any:
    """Read the JSON of a result, which is as untrusted as any input. Raises `NodeError` (`code_result_invalid`)."""
    if len(data) > RESULT_BYTES_MAX:
        raise bad_result(f"it is larger than {RESULT_BYTES_MAX // 2**20} MiB")
    try:
        return decode(data)
    except BadInput as error:
        raise bad_result(error.message) from None
