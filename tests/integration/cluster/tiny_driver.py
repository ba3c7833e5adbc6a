"""A driver with the smallest Serve application there is: `tiny_driver.py ADDRESS PORT`. Stays until it is killed."""

import signal
import sys

import ray
from fastapi import FastAPI
from ray import serve

api = FastAPI()


@serve.deployment(ray_actor_options={"num_cpus": 0})
@serve.ingress(api)
class Tiny:
    @api.get("/health/ready")
    async def ready(self) -> dict[str, bool]:
        return {"ready": True}


ray.init(address=sys.argv[1], namespace="rayloom", log_to_driver=False, configure_logging=False)
serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[2])}, logging_config={"enable_access_log": False})
serve.run(Tiny.bind(), name="tiny", route_prefix="/", blocking=False)
signal.pause()
