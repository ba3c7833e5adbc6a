"""`logic.loop`: runs the nodes behind its output `loop` in rounds: over items in batches, so many times, or while something holds."""

from workflow.errors import NodeError
from workflow.spec import (
    Config,
    Example,
    Item,
    Items,
    JsonObject,
    NodeContext,
    NodeSpec,
    NodeType,
    Outputs,
    Problem,
    Round,
)

_ROUNDS_MAX = 1_000
_ROUNDS_LIMIT = 100_000

SPEC = NodeSpec(
    type="logic.loop",
    title="Loop",
    category="logic",
    description=(
        "Runs its body, the nodes behind the output `loop`, in rounds, one after the other, and goes on behind `done` when "
        "the last round has ended. A round has ended when all nodes of the body have. What the body sends back to the loop "
        "is gathered."
    ),
    outputs=("loop", "done"),
    body="loop",
    aliases=("loop", "split_in_batches", "logic.split_in_batches"),
    config_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "mode": {
                "enum": ["batches", "times", "while"],
                "default": "batches",
                "title": "Mode",
                "description": (
                    "`batches`: each round gets the next items of those that came in, and `done` gives all that the body "
                    "has sent back, or what came in where nothing leads back. `times` and `while`: the first round gets "
                    "what came in and each further one what the body has sent back, and `done` gives the last of it; where "
                    "nothing leads back, every round gets what came in."
                ),
            },
            "batch_size": {
                "type": "integer",
                "minimum": 1,
                "maximum": 100_000,
                "default": 1,
                "title": "Items per round",
                "description": "For `batches`.",
            },
            "times": {
                "type": "integer",
                "minimum": 0,
                "maximum": _ROUNDS_LIMIT,
                "title": "Rounds",
                "description": "For `times`: how many rounds there are.",
            },
            "condition": {
                "title": "Condition",
                "description": (
                    "For `while`: looked at before each round, with the items that the round would get; the loop ends when "
                    "it is false, null, 0 or an empty text."
                ),
            },
            "max_rounds": {
                "type": "integer",
                "minimum": 1,
                "maximum": _ROUNDS_LIMIT,
                "default": _ROUNDS_MAX,
                "title": "Rounds at most",
                "description": "More rounds than this are an error; `settings.max_node_runs` of the workflow holds as well.",
            },
        },
        "additionalProperties": False,
        "allOf": [
            {
                "if": {"properties": {"mode": {"const": "times"}}, "required": ["mode"]},
                "then": {"required": ["times"]},
            },
            {
                "if": {"properties": {"mode": {"const": "while"}}, "required": ["mode"]},
                "then": {"required": ["condition"]},
            },
        ],
    },
    examples=(
        Example(
            title="Two items at a time: the first round",
            config={"batch_size": 2},
            items=[{"n": 1}, {"n": 2}, {"n": 3}],
            outputs={"loop": [{"n": 1}, {"n": 2}]},
        ),
        Example(
            title="As long as there is a next page",
            config={"mode": "while", "condition": "{{ $json.next }}"},
            items=[{"next": "/page/2"}],
            outputs={"loop": [{"next": "/page/2"}]},
        ),
    ),
)


async def run(context: NodeContext, config: Config, items: Items) -> Outputs:
    """Begin the next round, or end the loop. Raises `NodeError` (`loop_too_long`)."""
    here = context.round or Round(number=0, entered=items, returned=[], collected=[], returns=False)
    outputs = _batch(config, here) if config.get("mode", "batches") == "batches" else _carry(config, here)
    rounds_max = config.get("max_rounds", _ROUNDS_MAX)
    if "loop" in outputs and here.number >= rounds_max:
        message = f"the loop has not ended after {rounds_max} rounds"
        raise NodeError(message, "loop_too_long", {"max_rounds": rounds_max, "retryable": False})
    return outputs


def check(config: JsonObject) -> list[Problem]:
    """Check that options fit the mode."""
    mode = config.get("mode", "batches")
    owners = {"batch_size": "batches", "times": "times", "condition": "while"}
    return [
        Problem("option_not_used", f"`{option}` is for the mode `{owner}`, not for `{mode}`", option)
        for option, owner in owners.items()
        if option in config and owner != mode
    ]


def _batch(config: Config, here: Round) -> Outputs:
    size = config.get("batch_size", 1)
    start = here.number * size
    if start < len(here.entered):
        return {"loop": _paired(here.entered, start, start + size, start)}
    if here.returns:
        return {"done": _paired(here.collected, 0, len(here.collected), len(here.entered))}
    return {"done": _paired(here.entered, 0, len(here.entered), 0)}


def _carry(config: Config, here: Round) -> Outputs:
    if here.number and here.returns:
        first = len(here.entered) + len(here.collected) - len(here.returned)
        carried = _paired(here.returned, 0, len(here.returned), first)
    else:
        carried = _paired(here.entered, 0, len(here.entered), 0)
    more = here.number < config["times"] if config["mode"] == "times" else bool(config["condition"])
    # A round without items would not begin; a loop whose body sent nothing back has nothing to go on with.
    return {"loop": carried} if more and carried else {"done": carried}


def _paired(items: Items, start: int, end: int, first: int) -> Items:
    return [Item(**{**item, "paired_item": first + index}) for index, item in enumerate(items[start:end])]


NODE_TYPE = NodeType(SPEC, run, check)
