"""A bare endpoint in the same Ray Serve, behind the same proxy: what the proxy, Serve and FastAPI cost by themselves.

Run as a program it deploys, says so with one line, and takes the endpoint away when its standard input ends.
"""

import contextlib
import logging
import subprocess
import sys
import time
from collections.abc import Iterator

from benchmarks.instance import ROOT, Running

APPLICATION = "bare"
ROUTE = "/bare"
RELOAD_S = 5.0
"""A new application makes HAProxy reload: connections made just before are closed, one with a request in it too (seen)."""


@contextlib.contextmanager
def bare_endpoint(running: Running) -> Iterator[str]:
    """Deploy the endpoint, yield its address, take it away."""
    program = subprocess.Popen(
        [sys.executable, "-P", "-m", "benchmarks.bare_serve", running.ray_address()],
        env={**running.ray_environment(), "PYTHONPATH": str(ROOT)},
        cwd=running.instance.home.work,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert program.stdin is not None
    assert program.stdout is not None
    try:
        if program.stdout.readline().strip() != "deployed":
            raise RuntimeError("the bare endpoint was not deployed")
        time.sleep(RELOAD_S)
        yield f"{running.base_url}{ROUTE}"
    finally:
        program.stdin.close()
        try:
            program.wait(60)
        except subprocess.TimeoutExpired:
            program.kill()
            program.wait()


def main(address: str) -> None:
    """Deploy, wait for the end of the input, delete."""
    import ray
    from fastapi import FastAPI
    from ray import serve

    from cluster.compose import NAMESPACE

    ray.init(address=address, namespace=NAMESPACE, log_to_driver=False, configure_logging=False)
    web = FastAPI()

    @serve.deployment(name="bare", num_replicas=1, ray_actor_options={"num_cpus": 0})
    @serve.ingress(web)
    class Bare:
        @web.post("/")
        async def answer(self) -> dict[str, str]:
            return {"status": "completed"}

    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    serve.run(Bare.bind(), name=APPLICATION, route_prefix=ROUTE, blocking=False)
    print("deployed", flush=True)
    sys.stdin.read()
    serve.delete(APPLICATION)


if __name__ == "__main__":
    main(sys.argv[1])
