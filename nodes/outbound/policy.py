"""Which addresses may be reached from a workflow: the public internet, and what a setting allows.

An address is looked at as what it leads to: IPv4 in IPv6 clothes (mapped, 6to4, NAT64, Teredo) is unwrapped first.
"""

import ipaddress
import socket
from dataclasses import dataclass
from typing import TypeAlias

import psutil

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_CLOSED = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",
        "100.64.0.0/10",
        "192.0.0.0/24",
        "192.88.99.0/24",
        "198.18.0.0/15",
        "240.0.0.0/4",
        "fec0::/10",
    )
)
"""Not for everybody either, though Python versions differ about some of them."""
_COMPATIBLE = ipaddress.IPv6Network("::/96")


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundPolicy:
    """What may be reached.

    `allow` are networks (`10.0.0.0/8`) or single places with a port (`127.0.0.1:8000`, `[::1]:8000`); a network opens all ports but our
    own, a place with a port opens just that, also where it is ours. `own_ports` are ranges (first, last) that we listen on, `own_addresses`
    the addresses of this host.
    """

    allow: tuple[str, ...] = ()
    own_ports: tuple[tuple[int, int], ...] = ()
    own_addresses: tuple[str, ...] = ()

    def permits(self, text: str, port: int) -> bool:
        """Whether this address (not a name) and port may be connected to."""
        try:
            address = unwrapped(ipaddress.ip_address(text.partition("%")[0]))
        except ValueError:
            return False
        if any(_is_place(entry, address, port) for entry in self.allow):
            return True
        ours = address.is_loopback or address.is_unspecified or str(address) in self.own_addresses
        if ours and any(first <= port <= last for first, last in self.own_ports):
            return False
        if any(_holds(entry, address) for entry in self.allow):
            return True
        closed = any(network.version == address.version and address in network for network in _CLOSED)
        return not ours and not closed and address.is_global and not address.is_multicast


def own_addresses() -> tuple[str, ...]:
    """Return the addresses of this host's interfaces."""
    families = (socket.AF_INET, socket.AF_INET6)
    return tuple(
        sorted(
            entry.address.partition("%")[0]
            for entries in psutil.net_if_addrs().values()
            for entry in entries
            if entry.family in families
        )
    )


def unwrapped(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address leads to, where it does, else the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
    if inner is None and (address in _NAT64 or (address in _COMPATIBLE and int(address) > 1)):
        inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return inner or address


def _network(entry: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return None


def _place(entry: str) -> tuple[Address, int] | None:
    host, colon, port = entry.rpartition(":")
    try:
        return (ipaddress.ip_address(host.strip("[]")), int(port)) if colon else None
    except ValueError:
        return None


def _holds(entry: str, address: Address) -> bool:
    network = _network(entry)
    return network is not None and network.version == address.version and address in network


def _is_place(entry: str, address: Address, port: int) -> bool:
    return _network(entry) is None and _place(entry) == (address, port)
