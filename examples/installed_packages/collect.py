"""Prints, as a JSON list of objects, the metadata of the distributions that are installed beside Rayloom."""

import json
import re
from importlib.metadata import Distribution, distributions


def licence(distribution: Distribution) -> str:
    """Return the licence that a distribution declares, in the shortest form it has, or nothing."""
    metadata = distribution.metadata
    expression = metadata.get("License-Expression")
    classifiers = [c.rpartition(" :: ")[2] for c in metadata.get_all("Classifier") or [] if c.startswith("License ::")]
    text = (metadata.get("License") or "").strip().partition("\n")[0]
    found = expression or (classifiers[0] if classifiers else "") or text
    return "" if found.upper() in {"UNKNOWN", "NONE"} else found[:60]


def describe(distribution: Distribution) -> dict[str, object]:
    """Return what the example's workflow uses of a distribution."""
    files = distribution.files or []
    requires = {
        re.split(r"[^A-Za-z0-9._-]", r, maxsplit=1)[0].lower()
        for r in distribution.requires or []
        if "extra ==" not in r
    }
    return {
        "name": distribution.metadata["Name"],
        "version": distribution.version,
        "licence": licence(distribution),
        "requires": sorted(requires),
        "files": len(files),
        "bytes": sum(f.size or 0 for f in files),
    }


if __name__ == "__main__":
    found = {d.metadata["Name"].lower(): d for d in distributions() if d.metadata["Name"]}
    print(json.dumps([describe(found[name]) for name in sorted(found)]))
