"""DBOS doing the same work; runs in an environment of its own that has `dbos`, and imports nothing of ours.

Reads jobs, one JSON object a line, on standard input, and answers each with one line of figures. The first line is
{"dsn": …, "pool_size": …}. Jobs: {"do": "one_step" | "chain" | "parallel", "count": …, "mode": "threads" | "asyncio"}.
"""

import asyncio
import json
import sys
import time
from importlib.metadata import version
from typing import Any

from dbos import DBOS, DBOSConfig


def fibo(n: int) -> int:
    return n if n < 2 else fibo(n - 1) + fibo(n - 2)


@DBOS.step()
def small_step(number: int) -> int:
    return number + 1


@DBOS.workflow()
def one_step(number: int) -> int:
    return small_step(number)


@DBOS.step()
async def small_step_async(number: int) -> int:
    return number + 1


@DBOS.workflow()
async def one_step_async(number: int) -> int:
    return await small_step_async(number)


@DBOS.step()
def fibo_step() -> int:
    return fibo(10)


@DBOS.step()
async def fibo_step_async() -> int:
    return fibo(10)


@DBOS.workflow()
def chain(length: int) -> int:
    total = 0
    for _ in range(length):
        total += fibo_step()
    return total


@DBOS.workflow()
async def chain_async(length: int) -> int:
    total = 0
    for _ in range(length):
        total += await fibo_step_async()
    return total


@DBOS.workflow()
async def parallel(width: int) -> int:
    return sum(await asyncio.gather(*(fibo_step_async() for _ in range(width))))


async def run_one_step(count: int, mode: str) -> float:
    """Start so many workflows at once and wait for all; workflows per second."""
    began_s = time.perf_counter()
    if mode == "threads":

        def all_of_them() -> list[int]:
            return [handle.get_result() for handle in [DBOS.start_workflow(one_step, i) for i in range(count)]]

        results = await asyncio.to_thread(all_of_them)
    else:
        handles = await asyncio.gather(*(DBOS.start_workflow_async(one_step_async, i) for i in range(count)))
        results = await asyncio.gather(*(handle.get_result() for handle in handles))
    taken_s = time.perf_counter() - began_s
    assert sorted(results) == list(range(1, count + 1))
    return count / taken_s


async def run_chain(length: int, mode: str) -> float:
    """Run one workflow of so many steps; milliseconds."""
    began_s = time.perf_counter()
    total = await (asyncio.to_thread(chain, length) if mode == "threads" else chain_async(length))
    taken_s = time.perf_counter() - began_s
    assert total == length * fibo(10)
    return taken_s * 1000


async def run_parallel(width: int, _mode: str) -> float:
    """Run one workflow of so many parallel steps; steps per second."""
    began_s = time.perf_counter()
    total = await parallel(width)
    taken_s = time.perf_counter() - began_s
    assert total == width * fibo(10)
    return width / taken_s


WORK: dict[str, Any] = {"one_step": run_one_step, "chain": run_chain, "parallel": run_parallel}


async def serve() -> None:
    """Answer jobs until the input ends."""
    first = json.loads(await asyncio.to_thread(sys.stdin.readline))
    config: DBOSConfig = {
        "name": "rayloom-bench-peer",
        "system_database_url": first["dsn"],
        "sys_db_pool_size": first["pool_size"],
        "log_level": "ERROR",
    }
    DBOS(config=config)
    DBOS.launch()
    print(json.dumps({"version": version("dbos")}), flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        job = json.loads(line)
        value = await WORK[job["do"]](job["count"], job["mode"])
        print(json.dumps({"value": value}), flush=True)
    DBOS.destroy()


if __name__ == "__main__":
    asyncio.run(serve())
