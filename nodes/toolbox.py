"""The tools of an agent as its config describes them: what a model is told of them, and what is executed when it calls one.

Every call is an execution of its own: of a small workflow around a node, or of a stored workflow. So it is recorded, has its own
retries, and survives whatever happens to the agent.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from nodes.forms import schema_problems
from workflow.errors import BadInput
from workflow.models import Tool, ToolCall
from workflow.schemas import violations
from workflow.spec import JsonObject, Problem
from workflow.values import decode, encode
from workflow.waiting import Child

NODE_ID = "tool"
"""The id of the node that a tool is, in the workflow around it."""
CALLS_MAX = 32
"""Calls of one answer."""
TURNS_MAX = 50
NO_PARAMETERS: JsonObject = {"type": "object", "properties": {}, "additionalProperties": False}
QUESTION: JsonObject = {
    "type": "object",
    "properties": {"query": {"type": "string", "minLength": 1, "description": "what to look for, in a sentence"}},
    "required": ["query"],
    "additionalProperties": False,
}
KINDS = ("node", "workflow_id", "collection")

TOOL_SCHEMA: JsonObject = {
    "type": "object",
    "properties": {
        "name": {
            "type": "string",
            "pattern": "^[a-zA-Z][a-zA-Z0-9_-]{0,63}$",
            "title": "Name",
            "description": "By which the model calls it.",
        },
        "description": {
            "type": "string",
            "minLength": 1,
            "maxLength": 2_000,
            "title": "Description",
            "description": "What it does and when to use it, for the model.",
        },
        "parameters": {
            "type": "object",
            "title": "Parameters",
            "description": "JSON Schema of the arguments, an object. A collection has its own: `query`.",
        },
        "node": {
            "type": "object",
            "title": "Node",
            "description": "A node that the tool is; placeholders in its config see the arguments as `$json`.",
            "properties": {
                "type": {"type": "string", "title": "Type", "description": "A node type."},
                "config": {"type": "object", "title": "Config", "description": "Of the node."},
            },
            "required": ["type"],
            "additionalProperties": False,
        },
        "workflow_id": {
            "type": "string",
            "title": "Workflow",
            "description": "Or a workflow that the tool is: the arguments are its input.",
        },
        "collection": {
            "type": "string",
            "title": "Collection",
            "description": "Or a collection of documents that it searches, by name or id; empty: the default one.",
        },
        "top_k": {
            "type": "integer",
            "minimum": 1,
            "maximum": 50,
            "default": 5,
            "title": "Passages",
            "description": "Of a collection: how many passages it gives at most.",
        },
        "approval": {
            "type": "boolean",
            "default": False,
            "title": "Approval",
            "description": "Whether somebody must approve each call before it is made.",
        },
    },
    "required": ["name", "description"],
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True)
class Called:
    """A call as it was understood: the tool and its arguments, or why it is none."""

    tool: JsonObject | None
    arguments: JsonObject
    wrong: str = ""


def tool_of(tool: Mapping[str, Any]) -> Tool:
    """Return what a model is told of a tool."""
    return Tool(name=tool["name"], description=tool["description"], parameters=parameters_of(tool))


def parameters_of(tool: Mapping[str, Any]) -> JsonObject:
    """Return the JSON Schema of a tool's arguments."""
    return QUESTION if "collection" in tool else tool.get("parameters") or NO_PARAMETERS


def understood(tools: Mapping[str, JsonObject], call: ToolCall) -> Called:
    """Hold a model's call against the tools that there are: what is wrong with it is told to the model."""
    tool = tools.get(call.name)
    if tool is None:
        return Called(None, {}, f"there is no tool {call.name!r}; there are: {', '.join(tools)}")
    try:
        arguments = decode((call.arguments.strip() or "{}").encode("utf-8", "replace"))
    except BadInput as error:
        return Called(tool, {}, f"the arguments are not JSON: {error.message}")
    if not isinstance(arguments, dict):
        return Called(tool, {}, "the arguments are not a JSON object")
    found = violations(arguments, parameters_of(tool))
    wrong = "; ".join(f"{each['field'] or 'the whole'}: {each['message']}" for each in found[:3])
    return Called(tool, arguments, f"the arguments do not fit: {wrong}" if wrong else "")


def child_of(tool: Mapping[str, Any], arguments: JsonObject, place: int) -> Child:
    """Return the execution that a call is. Raises `ValueError` where the workflow's id is none."""
    if tool.get("workflow_id"):
        return Child(workflow_id=UUID(tool["workflow_id"]), input=encode(arguments), place=place)
    return Child(workflow_id=None, definition=orjson.dumps(document_of(tool)), input=encode(arguments), place=place)


def document_of(tool: Mapping[str, Any]) -> JsonObject:
    """Return the workflow around the node that a tool is."""
    node = tool.get("node") or {
        "type": "ai.retrieve",
        "config": {
            "query": "{{ $json.query }}",
            "collection": tool.get("collection", ""),
            "top_k": tool.get("top_k", 5),
        },
    }
    return {
        "name": f"Tool {tool['name']}",
        "nodes": [{"id": "start", "type": "trigger.manual"}, {"id": NODE_ID, **node}],
        "connections": [{"source": "start", "target": NODE_ID}],
    }


def place_of(item: int, turn: int, call: int) -> int:
    """Return the number by which a call is known among the children of the node's run."""
    return (item * TURNS_MAX + turn) * CALLS_MAX + call


def tool_problems(config: JsonObject) -> list[Problem]:
    """Find tools that are none: of no kind or of several, with a name twice, with parameters that are no schema of an object."""
    problems: list[Problem] = []
    tools = config.get("tools") or []
    names = [tool["name"] for tool in tools]
    for number, tool in enumerate(tools):
        place = f"tools.{number}"
        kinds = [kind for kind in KINDS if kind in tool]
        if len(kinds) != 1:
            message = f"the tool {tool['name']!r} needs exactly one of {', '.join(KINDS)}"
            problems.append(Problem("invalid_tool", message, place))
        if names.index(tool["name"]) != number:
            problems.append(Problem("duplicate_tool", f"the tool {tool['name']!r} is there twice", f"{place}.name"))
        problems += [
            Problem(found.code, found.message, f"{place}.{found.field}")
            for found in schema_problems(tool, "parameters", "invalid_tool_parameters")
        ]
        if tool.get("parameters", {}).get("type", "object") != "object":
            message = f"the parameters of {tool['name']!r} must be of an object"
            problems.append(Problem("invalid_tool_parameters", message, f"{place}.parameters"))
    return problems


def tool_documents(config: JsonObject) -> dict[str, JsonObject]:
    """Return the workflows around nodes that are tools, by the fields that describe them."""
    return {
        f"tools.{number}.node": document_of(tool)
        for number, tool in enumerate(config.get("tools") or ())
        if "node" in tool
    }
