"""`python -m tests.storm --seconds 180`: start a Rayloom, load it, bring faults over it, and judge what came of it.

The exit code is 1 when an invariant does not hold. Bounds of recovery times are reported, not demanded.
"""

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import httpx2
import psutil

from store.api_keys import new_key
from store.bootstrap import bootstrap
from tests.hosts import ExtraHost
from tests.instance import RunningInstance
from tests.storm import aftermath, audit
from tests.storm.aftermath import Tenant
from tests.storm.client import Client
from tests.storm.faults import Faults
from tests.storm.invariants import Violation
from tests.storm.journal import JournalFile, read_journal
from tests.storm.judgement import Judgement
from tests.storm.load import Load
from tests.storm.nemesis import Nemesis
from tests.storm.once import installed
from tests.storm.recovery import Watcher, quantiles
from tests.storm.report import Phase, Report, apart_from_outages, silent_s
from tests.storm.schedule import LONG, SHORT, one_by_one, planned
from tests.storm.shape import Shape
from tests.storm.shapes import shapes
from tests.storm.sink import Sink

POOL = 2
SLOTS = 32
NEIGHBOURS = 5
WARM_UP_S = 5.0
DRAIN_S = 60.0
WAKE_SPAN_S = 5.0


@dataclass(slots=True)
class Clock:
    """When what happened, in Unix seconds, and how long the stages took."""

    marks: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def mark(self, name: str) -> None:
        self.marks[name] = time.time()

    def span(self, first: str, last: str) -> tuple[float, float]:
        return self.marks[first], self.marks[last]

    @contextlib.contextmanager
    def stage(self, name: str) -> Any:
        began_s = time.monotonic()
        print(f"{time.strftime('%H:%M:%S')} {name} ...", flush=True)
        try:
            yield
        finally:
            self.seconds[name] = time.monotonic() - began_s


