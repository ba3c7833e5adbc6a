"""A node type of the storm's own that may start at most once: none of Rayloom's does. Installed as anybody's would be.

Rayloom's processes are given no `PYTHONPATH` of ours, so the entry point stands in an environment of its own, upon this one.
"""

import sys
import sysconfig
from dataclasses import replace
from pathlib import Path
from venv import EnvBuilder

from nodes import action_http
from nodes.catalog import load_own
from workflow.spec import Catalog, Effect, NodeType

ONCE = "storm.once"
NODE_TYPE = NodeType(
    replace(
        action_http.SPEC,
        type=ONCE,
        title="HTTP request, at most once",
        category="storm",
        effect=Effect.AT_MOST_ONCE,
        aliases=(),
        examples=(),
    ),
    action_http.run,
    action_http.check,
)

METADATA = "Metadata-Version: 2.1\nName: rayloom-storm\nVersion: 1\n"
ENTRY_POINTS = f"[rayloom.nodes]\nstorm = {__name__}:NODE_TYPE\n"


def catalog() -> Catalog:
    """Return Rayloom's node types and this one."""
    return Catalog({each.spec.type: each for each in (*load_own(), NODE_TYPE)})


def installed(folder: Path) -> Path:
    """Make an environment in a folder that adds this node type to the one we run in; return its command `rayloom`."""
    EnvBuilder(symlinks=True, with_pip=False).create(folder)
    names = {"base": str(folder), "platbase": str(folder)}
    packages = Path(sysconfig.get_path("purelib", "venv", vars=names))
    beneath = sysconfig.get_path("purelib")
    (packages / "beneath.pth").write_text(f"import site; site.addsitedir({beneath!r})\n")
    described = packages / "rayloom_storm-1.dist-info"
    described.mkdir()
    (described / "METADATA").write_text(METADATA)
    (described / "entry_points.txt").write_text(ENTRY_POINTS)
    ours, theirs = folder / "bin", Path(sys.executable).parent
    for program in theirs.iterdir():  # such as the sandbox's, which is looked for beside the interpreter
        if not (ours / program.name).exists() and program.name != "rayloom":
            (ours / program.name).symlink_to(program)
    _, _, body = (theirs / "rayloom").read_text().partition("\n")
    command = ours / "rayloom"
    command.write_text(f"#!{ours / 'python'}\n{body}")
    command.chmod(0o700)
    return command
