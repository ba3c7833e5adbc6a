"""Prints the installed packages as a JSON list: version, size, and what each requires of which other package here."""

import json
from importlib.metadata import Distribution, distributions

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name


def requirements(distribution: Distribution) -> list[dict[str, str]]:
    """Return what a distribution requires on this machine, without its extras."""
    found = []
    for line in distribution.requires or []:
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            found.append({"name": canonicalize_name(requirement.name), "specifier": str(requirement.specifier)})
    return found


def describe(distribution: Distribution) -> dict[str, object]:
    """Return what the example's workflow uses of a distribution."""
    return {
        "name": canonicalize_name(distribution.metadata["Name"]),
        "version": distribution.version,
        "bytes": sum(file.size or 0 for file in distribution.files or ()),
        "requires": requirements(distribution),
    }


if __name__ == "__main__":
    found = {canonicalize_name(d.metadata["Name"]): d for d in distributions() if d.metadata["Name"]}
    print(json.dumps([describe(found[name]) for name in sorted(found)]))
