"""`logic.try_catch`: runs the nodes behind its output `try`; a failure among them goes on behind `catch`."""

from workflow.spec import Config, Example, Item, Items, NodeContext, NodeSpec, NodeType, Outputs, Round

SPEC = NodeSpec(
    type="logic.try_catch",
    title="Try",
    category="logic",
    description=(
        "Runs its body, the nodes behind the output `try`. If one of them fails, the rest of the body is stopped, what it gave "
        "is dropped, and after so many attempts the items go on behind `catch` with the error beside them. If none fails, what "
        "the body sent back goes on behind `done`, or what came in where nothing leads back. Effects that a body had before it "
        "failed are not undone."
    ),
    outputs=("try", "catch", "done"),
    body="try",
    catches=True,
    config_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "attempts": {
                "type": "integer",
                "minimum": 1,
                "maximum": 100,
                "default": 1,
                "title": "Attempts",
                "description": "How often the whole body is tried before its failure is passed on.",
            },
        },
        "additionalProperties": False,
    },
    examples=(
        Example(
            title="The body begins with what came in",
            config={},
            items=[{"order": 7}],
            outputs={"try": [{"order": 7}]},
        ),
    ),
)


async def run(context: NodeContext, config: Config, items: Items) -> Outputs:
    """Begin the body, or go on behind it."""
    here = context.round or Round(number=0, entered=items, returned=[], collected=[], returns=False)
    if here.number == 0:
        return {"try": _paired(here.entered, 0)}
    if here.caught is None:
        if not here.returns:
            return {"done": _paired(here.entered, 0)}
        return {"done": _paired(here.returned, len(here.entered) + len(here.collected) - len(here.returned))}
    if here.number < config.get("attempts", 1):
        return {"try": _paired(here.entered, 0)}
    error = {
        "code": here.caught.code,
        "message": here.caught.message,
        "node_id": here.caught.node_id,
        "run_index": here.caught.run_index,
    }
    return {
        "catch": [
            Item(**{**item, "json": {**item["json"], "error": error}, "paired_item": index})
            for index, item in enumerate(here.entered)
        ]
    }


def _paired(items: Items, first: int) -> Items:
    return [Item(**{**item, "paired_item": first + index}) for index, item in enumerate(items)]


NODE_TYPE = NodeType(SPEC, run)
