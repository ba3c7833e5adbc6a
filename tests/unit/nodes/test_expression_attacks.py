"""Hostile expressions and hostile data: each ends as what is written here, and no other item or node notices."""

import contextlib
import time

import pytest

from nodes.data_set import SPEC
from nodes.sandbox.expression_syntax import expression_faults
from tests.unit.nodes.scripting import frame, javascript, message, one, resolve
from workflow.config import ConfigTemplate, NodeView
from workflow.errors import NodeError
from workflow.scripts import ExpressionLimits, ScriptError

LIMITS = ExpressionLimits(timeout_ms=400, memory_bytes=64 * 2**20, output_chars_max=1_000_000)
GRACE_S = 2.0
NO_CODE = "TypeError: code cannot be made of text here"
FROZEN = "TypeError: object is not extensible"


def read_only(name):
    return f"TypeError: '{name}' is read-only"


# An expression, and the value that it has; a ScriptError is given as its message.
CONTAINED = [
    # Code made of text
    ("eval('1 + 1')", NO_CODE),
    ("(0, eval)('globalThis')", NO_CODE),
    ("globalThis.eval('1')", NO_CODE),
    ("Function('return this')()", NO_CODE),
    ("new Function('return this')()", NO_CODE),
    ("({}).constructor.constructor('return this')()", NO_CODE),
    ("[].constructor.constructor('return globalThis')()", NO_CODE),
    ("''.constructor.constructor('return 1')()", NO_CODE),
    ("(() => 1).constructor('return 1')()", NO_CODE),
    ("upper.constructor('return 1')()", NO_CODE),
    ("(async () => 1).constructor('return 1')()", NO_CODE),
    ("(function* () {}).constructor('yield 1')()", NO_CODE),
    ("(async function* () {}).constructor('yield 1')()", NO_CODE),
    ("Reflect.construct(Function, ['return 1'])()", NO_CODE),
    ("Reflect.construct((function* () {}).constructor, ['yield 1'])", NO_CODE),
    ("Object.getPrototypeOf(async () => 1).constructor('1')", NO_CODE),
    ("new (class extends Function {})('return 1')()", NO_CODE),
    ("DateTime.constructor('return 1')()", NO_CODE),
    ("$input.constructor.constructor('return 1')()", NO_CODE),
    ("setTimeout('1')", "ReferenceError: setTimeout is not defined"),
    ("import('os')", "the value is a Promise"),
    ("require('fs')", "ReferenceError: require is not defined"),
    ("process.env", "ReferenceError: process is not defined"),
    ("std.getenv('PATH')", "ReferenceError: std is not defined"),
    ("fetch('http://localhost')", "ReferenceError: fetch is not defined"),
    ("print('x')", "ReferenceError: print is not defined"),
    ("this", None),
    ("(function () { return this })()", None),
    ("(function () { return typeof arguments.callee })()", "TypeError: invalid property access"),
    ("(function f() { return f.caller })()", "TypeError: invalid property access"),
    # Prototypes
    ("Object.prototype.x = 1", FROZEN),
    ("({}).__proto__.x = 1", FROZEN),
    ("({}).constructor.prototype.x = 1", FROZEN),
    ("Array.prototype.map = () => 'taken'", read_only("map")),
    ("String.prototype.trim = () => 'taken'", read_only("trim")),
    ("Object.defineProperty(Array.prototype, 'x', {value: 1})", FROZEN),
    ("Object.setPrototypeOf(Object.prototype, {x: 1})", "TypeError"),
    ("Object.setPrototypeOf(Array.prototype, {x: 1})", FROZEN),
    ("Object.prototype.__defineGetter__('x', () => 1)", FROZEN),
    ("Reflect.defineProperty(Object.prototype, 'x', {value: 1})", False),
    ("Reflect.set(Number.prototype, 'x', 1)", False),
    ("delete Array.prototype.map", "TypeError: could not delete property"),
    ("(x => { x.__proto__ = {y: 1}; return ({}).y })({})", None),
    ("Object.assign(Object.getPrototypeOf([].values()), {next: 1})", "TypeError"),
    ("Object.prototype.toString = () => 'taken'", read_only("toString")),
    ("JSON.stringify = () => 'taken'", read_only("stringify")),
    ("JSON.parse = () => 'taken'", read_only("parse")),
    ("Math.random = () => 0", read_only("random")),
    ("Promise.prototype.then = 1", read_only("then")),
    ("RegExp.prototype.exec = () => null", read_only("exec")),
    ("Symbol.prototype.x = 1", FROZEN),
    ("Error.prepareStackTrace = () => 'taken'", "TypeError"),
    ("Error.prototype.x = 1", FROZEN),
    ("(e => { e.constructor.prototype.x = 1 })(new TypeError())", FROZEN),
    # The scope and the library
    ("globalThis.leak = 1", FROZEN),
    ("leak = 1", "ReferenceError: leak is not defined"),
    ("globalThis.upper = 1", read_only("upper")),
    ("upper = 1", read_only("upper")),
    ("upper.x = 1", FROZEN),
    ("DateTime.fromISO = 1", read_only("fromISO")),
    ("DateTime.prototype.toISO = 1", read_only("toISO")),
    ("$now.x = 1", FROZEN),
    ("Object.setPrototypeOf($now, null)", FROZEN),
    ("$items[0].json.n = 2", read_only("n")),
    ("$items.push(1)", "TypeError"),
    ("$input.first().json.list.push(1)", "TypeError"),
    ("$vars.k = 1", "TypeError"),
    ("$env.PATH", None),
    ("$execution.id = 'x'", read_only("id")),
    ("$workflow.name = 'x'", read_only("name")),
    ("$node.Other.x = 1", FROZEN),
    ("$('Other').first().json.v = 1", read_only("v")),
    ("$('Other').constructor.prototype.first = () => 'taken'", "TypeError"),
    ("Object.getOwnPropertyNames($('Other')).length", 0),
    ("$('Other').constructor('x')", "TypeError"),
    ("$.leak = 1", FROZEN),
    ("$input.first.leak = 1", FROZEN),
    ("$('Other').constructor.leak = 1", FROZEN),
    ("(() => { try { $jmespath({}, '!!') } catch (e) { e.constructor.leak = 1 } })()", FROZEN),
    ("typeof library", "undefined"),
    ("typeof RealFunction", "undefined"),
    ("typeof head", "undefined"),
    ("typeof zones", "undefined"),
    # What values do when they are written
    ("({toJSON() { return 'from toJSON' }})", "from toJSON"),
    ("({toJSON() { throw new RangeError('no') }})", "RangeError: no"),
    ("({get a() { throw new TypeError('getter') }})", "TypeError: getter"),
    ("({valueOf: () => 1, toString: () => 'x'})", {}),
    ("new Proxy({}, {ownKeys() { throw new Error('trap') }})", "Error: trap"),
    ("new Proxy({a: 1}, {get: (of, name) => (name === 'toJSON' ? undefined : 'trapped')})", {"a": "trapped"}),
    ("(x => { x.x = x; return x })({})", "TypeError: circular reference"),
    ("() => 1", "TypeError: the value is a function; it has to be called"),
    ("Symbol('x')", "TypeError: the value is a symbol"),
    ("1n", "TypeError"),
    ("(async () => 1)()", "TypeError: the value is a Promise"),
    ("Promise.resolve().then(() => { globalThis.x = 1 })", "TypeError: the value is a Promise"),
    ("'\\0'", "RangeError: text must not contain the NUL character"),
    ("({a: ['\\0']})", "RangeError: text must not contain the NUL character"),
    ("'\\\\u0000'", "\\u0000"),
    ("'\\ud800'", "RangeError: text must not contain half of a surrogate pair"),
    ("range(200).reduce(x => [x], 1)", "RangeError: objects and lists may nest at most 100 deep"),
    ("range(100_000).reduce(x => [x], 1)", "RangeError"),
    # Errors
    ("(() => { throw {get message() { throw 1 }} })()", "the error cannot be shown"),
    (
        "(() => { const e = new Error('x'); Object.defineProperty(e, 'message', {get() { throw 1 }}); throw e })()",
        "the error",
    ),
    (
        "(() => { const e = new Error('x'); e.stack = {toString() { throw 1 }}; throw e })()",
        "TypeError: Error.prototype.stack",
    ),
    ("(() => { throw undefined })()", "thrown: undefined"),
    ("(() => { throw 'text' })()", "thrown: text"),
    ("(() => { throw new Error('x'.repeat(100_000)) })()", "Error: xxxxx"),
    ("(() => { throw new Error('a\\0b') })()", "Error: a b"),
    ("(() => { throw Object.create(Error.prototype) })()", "Error"),
    # Deep and long
    ("(function f() { return f() })()", "RangeError: Maximum call stack size exceeded"),
    ("JSON.parse('['.repeat(100_000))", "RangeError"),
    ("new RegExp('('.repeat(100_000))", "SyntaxError"),
    ("'a'.repeat(2 ** 31)", "RangeError"),
    ("new Array(-1)", "RangeError"),
    ("2n ** (10n ** 9n) > 0n", "RangeError"),
    ("(() => { let s = 'x'; while (true) s += s; })()", "string too long"),
    ("'a'.padStart(2 ** 31)", "RangeError"),
    ("typeof Atomics + typeof SharedArrayBuffer + typeof WeakRef + typeof FinalizationRegistry", "undefined" * 4),
    ("typeof queueMicrotask + typeof performance", "undefined" * 2),
    # Time stands still
    ("(() => { const a = Date.now(); for (let i = 0; i < 1e5; i++); return Date.now() - a })()", 0),
    ("new Date().getTime() === $now.toMillis()", True),
    ("new (Object.getPrototypeOf(new Date()).constructor)().getTime() - Date.now()", 0),
]
ENDLESS = [
    "(() => { while (true); })()",
    "(() => { while (true) { try { while (true); } catch {} } })()",
    "(() => { try { while (true); } finally { while (true); } })()",
    "(() => { for (;;) { try { throw 1 } catch { continue } } })()",
    "/(a+)+$/.test('a'.repeat(40) + 'b')",
    "/^(([a-z])+.)+[A-Z]([a-z])+$/.test('a'.repeat(60))",
    "'a'.repeat(400000).includes('a'.repeat(200000) + 'b')",
    "[...(function* () { while (true) yield 0 })()].length",
    "({toJSON() { while (true); }})",
    "({get a() { while (true); }})",
    "(() => { const e = new Error(); Object.defineProperty(e, 'message', {get() { while (true); }}); throw e })()",
    "Array.from({length: 1e9})",
    "[3, 1, 2].sort(() => { while (true); })",
    "new Proxy({}, {ownKeys() { while (true); }})",
    "`${{toString() { while (true); }}}`",
]
GREEDY = [
    "(() => { const a = []; while (true) a.push('x'.repeat(1000) + a.length); })()",
    "new Array(1e8).fill(0)",
    "(() => { throw null })()",
    "new Uint8Array(2 ** 30).length",
    "(() => { const a = []; while (true) { try { a.push(new Array(10000).fill(0)) } catch {} } })()",
]
LARGE = ["'x'.repeat(2_000_000)", "new Array(600_000).fill(0)", "({a: 'é'.repeat(1_000_001)})"]
TAMPERING = [
    "(globalThis.leak = 1)",
    "(Object.prototype.leak = 1)",
    "(Array.prototype.map = () => 'leaked')",
    "($json.leak = 1)",
    "$json.list.push('leaked')",
    "($json.list.length = 0)",
    "($items[0].json.n = 'leaked')",
    "$input.all().push({json: {leak: 1}})",
    "($input.item.json.n = 'leaked')",
    "(Symbol.for('leak').x = 1)",
    "Math.random()",
    "uuid()",
    "(leak => { leak = 1 })(0)",
    "[].constructor.from.call(Object, {length: 1, 0: 'leaked'})",
    "/x/g.test('x')",
    "(r => { RegExp.prototype.lastIndex = 5 })(1)",
    "Object.freeze($json)",
    "Object.setPrototypeOf($json, {leak: 1})",
    "Object.defineProperty($json.list, 'map', {value: () => 'leaked'})",
    "(function f() { return f() })()",
    "'x'.repeat(100_000).length",
]


