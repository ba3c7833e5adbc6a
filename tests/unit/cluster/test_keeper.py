import pytest

from cluster.keeper import FIRST_PAUSE_S, HEALTHY_AFTER_S, LONGEST_PAUSE_S, GaveUp, Keeper, Kept, Phase
from workflow.errors import Unavailable

from .fakes import Clock, FakePart


class Scene:
    """database and ray side by side, driver on top of both; the driver dies with ray."""

    def __init__(self):
        self.clock = Clock()
        self.journal = []
        self.said = []
        self.database, self.ray, self.driver = (FakePart(name, self.journal) for name in ("database", "ray", "driver"))
        self.keeper = Keeper(
            [
                Kept(part=self.database, start_limit_s=10),
                Kept(part=self.ray, start_limit_s=10),
                Kept(part=self.driver, start_limit_s=10, needs=("database", "ray"), dies_with=("ray",)),
            ],
            self.clock,
            self.said.append,
        )

    def tick(self, pass_s=0.0):
        self.clock.pass_s(pass_s)
        self.keeper.tick()

    def bring_up(self):
        self.tick()
        self.database.becomes_ready()
        self.ray.becomes_ready()
        self.tick()
        self.tick()
        self.driver.becomes_ready()
        self.tick()
        assert self.keeper.ready
        self.journal.clear()

    def kept(self, name):
        return next(one for one in self.keeper.kept if one.name == name)


@pytest.fixture
def scene():
    return Scene()


def test_database_and_ray_begin_side_by_side_and_the_driver_is_only_warmed(scene):
    scene.tick()
    assert [line for line in scene.journal if line.startswith("begin")] == ["begin database", "begin ray"]
    assert "warm driver" in scene.journal


def test_the_driver_waits_for_both(scene):
    scene.tick()
    scene.database.becomes_ready()
    scene.tick()
    assert "begin driver" not in scene.journal
    scene.ray.becomes_ready()
    scene.tick()
    assert scene.journal[-1] == "begin driver"


def test_the_seconds_of_every_stage_are_kept(scene):
    scene.tick()
    scene.database.becomes_ready()
    scene.ray.becomes_ready()
    scene.tick(pass_s=3.0)
    scene.driver.becomes_ready(pool=1.5, api=2.5)
    scene.tick(pass_s=4.0)
    assert scene.kept("database").seconds == {"database": 3.0}
    assert scene.kept("driver").seconds == {"pool": 1.5, "api": 2.5, "driver": 4.0}


def test_a_dead_database_is_restarted_and_nothing_else_is_touched(scene):
    scene.bring_up()
    scene.database.dies()
    scene.tick()
    assert scene.journal == ["end database"]
    scene.tick(pass_s=FIRST_PAUSE_S)
    assert scene.journal == ["end database", "warm database", "begin database"]
    assert scene.kept("driver").phase is Phase.READY


def test_a_dead_head_takes_the_driver_down_first_and_both_come_back_in_order(scene):
    scene.bring_up()
    scene.ray.dies("Ray has ended")
    scene.tick()
    assert scene.journal[:2] == ["end driver", "end ray"]
    scene.tick(pass_s=FIRST_PAUSE_S)
    assert "begin ray" in scene.journal
    assert "begin driver" not in scene.journal
    scene.ray.becomes_ready()
    scene.tick()
    assert scene.journal[-1] == "begin driver"
    assert scene.kept("ray").restarts == 1


def test_a_dead_driver_leaves_the_head_alone(scene):
    scene.bring_up()
    scene.driver.dies()
    scene.tick()
    scene.tick(pass_s=FIRST_PAUSE_S)
    assert scene.journal == ["end driver", "warm driver", "begin driver"]


def test_pauses_double_up_to_a_limit(scene):
    scene.bring_up()
    pauses = []
    for _ in range(9):
        scene.database.dies()
        scene.tick()
        pauses.append(scene.kept("database").retry_at_s - scene.clock())
        scene.tick(pass_s=pauses[-1] - 0.01)
        assert scene.journal[-1] == "end database"
        scene.tick(pass_s=0.02)
        assert scene.journal[-1] == "begin database"
    assert [round(pause, 2) for pause in pauses] == [
        0.5,
        1,
        2,
        4,
        8,
        16,
        LONGEST_PAUSE_S,
        LONGEST_PAUSE_S,
        LONGEST_PAUSE_S,
    ]


def test_a_minute_of_health_forgets_failures(scene):
    scene.bring_up()
    scene.database.dies()
    scene.tick()
    scene.tick(pass_s=FIRST_PAUSE_S)
    scene.database.becomes_ready()
    scene.tick()
    assert scene.kept("database").failures == 1
    scene.tick(pass_s=HEALTHY_AFTER_S + 1)
    assert scene.kept("database").failures == 0


def test_a_part_that_does_not_come_up_in_time_counts_as_failed(scene):
    scene.tick()
    scene.tick(pass_s=10.5)
    assert scene.kept("ray").reason == "ray was not ready after 10 s"
    assert "end ray" in scene.journal


def test_the_first_start_gives_up_with_the_reason(scene):
    scene.tick()
    scene.ray.dies("ValueError: port 6379 is taken")
    scene.tick()
    scene.tick(pass_s=FIRST_PAUSE_S)
    scene.ray.dies("ValueError: port 6379 is taken")
    with pytest.raises(GaveUp, match="ray: ValueError: port 6379 is taken"):
        scene.tick()


def test_later_it_never_gives_up(scene):
    scene.bring_up()
    for _ in range(20):
        scene.ray.dies()
        scene.tick()
        scene.tick(pass_s=LONGEST_PAUSE_S + 1)
    assert scene.kept("ray").restarts == 20


def test_a_begin_that_raises_counts_as_a_failure(scene):
    scene.bring_up()
    scene.driver.begin_error = OSError("no more processes")
    scene.driver.dies()
    scene.tick()
    scene.tick(pass_s=FIRST_PAUSE_S)
    assert scene.kept("driver").reason == "OSError: no more processes"
    assert scene.kept("driver").phase is Phase.DOWN


def test_an_end_that_raises_does_not_stop_the_restart(scene):
    scene.bring_up()
    scene.ray.end_error = Unavailable("processes of Ray cannot be ended: 12")
    scene.ray.dies()
    scene.tick()
    scene.tick(pass_s=FIRST_PAUSE_S)
    assert "begin ray" in scene.journal
    assert any("cannot be ended: 12" in line for line in scene.said)


def test_stop_ends_everything_in_reverse_and_the_database_last(scene):
    scene.bring_up()
    assert scene.keeper.stop() == []
    assert scene.journal == ["end driver", "end ray", "end database"]


def test_stop_goes_on_after_a_problem_and_tells_it(scene):
    scene.bring_up()
    scene.ray.end_error = Unavailable("processes remain")
    assert scene.keeper.stop() == ["ray: processes remain"]
    assert scene.journal[-1] == "end database"
