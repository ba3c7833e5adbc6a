"""Expressions in the config of a node: `{{ … }}` in any string is JavaScript over plain data.

`tokens` finds where a placeholder ends, `paths` answers plain paths in Python, `analysis` tells what the others use,
`template` evaluates a whole config for an item. `workflow.scripts` is the port to the engine.
"""

from workflow.expression.paths import NeedsEngine
from workflow.expression.scope import Frame, NodeView, Scope, ScriptFailure
from workflow.expression.template import (
    Compiled,
    Placeholder,
    Stuck,
    SyntaxCheck,
    SyntaxFault,
    compile_value,
    problems,
)

__all__ = [
    "Compiled",
    "Frame",
    "NeedsEngine",
    "NodeView",
    "Placeholder",
    "Scope",
    "ScriptFailure",
    "Stuck",
    "SyntaxCheck",
    "SyntaxFault",
    "compile_value",
    "problems",
]
