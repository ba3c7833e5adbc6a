"""What filling in a config costs, against the bare loop in the same engine: `python -m benchmarks.expressions`.

Ratios are best of several rounds. The bare loop is what a program without items, errors, limits or types would do: parse
the objects, write the field, write the text, all inside one engine in this process.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from uuid import UUID

import orjson
import quickjs

from nodes.data_set import NODE_TYPE
from nodes.sandbox import LocalSandbox
from nodes.sandbox.expression_syntax import expression_faults
from workflow.config import ConfigTemplate, Frame
from workflow.spec import Items, NodeContext

ID = UUID("01890000-0000-7000-8000-000000000001")
ROUNDS = 7
COUNT = 10_000
SET = "(text) => JSON.stringify(JSON.parse(text).map((item) => ({...item, x: item.n * 2})))"
VALUES = "(text) => JSON.stringify(JSON.parse(text).map((item) => item.n * 2))"


def items(count: int, more: int = 0) -> Items:
    rest = {f"field{index}": "x" * 40 for index in range(more)}
    return [{"json": {"n": index, "name": f"name {index}", "tags": ["a", "b"], **rest}} for index in range(count)]


async def best(work: Callable[[], Awaitable[object]]) -> float:
    """Return the milliseconds of the fastest round."""
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        await work()
        times.append((time.perf_counter() - began) * 1000)
    return min(times)


async def bare(program: str, given: Items) -> float:
    run = quickjs.Context().eval(program)

    async def work() -> object:
        return orjson.loads(run(orjson.dumps([item["json"] for item in given]).decode()))

    return await best(work)


async def ours(sandbox: LocalSandbox, text: str, given: Items, *, node: bool = False) -> float:
    template = ConfigTemplate({"values": {"x": text}}, NODE_TYPE.spec)
    frame = Frame(items=given, execution_id=ID, workflow_id=ID, workflow_name="w", seed="s")
    context = NodeContext(
        execution_id=ID,
        workflow_id=ID,
        workflow_name="w",
        node_id="n",
        run_index=0,
        attempt=1,
        timeout_ms=60_000,
        sandbox=sandbox,
    )

    async def work() -> object:
        config = await template.resolve(frame, sandbox)
        return await NODE_TYPE.run(context, config, given) if node else config

    return await best(work)


def compiling(nodes: int) -> float:
    """Return the milliseconds of parsing and checking one scripted expression in each of so many configs."""
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for index in range(nodes):
            expression_faults([f"$json.items.map((x) => x.price * {index}).reduce((a, b) => a + b, 0)"])
        times.append((time.perf_counter() - began) * 1000)
    return min(times)


async def main() -> None:
    async with LocalSandbox(1) as sandbox:
        await sandbox.start()
        few, wide = items(COUNT), items(COUNT, more=20)
        for name, given in (("3 fields", few), ("23 fields", wide)):
            loop, loop_values = await bare(SET, given), await bare(VALUES, given)
            filled = await ours(sandbox, "{{ $json.n * 2 }}", given)
            node = await ours(sandbox, "{{ $json.n * 2 }}", given, node=True)
            whole = await ours(sandbox, "{{ Object.keys($json).length }}", given)
            print(f"{COUNT} items of {name}: bare loop {loop:.1f} ms, its values alone {loop_values:.1f} ms")
            print(
                f"  config of {{{{ $json.n * 2 }}}}        {filled:7.1f} ms  {filled / loop_values:5.2f} x the values"
            )
            print(f"  data.set of {{{{ $json.n * 2 }}}}      {node:7.1f} ms  {node / loop:5.2f} x the loop")
            print(f"  config that needs whole objects  {whole:7.1f} ms  {whole / loop_values:5.2f} x the values")
        path = await ours(sandbox, "{{ $json.n }}", few)
        print(f"  config of a plain path           {path:7.1f} ms  {path / COUNT * 1000:.2f} us an item")
        one = items(1)
        single = await ours(sandbox, "{{ $json.n * 2 }}", one)
        plain = await ours(sandbox, "{{ $json.n }} of {{ $json.name }}", one)
        print(f"1 item: script {single:.3f} ms, two plain paths {plain * 1000:.1f} us")
        print(f"checking the syntax of 50 nodes: {compiling(50):.1f} ms")


if __name__ == "__main__":
    asyncio.run(main())
