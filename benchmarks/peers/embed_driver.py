"""A driver of the cluster that embeds short texts through the replica's handle: many calls at once, and one after the other.

`python -m benchmarks.peers.embed_driver ADDRESS TEXT COUNT` prints one line of JSON.
"""

import asyncio
import json
import sys
from time import perf_counter

import ray

from actors.model_hosts import RayModels
from benchmarks.models import models_config
from cluster.compose import NAMESPACE

REPEATS = 5


async def measure(text: str, count: int) -> dict[str, float]:
    """Return the texts per second of both."""
    models = RayModels(models_config())
    for _ in range(3):
        await asyncio.gather(*(models.embed([f"{text} {number}"]) for number in range(count)))
    began_s = perf_counter()
    for turn in range(REPEATS):
        await asyncio.gather(*(models.embed([f"{text} {turn} {number}"]) for number in range(count)))
    batched_s = perf_counter() - began_s
    began_s = perf_counter()
    for number in range(count):
        await models.embed([f"{text} {number}"])
    unbatched_s = perf_counter() - began_s
    return {"batched_per_s": REPEATS * count / batched_s, "unbatched_per_s": count / unbatched_s}


def main(address: str, text: str, count: int) -> None:
    """Measure and print."""
    ray.init(address=address, namespace=NAMESPACE, log_to_driver=False, configure_logging=False)
    print(json.dumps(asyncio.run(measure(text, count))), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
