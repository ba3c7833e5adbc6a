"""The Ray Serve deployment: the only module here that names Ray. Each replica makes its own application and services."""

from contextlib import AbstractAsyncContextManager
from typing import Any, cast

from fastapi import FastAPI
from ray import serve

from actors.collector import calm_collector
from actors.logging import configure_logging
from actors.model_hosts import RayModels
from actors.models import ModelsConfig
from actors.packages import require_own_packages
from actors.remote import HEAD, RayPool
from serve_app.app import create_app
from serve_app.config import ApiConfig, ApiLimits
from serve_app.services import Services, open_services

MAX_ONGOING_REQUESTS = 500


class Api:
    """A replica of the API: all it does is its application."""


def build(arguments: dict[str, Any]) -> serve.Application:
    """Return the Serve application. `arguments`: dsn, namespace, replicas, blobs_folder, limits, link_key, public_url, models."""
    config = ApiConfig(
        dsn=arguments["dsn"],
        namespace=arguments["namespace"],
        limits=ApiLimits.of(arguments["limits"]),
        blobs_folder=arguments["blobs_folder"],
        link_key=arguments["link_key"],
        public_url=arguments["public_url"],
        models=ModelsConfig.of(arguments["models"]),
    )

    def make_app() -> FastAPI:
        require_own_packages()
        configure_logging()

        def services() -> AbstractAsyncContextManager[Services]:
            return open_services(config, RayPool(config.namespace), RayModels(config.models))

        app = create_app(services)
        calm_collector()
        return app

    deployed: Any = serve.deployment(
        name="api",
        num_replicas=arguments["replicas"],
        max_ongoing_requests=MAX_ONGOING_REQUESTS,
        # On the head, where its proxy is: a replica listens on the same address, which need not be reachable from there.
        ray_actor_options={"num_cpus": 0, "resources": {HEAD: 0.001}},
        graceful_shutdown_timeout_s=5,
        health_check_period_s=5,
        health_check_timeout_s=10,
    )(serve.ingress(make_app)(Api))
    return cast("serve.Application", deployed.bind())
