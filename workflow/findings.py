"""What compiling finds: collected, never raised one by one. Errors block, warnings never do."""

from dataclasses import asdict, dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How bad it is."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing found: a stable code, where it is, and a sentence for the person who wrote it."""

    severity: Severity
    code: str
    message: str
    node_id: str = ""
    field: str = ""

    def as_dict(self) -> dict[str, str]:
        """Return the finding as JSON."""
        return asdict(self)


def error(code: str, message: str, node_id: str = "", field: str = "") -> Finding:
    """Return a finding that blocks."""
    return Finding(severity=Severity.ERROR, code=code, message=message, node_id=node_id, field=field)


def warning(code: str, message: str, node_id: str = "", field: str = "") -> Finding:
    """Return a finding that does not block."""
    return Finding(severity=Severity.WARNING, code=code, message=message, node_id=node_id, field=field)
