"""The one tree of errors. Each has a stable `code`, named `fields`, a `status` that an API may answer, and survives pickling.

RayloomError
├── InvalidRequest          what was asked cannot be done as asked
│   ├── BadInput            400  malformed: not JSON, too deep, NaN, NUL, a wrong type
│   ├── Unauthorized        401
│   ├── Forbidden           403
│   ├── NotFound            404  also everything that belongs to another workspace
│   ├── Conflict            409  does not apply in this state
│   ├── TooLarge            413
│   ├── InvalidDefinition   422  the document has findings of severity error
│   ├── Unprocessable       422  well-formed but not acceptable
│   └── Overloaded          429  a limit is reached; try again later
├── NodeError                    a node's attempt failed: data in the execution's history
├── StoreError
│   ├── Fenced                   the write came from an epoch that is not the current one
│   ├── BlobMissing              content that a row names is not there
│   └── StoreUnavailable    503  the database does not answer; nothing is known about the write
├── Unavailable             503  a part of the system is not there just now
└── Bug                          a broken invariant: our fault, never the user's
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Self


class RayloomError(Exception):
    """An error of ours: `code` is stable, `fields` are JSON, `status` is the HTTP status that fits."""

    default_code: ClassVar[str] = "error"
    status: ClassVar[int] = 500

    def __init__(self, message: str, code: str = "", fields: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.fields: dict[str, Any] = dict(fields or {})

    def __reduce__(self) -> tuple[type[Self], tuple[str, str, dict[str, Any]]]:
        return type(self), (self.message, self.code, self.fields)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.__reduce__() == other.__reduce__()

    def __hash__(self) -> int:
        return hash((type(self), self.message, self.code))


class InvalidRequest(RayloomError):
    """What was asked cannot be done as asked."""

    default_code = "invalid_request"
    status = 400


class BadInput(InvalidRequest):
    """The input is malformed."""

    default_code = "bad_input"


class Unauthorized(InvalidRequest):
    """Nobody known is asking."""

    default_code = "unauthorized"
    status = 401


class Forbidden(InvalidRequest):
    """The caller's role does not allow it."""

    default_code = "forbidden"
    status = 403


class NotFound(InvalidRequest):
    """There is no such thing in this workspace."""

    default_code = "not_found"
    status = 404


class Conflict(InvalidRequest):
    """It does not apply in the present state."""

    default_code = "conflict"
    status = 409


class TooLarge(InvalidRequest):
    """It is larger than the limit."""

    default_code = "too_large"
    status = 413


class InvalidDefinition(InvalidRequest):
    """The workflow document has findings of severity error; `fields["findings"]` lists them all."""

    default_code = "invalid_definition"
    status = 422


class Unprocessable(InvalidRequest):
    """Well-formed, but not acceptable."""

    default_code = "unprocessable"
    status = 422


class Overloaded(InvalidRequest):
    """A limit is reached; try again after `fields["retry_after_s"]`."""

    default_code = "overloaded"
    status = 429


class NodeError(RayloomError):
    """A node's attempt failed. `retryable` says whether the same input could succeed later."""

    default_code = "node_failed"

    @property
    def retryable(self) -> bool:
        """Whether another attempt with the same input could succeed."""
        return bool(self.fields.get("retryable", False))


NODE_TIMEOUT = "node_timeout"
"""The code of a `NodeError` that says that a node's time was over."""


class StoreError(RayloomError):
    """The store refused or could not answer."""

    default_code = "store_error"


class Fenced(StoreError):
    """The write came from an epoch, or continued from a sequence number, that is not the current one."""

    default_code = "fenced"


class BlobMissing(StoreError):
    """Content that a row names is not in the blob store."""

    default_code = "blob_missing"


class StoreUnavailable(StoreError):
    """The database does not answer; whether the write happened is not known."""

    default_code = "store_unavailable"
    status = 503


class Unavailable(RayloomError):
    """A part of the system is not there just now; trying again may work."""

    default_code = "unavailable"
    status = 503


class WorkflowChanged(Unavailable):
    """Another version of a workflow has become current than the one that an execution was made for."""

    default_code = "workflow_changed"


class Bug(RayloomError):
    """A broken invariant: our fault, never the user's."""

    default_code = "bug"
