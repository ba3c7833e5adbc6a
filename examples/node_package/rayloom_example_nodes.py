"""Two node types of another package; the entry point `rayloom.nodes` in pyproject.toml makes them known to Rayloom."""

import asyncio
import math

from workflow.spec import (
    MAIN,
    Config,
    Effect,
    Example,
    Item,
    Items,
    NodeContext,
    NodeSpec,
    NodeType,
    Outputs,
)

EARTH_RADIUS_KM = 6371.0088

DISTANCE = NodeSpec(
    type="example.distance",
    title="Distance",
    category="example",
    description="Writes the great-circle distance between two places into every item, in kilometres.",
    each_item=True,
    config_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "required": ["from", "to"],
        "properties": {
            "from": {"$ref": "#/$defs/place", "title": "From"},
            "to": {"$ref": "#/$defs/place", "title": "To"},
            "field": {"type": "string", "minLength": 1, "default": "distance_km", "title": "Write into"},
        },
        "additionalProperties": False,
        "$defs": {
            "place": {
                "type": "object",
                "required": ["latitude", "longitude"],
                "properties": {
                    "latitude": {"type": "number", "minimum": -90, "maximum": 90, "title": "Latitude (degrees)"},
                    "longitude": {"type": "number", "minimum": -180, "maximum": 180, "title": "Longitude (degrees)"},
                },
                "additionalProperties": False,
            }
        },
    },
    examples=(
        Example(
            title="From the pole to the equator",
            config={"from": {"latitude": 90, "longitude": 0}, "to": {"latitude": 0, "longitude": 0}},
            items=[{"id": 1}],
            outputs={"main": [{"id": 1, "distance_km": 10007.557}]},
        ),
    ),
)


async def distance(context: NodeContext, config: Config, items: Items) -> Outputs:
    """Write the distance into each item; an item whose places cannot be evaluated fails by itself."""
    results: Items = []
    for index, item in enumerate(items):
        with context.item(index):
            filled = config.of(index)
            kilometres = round(_distance_km(filled["from"], filled["to"]), 3)
            field = filled.get("field", "distance_km")
            results.append(Item(json={**item["json"], field: kilometres}, paired_item=index))
    return {MAIN: results}


def _distance_km(start: dict[str, float], end: dict[str, float]) -> float:
    north, south = math.radians(start["latitude"]), math.radians(end["latitude"])
    along = math.radians(end["longitude"] - start["longitude"])
    chord = math.sin((south - north) / 2) ** 2 + math.cos(north) * math.cos(south) * math.sin(along / 2) ** 2
    return 2 * EARTH_RADIUS_KM * math.asin(math.sqrt(min(1.0, chord)))


LASTING = NodeSpec(
    type="example.lasting",
    title="Lasting work",
    category="example",
    description="Lasts as long as it is told and passes its items on: stands for work of a known length in measurements.",
    config_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "required": ["duration_ms"],
        "properties": {
            "duration_ms": {"type": "number", "minimum": 0, "maximum": 3_600_000, "title": "Duration (ms)"},
        },
        "additionalProperties": False,
    },
    effect=Effect.PURE,
    yields=True,
    timeout_ms=3_700_000,
    examples=(
        Example(
            title="A tenth of a second", config={"duration_ms": 100}, items=[{"n": 1}], outputs={"main": [{"n": 1}]}
        ),
    ),
)


async def lasting(_context: NodeContext, config: Config, items: Items) -> Outputs:
    """Wait, and pass on the first item."""
    await asyncio.sleep(config["duration_ms"] / 1000)
    return {MAIN: [Item(json=item["json"], paired_item=index) for index, item in enumerate(items[:1])]}


NODE_TYPES = (NodeType(DISTANCE, distance), NodeType(LASTING, lasting))
