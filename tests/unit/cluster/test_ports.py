import socket
from dataclasses import fields
from pathlib import Path

import pytest

from cluster.ports import PICKED_FROM, REPLICA_PORTS, Ports, is_free, settle
from configs.settings import RAY_WORKER_PORTS
from workflow.errors import Unavailable

WANTED = {"api": 8000, "postgres": 0, "dashboard": 8265}
HERE = Path("/home/a/.rayloom")


def everything(_port):
    return True


def spread(ports):
    for field in fields(Ports):
        first = getattr(ports, field.name)
        yield from range(first, first + (REPLICA_PORTS if field.name.startswith("replica_") else 1))


def test_all_ports_differ_and_stay_out_of_rays_range():
    ports = settle({}, WANTED, HERE, everything)
    numbers = list(spread(ports))
    assert len(set(numbers)) == len(numbers)
    assert not set(numbers) & set(RAY_WORKER_PORTS)
    assert ports.api == 8000
    assert ports.dashboard == 8265
    assert all(number in PICKED_FROM for number in numbers if number not in (8000, 8265))


def test_they_are_remembered():
    first = settle({}, WANTED, HERE, everything)
    assert settle(first.as_json(), WANTED, Path("/other"), everything) == first


def test_only_a_port_that_a_stranger_has_taken_is_picked_anew():
    first = settle({}, WANTED, HERE, everything)
    second = settle(first.as_json(), WANTED, HERE, lambda port: port != first.gcs)
    changed = {name for name, port in second.as_json().items() if port != first.as_json()[name]}
    assert changed == {"gcs"}
    assert len(set(spread(second))) == len(list(spread(second)))


def test_homes_begin_in_different_places():
    assert settle({}, WANTED, HERE, everything).gcs != settle({}, WANTED, Path("/home/b/.rayloom"), everything).gcs


def test_a_taken_dashboard_port_is_replaced_but_the_apis_is_not():
    ports = settle({}, WANTED, HERE, lambda port: port not in (8000, 8265))
    assert ports.dashboard in PICKED_FROM
    assert ports.api == 8000


def test_a_damaged_memory_does_no_harm():
    ports = settle({"gcs": 12000, "postgres": 99999}, WANTED, HERE, everything)
    assert ports.gcs in PICKED_FROM
    assert ports.postgres in PICKED_FROM


def test_no_port_left():
    with pytest.raises(Unavailable, match="no free port"):
        settle({}, WANTED, HERE, lambda _port: False)


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_a_listener_on_any_address_takes_the_port(address):
    with socket.create_server((address, 0)) as listener:
        port = listener.getsockname()[1]
        assert not is_free(port)
    assert is_free(port)
