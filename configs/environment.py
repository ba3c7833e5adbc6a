"""The environment that child processes are given: what we inherited, without what is only for the keeper.

A Ray worker has the environment of `ray start`, and code of others runs there: the database's address must not reach
it, and neither must settings of another Ray cluster that happens to be this shell's.
"""

import os
from pathlib import Path

_KEPT_BACK = frozenset({"DATABASE_URL", "PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP"})
_PREFIXES_KEPT_BACK = ("RAYLOOM_", "RAY_", "PG")


def for_ray() -> dict[str, str]:
    """Return the environment for the processes of a Ray head of ours, and for what runs on it."""
    return {
        name: value
        for name, value in os.environ.items()
        if name not in _KEPT_BACK and not name.startswith(_PREFIXES_KEPT_BACK)
    }


def for_joining() -> dict[str, str]:
    """Return the environment for a driver that joins somebody else's Ray cluster: Ray's own variables stay."""
    kept = {name: value for name, value in os.environ.items() if name.startswith("RAY_")}
    return {**for_ray(), **kept}


def for_keeper(home: Path) -> dict[str, str]:
    """Return the environment for the keeper: all of it, since it reads the settings, with paths that hold in any
    folder.
    """
    chosen = {"RAYLOOM_HOME": str(home)}
    if config := os.environ.get("RAYLOOM_CONFIG"):
        chosen["RAYLOOM_CONFIG"] = str(Path(config).expanduser().resolve())
    return {**os.environ, **chosen}
