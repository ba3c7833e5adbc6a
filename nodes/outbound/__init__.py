"""The one way out: outgoing HTTP through a client that checks every address at the moment it connects."""

from nodes.outbound.client import GuardedClient
from nodes.outbound.policy import OutboundPolicy, own_addresses

__all__ = ["GuardedClient", "OutboundPolicy", "own_addresses"]