def given(count=1):
    other = NodeView(outputs={"main": [{"json": {"v": 1}}]})
    return frame(*({"n": i, "list": [1, 2]} for i in range(count)), nodes={"Other": other}, variables={"k": 0})


@pytest.mark.parametrize(("source", "expected"), CONTAINED)
async def test_an_attack_is_contained(sandbox, source, expected):
    value = await one(sandbox, source, given(), LIMITS)
    if isinstance(value, ScriptError):
        assert isinstance(expected, str), value
        assert expected in value.message
    else:
        assert value == expected
    assert await one(sandbox, "1 + 1") == 2


@pytest.mark.parametrize("source", ENDLESS)
async def test_what_does_not_end_is_ended(sandbox, source):
    began = time.monotonic()
    with pytest.raises(NodeError) as failed:
        await one(sandbox, source, given(), LIMITS)
    assert failed.value.code in ("expression_timeout", "expression_memory")
    assert time.monotonic() - began < LIMITS.timeout_ms / 1000 + GRACE_S
    assert await one(sandbox, "1 + 1") == 2


@pytest.mark.parametrize("source", GREEDY)
async def test_memory_ends(sandbox, source):
    with pytest.raises(NodeError) as failed:
        await one(sandbox, source, given(), LIMITS)
    assert failed.value.code in ("expression_memory", "expression_timeout")
    assert await one(sandbox, "1 + 1") == 2