class Storm:
    """One storm from its beginning to its report."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._random = Random(options.seed)
        self._clock = Clock()
        self._violations: list[Violation] = []
        self._folder = Path(tempfile.mkdtemp(prefix="rayloom-storm-"))
        self._shapes: Mapping[str, Shape] = {}
        self._loads: list[Load] = []
        self._tenants: list[Tenant] = []
        self._host: ExtraHost | None = None
        self._waiting = 0
        self._load_average: dict[str, float] = {}
        """Of the machine, over the minute before the storm and over its last one: others may use it, too."""
        self._clients_cpu_s = 0.0
        """What this process used while it stormed: clients, people, sink, and whoever brings the faults."""

    async def run(self) -> Report:
        """Return the report of a storm; nothing of it is left behind unless something was violated."""
        async with Sink().serving() as sink:
            self._shapes = shapes(sink.port, self._options.effect_ms)
            allow = f'["127.0.0.1:{sink.port}"]'
            cores = {"RAY__NUM_CPUS": 2, "RAY__OBJECT_STORE_MB": 100}
            command = installed(self._folder / "environment")
            settings = {"POOL__SIZE": POOL, "POOL__SLOTS": SLOTS, "OUTBOUND__ALLOW": allow, **cores}
            instance = RunningInstance("haproxy", command, **settings)
            judged: Report | None = None
            try:
                with self._clock.stage("up"):
                    await asyncio.to_thread(instance.up)
                    self._host = ExtraHost(instance)
                    await asyncio.to_thread(self._host.start)
                    await asyncio.to_thread(instance.until_healthy)
                judged = await self._under(instance, sink)
            finally:
                with self._clock.stage("down"):
                    keep_logs = judged is None or bool(judged.violations)
                    await asyncio.to_thread(self._close, instance, keep_logs)
            judged.violations = self._violations
            if not self._violations:
                shutil.rmtree(self._folder, ignore_errors=True)
            else:
                print(f"the clients' journal is kept in {self._folder}")
            return judged

    async def _under(self, instance: RunningInstance, sink: Sink) -> Report:
        self._tenants = _tenants(instance)
        audit.install(instance.dsn)
        watcher = Watcher(lambda: instance.dsn)
        assert self._host is not None
        faults = Faults(instance, self._host, watcher, Random(self._options.seed + 1))
        nemesis = Nemesis(instance, faults)
        journal = JournalFile(self._folder / "journal.jsonl")
        try:
            async with self._loaded(instance, journal):
                with self._clock.stage("calm"):
                    await asyncio.sleep(WARM_UP_S)
                    self._clock.mark("calm")
                    await asyncio.sleep(self._options.calm)
                    self._clock.mark("storm")
                    self._load_average["before"] = round(os.getloadavg()[0], 1)
                with self._clock.stage("storm"):
                    pace = LONG if self._options.long else SHORT
                    faulty = one_by_one() if self._options.one_by_one else planned(self._options.seed, pace)
                    used_s = time.process_time()
                    with self._complaining("I11"):
                        await nemesis.storm(faulty, self._options.seconds)
                    self._clients_cpu_s = time.process_time() - used_s
                    self._clock.mark("over")
                    self._load_average["storm"] = round(os.getloadavg()[0], 1)
                with self._clock.stage("heal"), self._complaining("I11"):
                    await nemesis.heal()
                with self._clock.stage("drain"):
                    waiting = [load.stop(DRAIN_S) for load in self._loads]
                    self._waiting = sum(await asyncio.gather(*waiting))
                    await self._until_watched(watcher)
        finally:
            watcher.close()
            faults.close()
            journal.close()
        with self._clock.stage("judgement"):
            judgement = await asyncio.to_thread(self._judge, instance, sink)
        return self._report(judgement, nemesis, sink, instance)

    @contextlib.asynccontextmanager
    async def _loaded(self, instance: RunningInstance, journal: JournalFile) -> AsyncIterator[None]:
        base_url = str(instance.api.http.base_url).rstrip("/")
        for number, (tenant, in_flight) in enumerate(
            zip(self._tenants, (self._options.in_flight, NEIGHBOURS), strict=True)
        ):
            seed = self._options.seed * 10 + number
            client = Client(base_url, tenant.workspace_id, tenant.api_key, Random(seed))
            load = Load(tenant.name, client, self._shapes, journal, Random(seed + 5))
            await load.store()
            self._loads.append(load)
            load.start(in_flight)
        try:
            yield
        finally:
            for load in self._loads:
                await load.stop(0)

    async def _until_watched(self, watcher: Watcher) -> None:
        deadline_s = time.monotonic() + 10
        while not watcher.settled() and time.monotonic() < deadline_s:
            await asyncio.sleep(0.1)

    def _judge(self, instance: RunningInstance, sink: Sink) -> Judgement:
        spans = {"calm": self._clock.span("calm", "storm"), "storm": self._clock.span("storm", "over")}
        tenants = {tenant.workspace_id: tenant.name for tenant in self._tenants}
        judgement = Judgement(self._shapes, tenants, spans)
        judgement.judge(instance.dsn, read_journal(self._folder / "journal.jsonl"), sink.seen)
        self._violations += judgement.violations
        with self._complaining("I11"):
            self._violations += aftermath.look(instance, POOL * instance.hosts)
        base_url = str(instance.api.http.base_url).rstrip("/")
        with self._complaining("I11"):
            self._violations += aftermath.look_across(base_url, self._tenants, judgement.owned)
        for load in self._loads:
            self._violations += [Violation("refused", f"{load.tenant}: {what}") for what in load.refused]
        if self._waiting:
            self._violations.append(
                Violation("I1", f"{self._waiting} clients still wait {DRAIN_S:.0f} s after all had healed")
            )
        return judgement

    def _report(self, judgement: Judgement, nemesis: Nemesis, sink: Sink, instance: RunningInstance) -> Report:
        faults = nemesis.faults
        phases = {
            name: Phase(
                over_s - begun_s,
                sum(begun_s <= ended_s < over_s for ended_s in self._ended_s()),
                judgement.results_in[name],
            )
            for name, (begun_s, over_s) in judgement.spans.items()
        }
        retried = [each for load in self._loads for each in load.client.retried]
        refused = sum(
            audit.refused_flushes(instance.dsn, woken.ports, woken.at_s, woken.at_s + WAKE_SPAN_S)
            for woken in faults.woken
        )
        answered_in = set[int]().union(*(load.client.answered_in for load in self._loads))
        failures = Counter(failure for each in retried for failure in each.failures)
        counts = {
            "node_results": judgement.node_results,
            "executions_taken_over": judgement.taken_over,
            "failed_with": dict(judgement.errors),
            "faults_that_found_nothing": dict(nemesis.skipped),
            "owners_woken_past_their_lease": len(faults.woken),
            "flushes_refused_to_woken_owners": refused,
            "requests_at_the_sink": len(sink.seen),
            "effects_sent_again": judgement.effects_sent_again,
            "signals_left_unread": judgement.signals_left_unread,
            "requests_decided": judgement.decided,
            "executions_paused": judgement.pauses,
            "children": judgement.children,
            "outcomes_unknown": judgement.outcomes_unknown,
            "timers": len(judgement.timers_late_ms),
            "timers_late_s": quantiles([late_ms / 1000 for late_ms in judgement.timers_late_ms]),
            "requests_that_clients_sent_again": len(retried),
            "client_failures": dict(failures.most_common(12)),
            "load_average": self._load_average,
            "seconds_of_storm_without_any_answer": silent_s(judgement.spans["storm"], answered_in),
            "cpu_seconds_of_the_clients": round(self._clients_cpu_s, 1),
            "streams_reconnected": sum(load.client.reconnects for load in self._loads),
        }
        settings = {**vars(self._options), "output": str(self._options.output or ""), "pool": POOL, "slots": SLOTS}
        return Report(
            {**settings, "neighbours_in_flight": NEIGHBOURS, "cores": psutil.cpu_count()},
            phases["calm"],
            phases["storm"],
            apart_from_outages(judgement.spans["storm"], faults.done, self._ended_s()),
            faults.done,
            retried,
            self._violations,
            judgement.by_status,
            counts,
            self._clock.seconds,
        )

    def _ended_s(self) -> list[float]:
        return [ended_s for load in self._loads for ended_s in load.ended_s]

    def _close(self, instance: RunningInstance, keep_logs: bool) -> None:
        with self._complaining("I11"):
            if self._host is not None:
                self._host.stop()
            instance.close(keep_logs=keep_logs)

    @contextlib.contextmanager
    def _complaining(self, invariant: str) -> Any:
        try:
            yield
        except (AssertionError, httpx2.HTTPError) as error:
            self._violations.append(Violation(invariant, f"{type(error).__name__}: {error}"))


def _tenants(instance: RunningInstance) -> list[Tenant]:
    """Return the first workspace, and a neighbour of its own user."""
    key = new_key()
    made = bootstrap(
        instance.dsn, email="neighbour@rayloom.local", password=key, workspace_name="Neighbour", api_key=key
    )
    first = Tenant("first", instance.workspace_id, instance.api.http.headers["X-API-Key"])
    return [first, Tenant("neighbour", UUID(str(made.workspace_id)), key)]


def options_of(arguments: list[str]) -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.storm", description=__doc__)
    parser.add_argument("--seconds", type=float, default=170, help="how long faults go on")
    parser.add_argument("--calm", type=float, default=20, help="seconds of the same load before them, for comparison")
    parser.add_argument("--seed", type=int, default=1, help="of everything that is drawn")
    parser.add_argument("--in-flight", type=int, default=100, help="executions under way all the time")
    parser.add_argument("--effect-ms", type=int, default=400, help="about how long the sink takes to answer")
    parser.add_argument("--long", action="store_true", help="the pace of faults for half an hour")
    parser.add_argument("--one-by-one", action="store_true", help="each fault when the one before has healed")
    parser.add_argument("--output", type=Path, help="write the report there as JSON")
    return parser.parse_args(arguments)


def main() -> int:
    """Let it storm."""
    options = options_of(sys.argv[1:])
    report = asyncio.run(Storm(options).run())
    print("\n".join(report.lines()), flush=True)
    if options.output:
        options.output.write_text(json.dumps(report.as_json(), indent=2) + "\n")
    return 1 if report.violations else 0


if __name__ == "__main__":
    sys.exit(main())
