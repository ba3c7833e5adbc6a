"""Hostile code: each attack ends as one clean error within its limits, and the next evaluation is none the wiser."""

import contextlib
import os
import subprocess
import sys
import time

import pytest

from workflow.errors import NodeError
from workflow.spec import CodeLimits

LIMITS = CodeLimits(timeout_ms=400, memory_bytes=48 * 2**20)
GRACE_S = 1.5
"""The sandbox's own grace of 0.5 s, and what two busy cores may add."""

ENDLESS = "code_timeout"
MEMORY = "code_memory"
ERROR = "code_error"
SYNTAX = "code_syntax"
RESULT = "code_result_invalid"

PYTHON = [
    ("while True: pass", {ENDLESS}),
    ("while True:\n  try:\n    while True: pass\n  except BaseException: pass", {ENDLESS}),
    ("try:\n  while True: pass\nfinally:\n  while True: pass", {ENDLESS}),
    ("return sum(range(10**12))", {ENDLESS}),
    ("return 10 ** 10_000_000 > 0", {ENDLESS, MEMORY}),
    ("import time\ntime.sleep(1000)", {ENDLESS}),
    ("import time\nwhile True: time.sleep(0)", {ENDLESS, ERROR}),
    ("import asyncio\nreturn await asyncio.sleep(1000)", {ENDLESS, SYNTAX}),
    ("while True: print('x' * 10_000)", {ENDLESS}),
    ("return 'a' * 10**10", {MEMORY}),
    ("x = []\nwhile True: x.append('y' * 1000)", {MEMORY}),
    ("x = 'a'\nwhile True: x += x", {MEMORY}),
    ("return [0] * 10**10", {MEMORY}),
    ("return list(range(10**9))", {MEMORY, ENDLESS}),
    ("x = [0] * 1000\nfor _ in range(3): x = [x] * 1000\nreturn x", {MEMORY, ENDLESS}),
    ("x = [0] * 1000\nfor _ in range(3): x = [x] * 1000\nprint(x)", {MEMORY, ENDLESS}),
    ("x = [0] * 1000\nfor _ in range(3): x = [x] * 1000\nraise ValueError(str(x))", {MEMORY, ENDLESS}),
    ("x = []\nfor _ in range(100_000): x = [x]\nreturn x", {ERROR, RESULT}),
    ("x = []\nx.append(x)\nreturn x", {RESULT}),
    ("return 'x' * 17_000_000", {RESULT}),
    ("def f(): return f()\nreturn f()", {ERROR}),
    ("f = lambda g: g(g)\nreturn f(f)", {ERROR}),
    ("import re\nreturn re.match('(a|aa)+$', 'a' * 60 + 'b') is None and 1/0", {ERROR, ENDLESS}),
    ("import re\nreturn re.match(r'(a*)*\\1b', 'a' * 60) is None and 1/0", {ERROR, ENDLESS}),
    ("raise ValueError('x' * 10_000_000)", {ERROR}),
    ("import os\nreturn os.listdir('/')", {ERROR}),
    ("import os\nreturn os.environ", {ERROR}),
    ("import os\nreturn os.getenv('PATH')", {ERROR}),
    ("import os\nos.system('true')", {ERROR}),
    ("import subprocess", {ERROR}),
    ("import socket", {ERROR}),
    ("import ctypes", {ERROR}),
    ("import pydantic_monty", {ERROR}),
    ("return open('/etc/passwd').read()", {ERROR}),
    ("open('/tmp/rayloom-attack', 'w').write('x')", {ERROR}),
    ("from pathlib import Path\nreturn Path('/etc/passwd').read_text()", {ERROR}),
    ("return __import__('os')", {ERROR}),
    ("return ().__class__.__bases__[0].__subclasses__()", {ERROR}),
    ("return (lambda: 0).__globals__", {ERROR}),
    ("try:\n  1/0\nexcept Exception as e:\n  return e.__traceback__.tb_frame", {ERROR}),
    ("return _rayloom_nothing", {ERROR}),
    (")\nreturn 1", {SYNTAX}),
    ("return " + "(" * 5_000 + "1" + ")" * 5_000, {SYNTAX, ERROR}),
    ("return " + "-" * 20_000 + "1", {SYNTAX, ERROR, "sandbox_crashed"}),
    ("global len\nlen = lambda text: 0\nreturn 'x' * 17_000_000", {RESULT}),
    ("import json\njson.dumps = lambda value: value\nreturn {1, 2}", {RESULT, ERROR}),
]