@pytest.mark.parametrize("source", LARGE)
async def test_large_results_are_refused(sandbox, source):
    with pytest.raises(NodeError) as failed:
        await one(sandbox, source, given(), LIMITS)
    assert failed.value.code == "expression_output_too_large"


OBSERVERS = [
    "[typeof leak, ({}).leak, Object.keys($json).join(), $json.n, $json.list.map(x => x + 1), $items.length]",
    "[$items[0].json.n, $input.first().json.list, Object.isFrozen($json), [3, 1].sort(), /x/.exec('ax').index]",
    "[Array.from([1]), $input.item.json.n, Symbol.for('leak').x, $json.leak, $vars.k]",
]


@pytest.mark.parametrize("source", TAMPERING)
async def test_no_expression_changes_what_another_one_or_another_item_sees(sandbox, source):
    alone = await javascript(sandbox, OBSERVERS, given(3))

    together = await javascript(sandbox, [OBSERVERS[0], source, *OBSERVERS[1:], source, OBSERVERS[0]], given(3))

    assert [together[0], *together[2:4]] == alone
    assert together[5] == alone[0]
    by_itself = await javascript(sandbox, ["0", source], given(3))
    assert [str(each) for each in together[1]] == [str(each) for each in by_itself[1]]


async def test_chance_of_an_item_does_not_depend_on_the_others(sandbox):
    [[_, second]] = await javascript(sandbox, ["[uuid(), uuid(), Math.random()]"], given(2))
    wasteful = "($itemIndex ? [] : range(100).map(uuid), $itemIndex ? [uuid(), uuid(), Math.random()] : 0)"
    [[_, other]] = await javascript(sandbox, [wasteful], given(2))
    assert second == other
    assert second[0] != second[1]


