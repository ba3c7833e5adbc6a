"""What is removed now and then because nothing needs it any more: apart from all else, for it may take long."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog


async def sweep_for_ever(what: str, sweep: Callable[[], Awaitable[int]], every_s: float) -> None:
    """Sweep, which says how much it removed, and again after so many seconds, whatever went wrong."""
    log = structlog.get_logger("rayloom.sweep")
    while True:
        try:
            if removed := await sweep():
                log.info("swept", what=what, removed=removed)
        except Exception:  # the next sweep does what this one could not
            log.exception("sweep.failed", what=what)
        await asyncio.sleep(every_s)
