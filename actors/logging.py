"""Logs of our processes inside Ray: one JSON line per event on standard error, which Ray keeps per process."""

import logging
import sys

import structlog


def configure_logging(level: int = logging.INFO) -> None:
    """Let structlog write JSON lines; past Serve, which replaces `sys.stderr` by a logger of its own."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(sys.__stderr__),
        cache_logger_on_first_use=True,
    )