async def test_the_next_request_gets_an_engine_of_its_own(sandbox):
    await one(sandbox, "(() => { $jmespath({}, 'a'); globalThis.x = 1 })()", given())
    for source in ("typeof x", "typeof leak", "({}).leak"):
        assert await one(sandbox, source, given()) in ("undefined", None)


HOSTILE = [
    "{{ $json.secret }}",
    "{{ 1 + 1 }}",
    "}}{{ globalThis }}",
    "`${1 + 1}`",
    "'); throw 1; ('",
    '"); throw 1; ("',
    "\\u007b\\u007b 1 }}",
    "</script>",
    "__proto__",
    "constructor",
]
PATHS = [
    "$json.v",
    "[$json.v][0]",
    "$json[Object.keys($json)[0]]",
    "Object.values($json.deep)[0][0]",
    "$input.first().json.v + ''",
    "$items[0].json.v + ''",
    "$binary.file.file_name",
    "$('Other').first().json.v + ''",
    "$node.Other.json.v + ''",
    "$vars.v + ''",
    "$env.v + ''",
    "$workflow.name + ''",
    "toText(merge($json, {}).v)",
    "parseJson(toJson($json)).v",
    "$jmespath($json, 'v')",
    "`${$json.v}`",
]


@pytest.mark.parametrize("data", HOSTILE)
async def test_data_is_never_evaluated(sandbox, data):
    other = NodeView(outputs={"main": [{"json": {"v": data}}]})
    item = {
        "json": {"v": data, "deep": {"a": [data]}, "secret": "seen"},
        "binary": {"file": {"data": "", "mime_type": data, "size_bytes": 0, "file_name": data}},
    }
    seen = frame(
        items=[item], nodes={"Other": other}, variables={"v": data}, environment={"v": data}, workflow_name=data
    )

    assert await javascript(sandbox, PATHS, seen) == [[data]] * len(PATHS)
    config = await resolve(sandbox, [f"{{{{ {path} }}}}" for path in PATHS], seen)
    assert config.of(0)["values"] == [data] * len(PATHS)
    mixed = await resolve(sandbox, [f"<{{{{ {path} }}}}>" for path in PATHS], seen)
    assert mixed.of(0)["values"] == [f"<{data}>"] * len(PATHS)


