"""What a mutant is."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One place of the sources changed so that a guarantee is broken."""

    name: str
    why: str
    """What would go wrong if this were shipped."""
    file: str
    old: str
    """Text that is found exactly once in the file."""
    new: str
    tests: tuple[str, ...]
    """Tests (pytest arguments) one of which must fail; the quickest that do."""

    def places(self, root: Path) -> int:
        """How often the old text is found; the mutant is stale unless it is once."""
        path = root / self.file
        return path.read_text().count(self.old) if path.exists() else 0

    def apply(self, root: Path) -> None:
        """Change the one place in the copy of the sources below `root`."""
        path = root / self.file
        path.write_text(path.read_text().replace(self.old, self.new))
