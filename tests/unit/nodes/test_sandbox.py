"""What the sandbox does with ordinary code, and with its processes."""

import asyncio
import contextlib
import os
import time

import psutil
import pytest

from nodes.sandbox import LocalSandbox
from nodes.sandbox.child import ChildProcess
from nodes.sandbox.logs import NOTE
from workflow.errors import NodeError
from workflow.spec import CodeLimits, CodeResult

LIMITS = CodeLimits(timeout_ms=5_000, memory_bytes=64 * 2**20)
FIBONACCI = {
    "python": "def f(n):\n    return n if n < 2 else f(n - 1) + f(n - 2)\nreturn f(n)",
    "javascript": "const f = n => n < 2 ? n : f(n - 1) + f(n - 2)\nreturn f(n)",
}
SLEEPING = {"python": "import time\ntime.sleep(60)", "javascript": "for (;;) {}"}
BUSY = {"python": "while True: pass", "javascript": 'return "a".repeat(2000000).includes("a".repeat(1000000) + "b")'}
LANGUAGES = ["python", "javascript"]

pytestmark = pytest.mark.parametrize("language", LANGUAGES)


def evaluate(sandbox, language, code, arguments=None, limits=LIMITS, **options):
    return getattr(sandbox, language)(code, arguments or {}, limits, **options)


def worker_pids():
    """The sandbox's workers: this process may also be the parent of a database or of Ray."""
    found = set()
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if any("monty" in part or "quickjs" in part for part in child.cmdline()):
                found.add(child.pid)
    return found


async def wait_until(condition):
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def test_returns_what_the_code_returns(sandbox, language):
    assert await evaluate(sandbox, language, FIBONACCI[language], {"n": 10}) == CodeResult(55)


async def test_values_pass_unchanged_both_ways(sandbox, language):
    value = {
        "": [None, True, False, 0, -1, 1.5, 2**53, "é\u2028𝄞'\"\\`${x}{{ y }}", {"__proto__x": {}}],
        "n": {"n": []},
    }
    assert (await evaluate(sandbox, language, "return v", {"v": value})).value == value


async def test_the_body_may_be_empty(sandbox, language):
    assert await evaluate(sandbox, language, "") == CodeResult(None)


async def test_each_runs_the_body_per_element(sandbox, language):
    result = await evaluate(sandbox, language, "return x + 1", {"x": [1, 2, 3]}, each="x")
    assert result.value == [2, 3, 4]
    assert (await evaluate(sandbox, language, "return x", {"x": []}, each="x")).value == []


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
async def test_strings_over_several_lines_are_left_alone(sandbox, language, newline):
    quotes = {"python": '"""', "javascript": "`"}[language]
    code = f"const_ = {quotes}a\n  b\n c{quotes}\nif (const_): pass\nreturn const_"
    if language == "javascript":
        code = f"let const_ = {quotes}a\n  b\n c{quotes}\nreturn const_"
    assert (await evaluate(sandbox, language, code.replace("\n", newline))).value == "a\n  b\n c"


async def test_logs_are_cut_off_with_a_note(sandbox, language):
    write = {"python": "print('é' * 100)", "javascript": "console.log('é'.repeat(100))"}[language]
    limits = CodeLimits(timeout_ms=5_000, memory_bytes=64 * 2**20, log_bytes_max=51)
    assert (await evaluate(sandbox, language, write, limits=limits)).logs == "é" * 25 + NOTE


async def test_a_crowd_shares_few_workers(language):
    async with LocalSandbox(size=2) as sandbox:
        results = await asyncio.gather(*(evaluate(sandbox, language, "return n", {"n": n}) for n in range(50)))
        assert [each.value for each in results] == list(range(50))
        assert len(worker_pids()) == 2


async def test_a_worker_has_no_environment_and_no_descriptors_of_ours(language, monkeypatch):
    monkeypatch.setenv("RAYLOOM_TEST_SECRET", "secret")
    read_end, write_end = os.pipe()
    os.set_inheritable(read_end, True)
    os.set_inheritable(write_end, True)
    try:
        async with LocalSandbox(size=1) as sandbox:
            await evaluate(sandbox, language, "return 1")
            [worker] = map(psutil.Process, worker_pids())
            assert worker.environ() == {}
            held = {int(name) for name in os.listdir(f"/proc/{worker.pid}/fd")}
            ours = os.stat(read_end).st_ino
            assert all(os.stat(f"/proc/{worker.pid}/fd/{each}").st_ino != ours for each in held)
            assert held <= {0, 1, 2}, {each: os.readlink(f"/proc/{worker.pid}/fd/{each}") for each in held}
            assert worker.rlimit(psutil.RLIMIT_NOFILE) == (0, 0)
            assert worker.rlimit(psutil.RLIMIT_FSIZE) == (0, 0)
    finally:
        os.close(read_end)
        os.close(write_end)


