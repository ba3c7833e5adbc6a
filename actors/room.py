"""Whether any host of the cluster could ever do a node's work. Pure. Ray itself lets work that fits nowhere wait for ever."""

from collections.abc import Iterable, Mapping

from actors.work import TaskCall
from workflow.errors import NodeError

CPUS_EVERYWHERE = 1
"""Work that asks for no more than this, and for no memory, is not looked at: every host of ours has a CPU."""


def may_lack_room(call: TaskCall) -> bool:
    """Whether the hosts have to be looked at for this work."""
    return call.cpu > CPUS_EVERYWHERE or call.memory_bytes > 0


def check_room(call: TaskCall, hosts: Iterable[Mapping[str, float]]) -> None:
    """Raise `NodeError` (`resources_unavailable`) unless one of the hosts, given by their resources, is large enough."""
    known = list(hosts)
    fits = any(host.get("CPU", 0) >= call.cpu and host.get("memory", 0) >= call.memory_bytes for host in known)
    if fits:
        return
    cpus = max((host.get("CPU", 0) for host in known), default=0)
    memory = int(max((host.get("memory", 0) for host in known), default=0))
    message = (
        f"{call.context.node_id!r} asks for {call.cpu:g} CPUs and {call.memory_bytes} bytes of memory on one host; "
        f"the most that a host has are {cpus:g} CPUs and {memory} bytes"
    )
    raise NodeError(message, "resources_unavailable", {"retryable": True})
