import contextlib
import os
import subprocess
import sys

import psutil
import pytest

from cluster.processes import Identity, belonging, created_s, end, end_all, find

SLEEP = "import time; print('up', flush=True); time.sleep(60)"
# Overwrites what /proc tells as its environment, as Ray's dashboard processes do when they set their title.
FORGET = "import os, sys, time; os.execve(sys.executable, [sys.executable, '-c', sys.argv[1]], {})"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


@pytest.fixture
def start(tmp_path):
    (tmp_path / "work").mkdir()
    with contextlib.ExitStack() as stack:

        def run(code, *arguments, instance=None, cwd=None, session=True):
            environment = {} if instance is None else Identity(instance=instance, folder=tmp_path).environment()
            process = subprocess.Popen(
                [sys.executable, "-c", code, *arguments],
                env={**os.environ, **environment},
                cwd=cwd or tmp_path / "work",
                stdout=subprocess.PIPE,
                start_new_session=session,
            )
            stack.callback(process.wait)
            stack.callback(process.stdout.close)
            stack.callback(process.kill)
            assert process.stdout.readline() == b"up\n"
            return process

        yield run


@pytest.fixture
def mine(tmp_path):
    return Identity(instance="mine", folder=tmp_path / "work")


def pids(processes):
    return {process.pid for process in processes}


def test_only_processes_with_our_mark_belong(start, mine):
    ours = start(SLEEP, instance="mine")
    start(SLEEP, instance="theirs")
    start(SLEEP)
    assert pids(belonging(mine)) == {ours.pid}


def test_a_process_that_lost_its_environment_belongs_by_its_session_and_folder(start, mine, tmp_path):
    forgetful = start(FORGET, SLEEP, instance="mine")
    elsewhere = start(FORGET, SLEEP, instance="mine", cwd=tmp_path)
    assert pids(belonging(mine)) == set()
    assert pids(belonging(mine, (forgetful.pid, elsewhere.pid))) == {forgetful.pid}


def test_this_process_and_its_parents_never_belong(mine, tmp_path):
    here = Identity(instance="mine", folder=tmp_path.anchor and type(tmp_path)("/"))
    assert os.getpid() not in pids(belonging(here, (os.getsid(0),)))


def test_all_of_an_instance_end_and_nobody_else(start, mine):
    ours = [start(DEAF, instance="mine"), start(FORGET, SLEEP, instance="mine")]
    other = start(SLEEP, instance="theirs")
    assert end_all(mine, [process.pid for process in ours]) == []
    assert all(process.wait(5) is not None for process in ours)
    assert other.poll() is None
    assert end_all(mine) == []


def test_a_process_that_does_not_listen_is_killed_after_its_grace(start):
    polite, deaf = psutil.Process(start(SLEEP).pid), psutil.Process(start(DEAF).pid)
    assert end([polite, deaf], grace_s=0.5) == []
    assert not polite.is_running()
    assert not deaf.is_running()


def test_a_pid_that_was_given_again_is_not_the_process(start):
    process = start(SLEEP)
    born = created_s(process.pid)
    assert find(process.pid, born) is not None
    assert find(process.pid, born - 100) is None
    assert find(None, None) is None
    process.kill()
    process.wait()
    assert find(process.pid, born) is None
    assert created_s(process.pid) is None