async def test_making_one_starts_nothing_and_start_starts_one_worker_each(language):
    before = worker_pids()
    sandbox = LocalSandbox(size=4)
    assert worker_pids() == before
    await sandbox.start()
    assert len(worker_pids() - before) == 3
    await sandbox.close()
    assert worker_pids() == before


async def test_cancelling_kills_the_worker_and_the_next_evaluation_gets_another(sandbox, language):
    pool = getattr(sandbox._engines, language)._pool
    for code in (SLEEPING[language], BUSY[language]):
        await evaluate(sandbox, language, "return 1")
        [victim] = worker_pids()
        task = asyncio.create_task(evaluate(sandbox, language, code))
        await wait_until(lambda: pool._busy)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await evaluate(sandbox, language, "return 2")).value == 2
        await wait_until(lambda pid=victim: not psutil.pid_exists(pid))


async def test_cancelling_while_the_worker_starts_leaves_no_process(language):
    before = worker_pids()
    for turns in range(6):
        sandbox = LocalSandbox(size=1)
        task = asyncio.create_task(evaluate(sandbox, language, SLEEPING[language]))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await sandbox.close()
        assert worker_pids() == before


async def test_a_worker_killed_in_the_middle_is_an_error_worth_another_attempt(sandbox, language):
    await evaluate(sandbox, language, "return 1")
    [victim] = worker_pids()
    task = asyncio.create_task(evaluate(sandbox, language, BUSY[language]))
    await wait_until(lambda: psutil.Process(victim).cpu_times().user > 0.1)
    psutil.Process(victim).kill()
    with pytest.raises(NodeError) as caught:
        await task
    assert caught.value.code == "sandbox_crashed"
    assert caught.value.retryable
    assert (await evaluate(sandbox, language, "return 2")).value == 2


async def test_a_worker_killed_while_idle_is_replaced_unnoticed(sandbox, language):
    await evaluate(sandbox, language, "return 1")
    [victim] = worker_pids()
    held = ChildProcess(victim)
    held.kill()
    await wait_until(held.ended)
    held.close()
    assert (await evaluate(sandbox, language, "return 2")).value == 2
    assert victim not in worker_pids()


async def test_close_ends_busy_workers_and_fails_what_they_did(language):
    before = worker_pids()
    sandbox = LocalSandbox(size=1)
    await evaluate(sandbox, language, "return 1")
    busy = asyncio.create_task(evaluate(sandbox, language, SLEEPING[language]))
    waiting = asyncio.create_task(evaluate(sandbox, language, "return 1"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    began = time.monotonic()
    await sandbox.close()
    assert time.monotonic() - began < 2
    assert worker_pids() == before
    for task, codes in ((busy, {"sandbox_crashed", "sandbox_closed"}), (waiting, {"sandbox_closed"})):
        with pytest.raises(NodeError) as caught:
            await task
        assert caught.value.code in codes
        assert caught.value.retryable
    with pytest.raises(NodeError):
        await evaluate(sandbox, language, "return 1")
    await sandbox.close()


async def test_the_event_loop_goes_on_during_an_evaluation(sandbox, language):
    await evaluate(sandbox, language, "return 1")
    limits = CodeLimits(timeout_ms=300, memory_bytes=64 * 2**20)
    task = asyncio.create_task(evaluate(sandbox, language, BUSY[language], limits=limits))
    longest = 0.0
    while not task.done():
        began = time.monotonic()
        await asyncio.sleep(0)
        longest = max(longest, time.monotonic() - began)
    with pytest.raises(NodeError):
        await task
    assert longest < 0.2


async def test_what_is_killed_in_its_sleep_gives_no_result(language):
    for _ in range(25):
        sandbox = LocalSandbox(size=1)
        await evaluate(sandbox, language, "return 1")
        sleeping = asyncio.create_task(evaluate(sandbox, language, SLEEPING[language]))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await sandbox.close()
        with pytest.raises(NodeError) as caught:
            await sleeping
        assert caught.value.code in {"sandbox_crashed", "sandbox_closed"}
