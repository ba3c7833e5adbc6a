"""`data.rename_keys`: other names for fields."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from nodes.fields import FIELD_SCHEMA, MISSING, path_of, problems_of, read, remove, write
from nodes.lineage import carried
from workflow.errors import NodeError
from workflow.spec import (
    MAIN,
    Config,
    Example,
    Items,
    JsonObject,
    NodeContext,
    NodeSpec,
    NodeType,
    Outputs,
    Problem,
)


def words_of(name: str) -> list[str]:
    """Split a name where a word begins: at what is no letter or digit, and at capitals (`userID`, `HTTPServer`)."""
    words: list[str] = []
    word = ""
    for place, letter in enumerate(name):
        if not letter.isalnum():
            words.append(word)
            word = ""
            continue
        after = name[place + 1 : place + 2]
        if letter.isupper() and word and (not word[-1].isupper() or after.islower()):
            words.append(word)
            word = ""
        word += letter
    words.append(word)
    return [each for each in words if each]


def _camel(name: str) -> str:
    words = words_of(name)
    return "".join([*(word.lower() for word in words[:1]), *(word.capitalize() for word in words[1:])])


_CASES: Mapping[str, Callable[[str], str]] = MappingProxyType(
    {
        "keep": str,
        "lower": str.lower,
        "upper": str.upper,
        "camel": _camel,
        "pascal": lambda name: "".join(word.capitalize() for word in words_of(name)),
        "snake": lambda name: "_".join(word.lower() for word in words_of(name)),
        "kebab": lambda name: "-".join(word.lower() for word in words_of(name)),
    }
)

SPEC = NodeSpec(
    type="data.rename_keys",
    title="Rename fields",
    category="data",
    description="Gives fields other names: some by a list of names, or all by a rule.",
    aliases=("rename_keys",),
    may_move=True,
    literal=frozenset({"names", "case", "prefix", "suffix", "deep"}),
    examples=(
        Example(
            title="By name, also into an object",
            config={"names": {"first": "user.name", "mail": "email"}},
            items=[{"first": "Ada", "mail": "ada@example.com", "id": 1}],
            outputs={"main": [{"id": 1, "user": {"name": "Ada"}, "email": "ada@example.com"}]},
        ),
        Example(
            title="All of them in one style",
            config={"case": "snake", "prefix": "crm_", "deep": True},
            items=[{"userID": 1, "Home Address": {"zipCode": "1010"}}],
            outputs={"main": [{"crm_user_id": 1, "crm_home_address": {"crm_zip_code": "1010"}}]},
        ),
    ),
    config_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "names": {
                "type": "object",
                "propertyNames": FIELD_SCHEMA,
                "additionalProperties": FIELD_SCHEMA,
                "default": {},
                "title": "Names",
                "description": (
                    "New names by old ones, dotted. All are taken from the item as it came in, so two fields can swap "
                    "their names. A field that is not there is left out; one that has the new name is replaced."
                ),
            },
            "case": {
                "enum": list(_CASES),
                "default": "keep",
                "title": "Case",
                "description": "How all names are written: `lower`, `UPPER`, `camelCase`, `PascalCase`, `snake_case`, `kebab-case`.",
            },
            "prefix": {
                "type": "string",
                "maxLength": 200,
                "default": "",
                "title": "Prefix",
                "description": "What is put before all names.",
            },
            "suffix": {
                "type": "string",
                "maxLength": 200,
                "default": "",
                "title": "Suffix",
                "description": "What is put behind all names.",
            },
            "deep": {
                "type": "boolean",
                "default": False,
                "title": "Inner objects",
                "description": "Whether `case`, `prefix` and `suffix` change the names inside of objects and lists, too.",
            },
        },
        "additionalProperties": False,
    },
)


async def run(context: NodeContext, config: Config, items: Items) -> Outputs:
    """Rename the fields: first by name, then by rule. Raises `NodeError` (`names_clash`) where two would be the same."""
    names = [(path_of(old), path_of(new)) for old, new in config.get("names", {}).items()]
    style = _CASES[config.get("case", "keep")]
    prefix, suffix, deep = config.get("prefix", ""), config.get("suffix", ""), config.get("deep", False)
    ruled = bool(prefix or suffix or config.get("case", "keep") != "keep")
    known: dict[str, str] = {}

    def renamed(name: str) -> str:
        if name not in known:
            known[name] = prefix + style(name) + suffix
        return known[name]

    results: Items = []
    for index, item in enumerate(items):
        with context.item(index):
            target = dict(item["json"])
            taken = [(new, read(item["json"], old)) for old, new in names]
            for (old, _), (_, value) in zip(names, taken, strict=True):
                if value is not MISSING:
                    remove(target, old)
            for new, value in taken:
                if value is not MISSING:
                    write(target, new, value)
            results.append(carried(item, index, _all_renamed(target, renamed, deep=deep) if ruled else target))
    return {MAIN: results}


def check(config: JsonObject) -> list[Problem]:
    """Check the paths, and that no two fields get one name."""
    names: JsonObject = config.get("names", {})
    found = problems_of((f"names.{old}", name) for old, new in names.items() for name in (old, new))
    goals = list(names.values())
    for place, (old, new) in enumerate(names.items()):
        if new in goals[:place]:
            found.append(Problem("names_clash", f"two fields get the name {new!r}", f"names.{old}"))
    return found


def _all_renamed(value: Any, renamed: Callable[[str], str], *, deep: bool) -> Any:
    if isinstance(value, list):
        return [_all_renamed(part, renamed, deep=deep) for part in value] if deep else value
    if not isinstance(value, dict):
        return value
    made = {}
    for name, part in value.items():
        new = renamed(name)
        if new in made:
            raise NodeError(f"two fields would have the name {new!r}", "names_clash", {"name": new})
        made[new] = _all_renamed(part, renamed, deep=deep) if deep and isinstance(part, dict | list) else part
    return made


NODE_TYPE = NodeType(SPEC, run, check)
