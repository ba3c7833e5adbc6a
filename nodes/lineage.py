"""Items that go out: with the files of the item that they were made of, and with where they came from."""

from collections.abc import Sequence

from workflow.spec import Binary, Item, JsonObject


def carried(item: Item, index: int, json: JsonObject | None = None) -> Item:
    """Return the item of this index as it goes on: with its files, and with another object if one is given."""
    result = Item(json=item["json"] if json is None else json, paired_item=index)
    if "binary" in item:
        result["binary"] = item["binary"]
    return result


def joined(json: JsonObject, parts: Sequence[tuple[Item, int]]) -> Item:
    """Return an item made of several, given with their indexes: with the files of all, the later one's where names clash."""
    result = Item(json=json, paired_item=[index for _, index in parts])
    files: dict[str, Binary] = {}
    for item, _ in parts:
        files.update(item.get("binary", {}))
    if files:
        result["binary"] = files
    return result
