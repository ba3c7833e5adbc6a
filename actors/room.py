"""Whether any host of the cluster could ever do a node's work. Pure. Ray itself lets work that fits nowhere wait for ever."""

from collections.abc import Iterable, Mapping
from typing import Any

from actors.models import HostedModel
from actors.work import TaskCall
from workflow.errors import NodeError
from workflow.models import Gpu

CPUS_EVERYWHERE = 1
"""Work that asks for no more than this, and for no memory, is not looked at: every host of ours has a CPU."""
ACCELERATOR = "accelerator_type:"
"""Ray's resource of a host with a type of GPU."""


def may_lack_room(call: TaskCall) -> bool:
    """Whether the hosts have to be looked at for this work."""
    return call.cpu > CPUS_EVERYWHERE or call.memory_bytes > 0 or call.gpu is not Gpu.NONE


def options_for(call: TaskCall, hosts: Iterable[Mapping[str, float]]) -> dict[str, Any]:
    """Return Ray's options for work that one of the hosts, given by their resources, is large enough for.

    Work that prefers a GPU does without where no host has what it prefers. Raises `NodeError`: `gpu_unavailable` for work that requires
    one, which is for good; `resources_unavailable` where no host has the CPUs and the memory, which may change.
    """
    known = list(hosts)
    options: dict[str, Any] = {"num_cpus": call.cpu}
    if call.memory_bytes:
        options["memory"] = call.memory_bytes
    if call.gpu is not Gpu.NONE:
        with_gpu = [host for host in known if _has_gpu(call, host)]
        if with_gpu and (call.gpu is Gpu.REQUIRED or any(_has_room(call, host) for host in with_gpu)):
            known = with_gpu
            options["num_gpus"] = call.gpus
            if call.accelerator:
                options["accelerator_type"] = call.accelerator
        elif call.gpu is Gpu.REQUIRED:
            raise _no_gpu(call, known)
    if may_lack_room(call) and not any(_has_room(call, host) for host in known):
        raise _no_room(call, known)
    return options


def has_gpu_for(model: HostedModel, hosts: Iterable[Mapping[str, float]]) -> bool:
    """Whether a model uses GPUs, and a host has as much of one, of its type, as each of its replicas takes."""
    return model.gpu > 0 and any(_fits(host, model.gpu, model.accelerator) for host in hosts)


def _has_gpu(call: TaskCall, host: Mapping[str, float]) -> bool:
    return _fits(host, call.gpus, call.accelerator)


def _fits(host: Mapping[str, float], gpus: float, accelerator: str) -> bool:
    of_type = not accelerator or host.get(f"{ACCELERATOR}{accelerator}", 0) > 0
    return of_type and host.get("GPU", 0) >= gpus


def _has_room(call: TaskCall, host: Mapping[str, float]) -> bool:
    return host.get("CPU", 0) >= call.cpu and host.get("memory", 0) >= call.memory_bytes


def _no_gpu(call: TaskCall, hosts: list[Mapping[str, float]]) -> NodeError:
    most = max((host.get("GPU", 0) for host in hosts), default=0)
    types = sorted({name.removeprefix(ACCELERATOR) for host in hosts for name in host if name.startswith(ACCELERATOR)})
    wanted = f"{call.gpus:g} GPU{f' of type {call.accelerator}' if call.accelerator else ''}"
    there = f"the most that a host has is {most:g}{f', of the types {chr(44).join(types)}' if types else ''}"
    message = f"{call.context.node_id!r} requires {wanted} on one host; {there}"
    return NodeError(message, "gpu_unavailable", {"gpus": call.gpus, "retryable": False})


def _no_room(call: TaskCall, hosts: list[Mapping[str, float]]) -> NodeError:
    cpus = max((host.get("CPU", 0) for host in hosts), default=0)
    memory = int(max((host.get("memory", 0) for host in hosts), default=0))
    message = (
        f"{call.context.node_id!r} asks for {call.cpu:g} CPUs and {call.memory_bytes} bytes of memory on one host; "
        f"the most that a host has are {cpus:g} CPUs and {memory} bytes"
    )
    return NodeError(message, "resources_unavailable", {"retryable": True})