JAVASCRIPT = [
    ("for (;;) {}", {ENDLESS}),
    ("for (;;) { try { for (;;) {} } catch { } finally { continue } }", {ENDLESS}),
    ("const f = () => { try { f() } finally { f() } }; f()", {ENDLESS, ERROR}),
    ("for (;;) console.log('x'.repeat(10000))", {ENDLESS}),
    ('return "a".repeat(2000000).includes("a".repeat(1000000) + "b")', {ENDLESS}),
    ("return Array.prototype.indexOf.call({length: 2 ** 53 - 1}, 1)", {ENDLESS}),
    ("let a = []; for (let i = 0; i < 3e5; i++) a.push(Math.random()); for (;;) a.sort()", {ENDLESS, MEMORY}),
    ("return /^(a+)+$/.test('a'.repeat(50) + 'b')", {ENDLESS}),
    ("return /(a*)*b/.test('a'.repeat(50))", {ENDLESS}),
    ("Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)", {ERROR}),
    ("let a = []; for (;;) a.push({})", {MEMORY}),
    ("let a = []; for (;;) try { for (;;) a.push({}) } catch {}", {MEMORY, ENDLESS}),
    ("let s = 'x'; for (;;) s += s", {MEMORY, ERROR}),
    ("return 'x'.repeat(2 ** 29)", {MEMORY, ERROR}),
    ("return new ArrayBuffer(2 ** 32)", {MEMORY, ERROR}),
    ("return new Array(1e8).fill(0)", {MEMORY, ENDLESS}),
    ("let x = Array(1000).fill(0); for (let i = 0; i < 3; i++) x = Array(1000).fill(x); return x", {MEMORY, ENDLESS}),
    ("let x = []; for (let i = 0; i < 1e5; i++) x = [x]; return x", {RESULT, ERROR}),
    ("return 'x'.repeat(17000000)", {RESULT, MEMORY}),
    ("return {toJSON() { for (;;) {} }}", {ENDLESS}),
    ("return new Proxy({}, {ownKeys() { throw new Error('no') }})", {RESULT}),
    ("function f() { return f() } return f()", {ERROR}),
    ("throw new Error('x'.repeat(10000000))", {ERROR}),
    ("throw {toString() { throw 1 }, toJSON() { throw 2 }}", {ERROR}),
    ("throw new Proxy(new Error('x'), {get() { throw 1 }})", {ERROR}),
    ("Error.prototype.toString = () => { for (;;) {} }; console.log(new Error('x'))", {ENDLESS}),
    ("return require('fs')", {ERROR}),
    ("return process.env", {ERROR}),
    ("return fetch('http://127.0.0.1')", {ERROR}),
    ("return std.getenv('PATH')", {ERROR}),
    ("return os.readdir('/')", {ERROR}),
    ("return import('os')", {RESULT}),
    ("import os from 'os'", {SYNTAX}),
    ("return _rayloom_driver", {ERROR}),
    ("return requestText", {ERROR}),
    ("return Promise.resolve({})", {RESULT}),
    ("return 10n", {RESULT}),
    ("return 10n ** 1000000n > 0 ? (() => { throw 1 })() : 0", {ENDLESS, MEMORY, ERROR}),
    ("return " + "(" * 20_000 + "1" + ")" * 20_000, {SYNTAX}),
    ("JSON.stringify = () => { for (;;) {} }; Array.prototype.push = null; return nothing.here", {ERROR}),
]


async def attacked(evaluate, code, codes):
    began = time.monotonic()
    with pytest.raises(NodeError) as caught:
        await evaluate(code, {}, LIMITS)
    took_s = time.monotonic() - began
    assert caught.value.code in codes, caught.value.message
    assert took_s < LIMITS.timeout_ms / 1000 + GRACE_S
    assert len(caught.value.message) < 3_000
    assert (await evaluate("return 1 + n", {"n": 1}, LIMITS)).value == 2


@pytest.mark.parametrize(("code", "codes"), PYTHON, ids=lambda value: value[:40] if isinstance(value, str) else "")
async def test_python(sandbox, code, codes):
    await attacked(sandbox.python, code, codes)


@pytest.mark.parametrize(("code", "codes"), JAVASCRIPT, ids=lambda value: value[:40] if isinstance(value, str) else "")
async def test_javascript(sandbox, code, codes):
    await attacked(sandbox.javascript, code, codes)


async def test_nothing_of_one_python_evaluation_is_seen_by_the_next(sandbox):
    spoil = "global leak\nleak = 1\nimport json, math\njson.leak = 1\nmath.pi = 3\nreturn 1"
    with contextlib.suppress(NodeError):
        await sandbox.python(spoil, {}, LIMITS)
    probe = "import math\ntry:\n  leak\n  return 'leaked'\nexcept NameError:\n  return math.pi"
    assert (await sandbox.python(probe, {}, LIMITS)).value == pytest.approx(3.14159265)


async def test_nothing_of_one_javascript_evaluation_is_seen_by_the_next(sandbox):
    spoil = (
        "globalThis.leak = 1; Object.prototype.leak = 1; Array.prototype.map = () => 'leaked';"
        "JSON.parse = () => 'leaked'; Function.prototype.call = () => 'leaked';"
        "Object.prototype.toJSON = () => 'leaked'; return 1"
    )
    await sandbox.javascript(spoil, {}, LIMITS)
    probe = "return [typeof leak, {}.leak === undefined, [1].map(x => x + 1), JSON.parse('1')]"
    assert (await sandbox.javascript(probe, {}, LIMITS)).value == ["undefined", True, [2], 1]


async def test_data_is_never_code(sandbox):
    text = "`);}); throw 1; //\u2028'\"\\ ${1+1} {{ $json }} \"\"\"\n'''\n#"
    for evaluate, body in (
        (sandbox.python, "return [text, len(text)]"),
        (sandbox.javascript, "return [text, text.length]"),
    ):
        assert (await evaluate(body, {"text": text}, LIMITS)).value == [text, len(text)]


def test_an_orphaned_worker_ends_with_its_parent():
    """The parent dies without a word while all workers are idle; all see their pipe close."""
    program = (
        "import asyncio, os, psutil\n"
        "from nodes.sandbox import LocalSandbox\n"
        "async def main():\n"
        "    sandbox = LocalSandbox(size=1)\n"
        "    await sandbox.start()\n"
        "    print(*[each.pid for each in psutil.Process().children()], flush=True)\n"
        "    os.kill(os.getpid(), 9)\n"
        "asyncio.run(main())\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    pids = [int(each) for each in ended.stdout.split()]
    assert len(pids) == 3, ended.stderr
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and any(running(pid) for pid in pids):
        os.sched_yield()
    assert not any(running(pid) for pid in pids)


def running(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
