"""A child process, held by a descriptor so that a reused process id is never signalled; and what it may not inherit."""

import contextlib
import os
import resource
import select
import signal


class ChildProcess:
    """A process that we started. `close` gives up the descriptor; the process is reaped by whoever started it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._descriptor = os.pidfd_open(pid)

    def kill(self) -> None:
        """End it at once; nothing happens if it has ended already."""
        if self._descriptor >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)

    def ended(self) -> bool:
        """Whether it is no longer running."""
        if self._descriptor < 0:
            return True
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        return bool(poll.poll(0))

    def restrict(self, address_space_bytes: int) -> None:
        """Take away what a broken-out interpreter would want: new descriptors, files, processes, endless memory."""
        for limit, value in (
            (resource.RLIMIT_NOFILE, 0),
            (resource.RLIMIT_FSIZE, 0),
            (resource.RLIMIT_NPROC, 0),
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_AS, address_space_bytes),
        ):
            with contextlib.suppress(ProcessLookupError):
                _, hard = resource.prlimit(self.pid, limit)
                lowered = value if hard == resource.RLIM_INFINITY else min(value, hard)
                resource.prlimit(self.pid, limit, (lowered, lowered))

    def close(self) -> None:
        """Give up the descriptor."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def seal_descriptors() -> None:
    """Mark every descriptor of this process beyond the standard three as not to be inherited.

    Python marks its own; native code beside it (Ray, gRPC, database drivers) may not. `subprocess` passes on what it is
    told to by itself, so nothing else depends on the mark.
    """
    for name in os.listdir("/proc/self/fd"):
        descriptor = int(name)
        if descriptor > 2:
            with contextlib.suppress(OSError):
                os.set_inheritable(descriptor, False)
