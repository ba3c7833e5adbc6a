"""Metrics for Prometheus. What every replica must agree on comes from PostgreSQL at scrape time; the rest is this replica's own."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

BUCKETS_S = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Metrics:
    """The metrics of one replica."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Histogram(
            "rayloom_api_request_seconds",
            "Time to answer a request, by route; of this replica",
            ("method", "route", "status"),
            buckets=BUCKETS_S,
            registry=self.registry,
        )
        self.pushes = Counter(
            "rayloom_api_executions_accepted",
            "Executions accepted by this replica, pushed to an actor or queued",
            ("way",),
            registry=self.registry,
        )
        self.executions = Gauge(
            "rayloom_executions",
            "Executions queued and running, from PostgreSQL; the same on every replica",
            ("status",),
            registry=self.registry,
        )
        self.oldest_queued = Gauge(
            "rayloom_oldest_queued_seconds", "Age of the execution that has been queued longest", registry=self.registry
        )
        self.actors = Gauge(
            "rayloom_actors", "Execution actors of the pool, as this replica knows it", registry=self.registry
        )
        self.slots_used = Gauge(
            "rayloom_slots_used", "Executions under way on the pool's actors", registry=self.registry
        )

    def render(self) -> bytes:
        """Return the metrics in Prometheus' text format."""
        return generate_latest(self.registry)