@pytest.mark.parametrize(
    "key", ["__proto__", "constructor", "toString", "hasOwnProperty", "length", "{{ 1 }}", "'", '"']
)
async def test_keys_of_data_are_only_keys(sandbox, key):
    sources = [
        "$json",
        "({...$json})",
        "merge($json, {})",
        "pick($json, Object.keys($json))",
        "omit($json, [])",
        "Object.fromEntries(Object.entries($json))",
    ]
    assert await javascript(sandbox, sources, frame({key: {"x": 1}})) == [[{key: {"x": 1}}]] * len(sources)
    grouped = await javascript(sandbox, ["countBy([$json.k])", "keyBy([$json], 'k')"], frame({"k": key}))
    assert grouped == [[{key: 1}], [{key: {"k": key}}]]


async def test_what_is_in_files_and_credentials_is_not_there(sandbox):
    item = {"json": {}, "binary": {"f": {"data": "c2VjcmV0", "mime_type": "text/plain", "size_bytes": 6}}}
    found = await javascript(sandbox, ["$binary", "$input.item.binary", "$items[0].binary"], frame(items=[item]))
    assert found == [[{"f": {"mime_type": "text/plain", "size_bytes": 6}}]] * 3
    for name in ("$credentials", "$secrets", "credentials"):
        with contextlib.suppress(AssertionError):
            assert message(await one(sandbox, name)).startswith("ReferenceError")


@pytest.mark.parametrize(
    "source",
    ["1); throw 1; (2", "1]; throw 1; [2", "1}; throw 1; {2", "1 }) ; globalThis.x = 1; (() => { 1", "return 1"],
)
async def test_no_expression_ends_before_its_end(sandbox, source):
    assert expression_faults([source])[0] is not None
    with contextlib.suppress(Exception):
        template = ConfigTemplate({"values": {"x": f"{{{{ {source} }}}}"}}, SPEC)
        config = await template.resolve(frame({}), sandbox)
        with pytest.raises(NodeError) as failed:
            config.of(0)
        assert failed.value.code == "expression_failed"
    assert await one(sandbox, "typeof x") == "undefined"


REACHABLE = """
(() => {
  const caught = (run) => { try { run(); return null } catch (error) { return error.constructor } };
  const todo = [
    ["global", globalThis], ["$input", $input], ["$items", $items], ["$node", $node], ["$", $], ["$vars", $vars], ["$env", $env],
    ["$execution", $execution], ["$workflow", $workflow], ["$now", $now], ["$today", $today], ["$('Other')", $("Other")],
    ["first", $input.first()], ["other", $("Other").first()], ["others", $("Other").items], ["jmespath", caught(() => $jmespath({}, "!!"))],
    ["zone", caught(() => date(0, "No/Where"))], ["absent", caught(() => $("Absent").first())], ["generator", (function* () {})()],
    ["async", Object.getPrototypeOf(async () => 1)], ["matches", Object.getPrototypeOf("a".matchAll(/a/g))],
    ["segments", Object.getPrototypeOf(Iterator.from({next() {}}))], ["strings", (strings => strings)`a`],
    ["drop", Object.getPrototypeOf([1].values().drop(1))], ["arguments", Object.getPrototypeOf((function () { return arguments })())],
    ["concat", Iterator.concat ? Object.getPrototypeOf(Iterator.concat([1])) : null],
    ["asyncGenerator", Object.getPrototypeOf((async function* () {})())],
  ];
  const seen = new Set(), open = [], fresh = new Set(["generator", "generator.__proto__", "asyncGenerator"]);
  while (todo.length) {
    const [path, each] = todo.pop();
    if (each === null || (typeof each !== "object" && typeof each !== "function") || seen.has(each)) continue;
    seen.add(each);
    if (!Object.isFrozen(each) && !fresh.has(path)) open.push(path);
    todo.push([path + ".__proto__", Object.getPrototypeOf(each)]);
    for (const key of Reflect.ownKeys(each)) {
      const found = Object.getOwnPropertyDescriptor(each, key), next = path + "." + String(key);
      todo.push([next, found.value], [next + "(get)", found.get], [next + "(set)", found.set]);
    }
  }
  return [seen.size > 500, open];
})()
"""


async def test_everything_that_an_expression_can_reach_is_frozen(sandbox):
    assert await one(sandbox, REACHABLE, given()) == [True, []]
