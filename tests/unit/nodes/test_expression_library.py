"""The library against what Python and others make of the same: hashes, time zones, JMESPath."""

import bisect
import hashlib
import json
import random
import zlib
import zoneinfo
from datetime import UTC, datetime, timedelta

import pytest

from nodes.sandbox.zones import Zones
from tests.unit.nodes.scripting import frame, javascript, message, one
from workflow.scripts import ScriptError

NEW_YEAR = datetime.fromisoformat("2024-01-01")
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Europe/Dublin", "Australia/Lord_Howe", "Africa/Casablanca"]
ZONES += ["Asia/Kolkata", "America/St_Johns", "Pacific/Apia", "America/Sao_Paulo", "Antarctica/Troll", "Asia/Gaza"]


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256", "sha512", "crc32"])
async def test_hashes_are_those_of_hashlib(sandbox, algorithm):
    chance = random.Random(7)
    texts = ["", "a", "é😀", *("".join(chance.choices("abé😀 ", k=length)) for length in range(50, 140))]
    [values] = await javascript(sandbox, [f"hash($json.t, '{algorithm}')"], frame(*({"t": each} for each in texts)))
    for text, value in zip(texts, values, strict=True):
        data = text.encode()
        expected = f"{zlib.crc32(data):08x}" if algorithm == "crc32" else hashlib.new(algorithm, data).hexdigest()
        assert value == expected, text


async def test_uuids_are_of_version_4_and_differ(sandbox):
    [values] = await javascript(sandbox, ["[uuid(), uuid()]"], frame(*({} for _ in range(50)), seed="s"))
    found = {each for pair in values for each in pair}
    assert len(found) == 100
    assert all(each[14] == "4" and each[19] in "89ab" for each in found)
    [again] = await javascript(sandbox, ["[uuid(), uuid()]"], frame({}, seed="s"))
    [other] = await javascript(sandbox, ["[uuid(), uuid()]"], frame({}, seed="t"))
    assert again[0] == values[0] != other[0]


def test_tables_of_zones_say_what_python_says():
    zones, chance = Zones(), random.Random(3)
    moments = [chance.randrange(-2_200_000_000, 4_100_000_000) for _ in range(150)]
    for name in sorted(zoneinfo.available_timezones()):
        table = zones.table(name)
        assert table is not None, name
        zone = zoneinfo.ZoneInfo(name)
        near = [at + by for at in chance.sample(table["at"], min(10, len(table["at"]))) for by in (-1, 0)]
        for moment in moments + near:
            if moment < -2_200_000_000:
                continue
            offset = table["offsets"][bisect.bisect_right(table["at"], moment)]
            expected = datetime.fromtimestamp(moment, UTC).astimezone(zone).utcoffset()
            assert timedelta(seconds=offset) == expected, (name, moment)


@pytest.mark.parametrize(
    "name", ["", "No/Where", "../../etc/passwd", "/etc/localtime", "Europe", "posixrules.x", "a" * 300]
)
def test_what_is_no_zone_has_no_table(name):
    assert Zones().table(name) is None


async def test_wall_times_mean_what_python_means_with_fold_0(sandbox):
    chance = random.Random(5)
    rows = []
    for name in ZONES:
        zone = zoneinfo.ZoneInfo(name)
        table = Zones().table(name)
        changes = [at for at in table["at"] if 0 < at < 4_000_000_000]
        walls = [
            datetime.fromtimestamp(at, zone).replace(tzinfo=None)
            for at in chance.sample(changes, min(12, len(changes)))
        ]
        walls = [
            wall + timedelta(minutes=by) for wall in walls for by in (-150, -90, -61, -30, -1, 0, 1, 29, 59, 90, 150)
        ]
        walls += [NEW_YEAR + timedelta(minutes=chance.randrange(10**7)) for _ in range(20)]
        for wall in walls:
            moment = wall.replace(tzinfo=zone)
            back = moment.astimezone(UTC).astimezone(zone)
            rows.append(
                {
                    "text": wall.isoformat(),
                    "zone": name,
                    "ms": int(moment.timestamp() * 1000),
                    "hour": back.hour,
                    "offset": back.utcoffset() / timedelta(minutes=1),
                }
            )
    sources = [
        "date($json.text, $json.zone).toMillis()",
        "date($json.text, $json.zone).hour",
        "date($json.text, $json.zone).offset",
        "date(date($json.text, $json.zone).toISO()).toMillis()",
    ]
    millis, hours, offsets, again = await javascript(sandbox, sources, frame(*rows))
    for row, *found in zip(rows, millis, hours, offsets, again, strict=True):
        assert found == [row["ms"], row["hour"], row["offset"], row["ms"]], row


async def test_dates_count_as_python_counts(sandbox):
    chance = random.Random(9)
    rows = [{"ms": chance.randrange(-(10**13), 10**13)} for _ in range(300)]
    source = "(d => [d.year, d.month, d.day, d.weekday, d.ordinal, d.weekYear, d.weekNumber, d.toISO()])(date($json.ms, 'UTC'))"
    [found] = await javascript(sandbox, [source], frame(*rows))
    for row, value in zip(rows, found, strict=True):
        at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=row["ms"])
        week_year, week, weekday = at.isocalendar()
        text = at.strftime("%Y-%m-%dT%H:%M:%S.").rjust(20, "0") + f"{at.microsecond // 1000:03d}Z"
        assert value == [at.year, at.month, at.day, weekday, at.timetuple().tm_yday, week_year, week, text]


DATES = [
    ("date('2024-01-31').plus({months: 1}).toISODate()", "2024-02-29"),
    ("date('2024-03-31').minus({months: 1}).toISODate()", "2024-02-29"),
    ("date('2024-02-29').plus({years: 1}).toISODate()", "2025-02-28"),
    ("date('2024-01-01').plus(2, 'weeks').toISODate()", "2024-01-15"),
    ("date('2024-03-30T02:30', 'Europe/Berlin').plus({days: 1}).toISO()", "2024-03-31T03:30:00.000+02:00"),
    ("date('2024-03-30T02:30', 'Europe/Berlin').plus({hours: 24}).toISO()", "2024-03-31T03:30:00.000+02:00"),
    (
        "date('2024-10-26T12:00', 'Europe/Berlin').plus({days: 1}).diff(date('2024-10-26T12:00', 'Europe/Berlin'), 'hours')",
        25,
    ),
    ("date('2024-10-27T12:00', 'Europe/Berlin').diff('2024-10-26T10:00:00Z', 'days')", 1),
    ("date('2024-10-27T02:30', 'Europe/Berlin').toISO()", "2024-10-27T02:30:00.000+02:00"),
    (
        "date('2024-10-27T02:30', 'Europe/Berlin').plus({hour: 1}).startOf('hour').toISO()",
        "2024-10-27T02:00:00.000+01:00",
    ),
    ("date('2024-05-15T13:14:15').startOf('week').toISODate()", "2024-05-13"),
    ("date('2024-05-01').startOf('week').toISODate()", "2024-04-29"),
    ("date('2024-05-15T13:14:15').startOf('quarter').toISODate()", "2024-04-01"),
    ("date('2024-02-15').endOf('month').toISO()", "2024-02-29T23:59:59.999Z"),
    ("date('2024-05-15T13:14:15.678').startOf('minute').toISO()", "2024-05-15T13:14:00.000Z"),
    ("date('2024-05-15').diff('2024-02-15', 'months')", 3),
    ("date('2024-02-15').diff('2024-05-15', 'months')", -3),
    ("date('2024-03-01').diff('2024-01-31', 'months') > 1", True),
    ("date('2025-05-15').diff('2024-05-15', 'years')", 1),
    ("DateTime.fromFormat('05/06/24 1:02 PM', 'MM/dd/yy h:mm a').toISO()", "2024-05-06T13:02:00.000Z"),
    ("DateTime.fromFormat('6. May 2024', 'd. MMMM yyyy').toISODate()", "2024-05-06"),
    ("DateTime.fromFormat('2024-05-06 10:00 +02:00', 'yyyy-MM-dd HH:mm ZZ').toISO()", "2024-05-06T08:00:00.000Z"),
    ("DateTime.fromFormat('2024-13-06', 'yyyy-MM-dd')", "RangeError: there is no such date"),
    ("DateTime.fromFormat('x', 'yyyy')", 'RangeError: "x" does not look like "yyyy"'),
    ("DateTime.fromISO('2024-02-30')", "RangeError: there is no such date"),
    ("DateTime.fromISO('nonsense')", 'RangeError: "nonsense" is not an ISO date'),
    ("date('2024-05-06T10:00:00+02:00').toISO()", "2024-05-06T08:00:00.000Z"),
    ("DateTime.fromISO('2024-05-06T10:00:00+02:00', {setZone: true}).toISO()", "2024-05-06T10:00:00.000+02:00"),
    ("date(0).setZone('UTC+5:30').toISO()", "1970-01-01T05:30:00.000+05:30"),
    ("date(0).setZone('No/Where')", 'RangeError: there is no time zone "No/Where"'),
    ("date(0, ['Europe', 'Paris'].join('/')).hour", 1),
    ("date('2024-01-01') < date('2024-01-02')", True),
    ("date('2024-01-02') - date('2024-01-01')", 86_400_000),
    ("date('2024-01-01T00:00Z').equals(date(1704067200000))", True),
    ("date('2024-05-06').hasSame('2024-05-31', 'month')", True),
    ("DateTime.max(date(1), date(3), date(2)).toMillis()", 3),
    ("({at: date(0)})", {"at": "1970-01-01T00:00:00.000Z"}),
    ("`${date(0)}`", "1970-01-01T00:00:00.000Z"),
    ("date(0).format(\"EEEE d MMMM yyyy 'at' HH:mm\")", "Thursday 1 January 1970 at 00:00"),
    ("date(NaN)", "TypeError: date() needs"),
    ("date(null)", "TypeError: date() needs"),
    ("$now.toISO()", "2023-11-14T22:13:20.000Z"),
    ("$today.toISO()", "2023-11-14T00:00:00.000Z"),
    ("$now.plus({fortnights: 1})", "RangeError: there is no unit"),
]


async def test_dates(sandbox):
    found = await javascript(sandbox, [source for source, _ in DATES], frame({}))
    for (source, expected), [value] in zip(DATES, found, strict=True):
        if isinstance(value, ScriptError):
            assert isinstance(expected, str), (source, value)
            assert expected.removeprefix("TypeError: date() needs") in value.message, (source, value)
        else:
            assert value == expected, source


async def test_now_and_today_are_in_the_zone_of_the_workflow(sandbox):
    zoned = frame({}, timezone="Asia/Kolkata")
    assert await one(sandbox, "[$now.toISO(), $today.toISO(), date('2024-01-01').toISO()]", zoned) == [
        "2023-11-15T03:43:20.000+05:30",
        "2023-11-15T00:00:00.000+05:30",
        "2024-01-01T00:00:00.000+05:30",
    ]


async def test_zones_that_come_with_the_data(sandbox):
    names = sorted(zoneinfo.available_timezones())
    [hours] = await javascript(sandbox, ["date(0).setZone($json.z).offset"], frame(*({"z": each} for each in names)))
    for name, value in zip(names, hours, strict=True):
        offset = datetime(1970, 1, 1, tzinfo=UTC).astimezone(zoneinfo.ZoneInfo(name)).utcoffset()
        assert value == offset / timedelta(minutes=1), name


REFUSED, BROKEN = object(), object()
"""What the reference makes of a path: an error; an error of its own, where the language says null."""

PEOPLE = {
    "people": [
        {"name": "b", "age": 30, "tags": ["x", "y"], "boss": {"name": "z"}},
        {"name": "a", "age": 50, "tags": []},
        {"name": "c", "age": 40, "tags": ["y"], "boss": None},
        {"age": 1},
    ],
    "nested": [[1, [2]], [3], 4],
    "o": {"a": {"n": 1}, "b": {"n": 2}, "c": 3},
    "s": "a😀b",
    "n": -1.5,
    "t": True,
    "z": None,
    "e": [],
    "with space": {'q"': 1},
    "strings": ["b", "a", "é"],
    "numbers": [3, 1, 2],
    "list": [0, 1, 2, 3, 4, 5],
}
JMESPATHS = """people[*].name|people[0].name|people[-1].age|people[9]|people[*].boss.name|people[].tags[]|people[].tags|
people[*].tags[0]|nested[]|nested[][]|nested[*][0]|o.*|o.*.n|*.n|o.a.n|missing.x|"with space"."q\\""|list[1:3]|list[::2]|
list[::-1]|list[-2:]|list[5:0:-2]|list[:2]|list[10:]|list[-100:2]|people[?age > `35`].name|people[?age >= `30` && age < `50`].name|
people[?name == 'a']|people[?boss].name|people[?!boss].age|people[?tags[0] == 'y'].name|people[?contains(tags, 'y')].name|
people[?name != null].name|people[?age == `1`]|[people[0].name, n]|{x: n, y: people[0].age}|people[*].{n: name, a: age}|
people[*].[name, age]|people | [0]|people[*].name | sort(@)|people[*].tags | [0]|@|@.n|`{"a": [1, 2]}`|`"text"`|'raw'|'it\\'s'|
n || t|z || 'd'|e || 'd'|t && n|z && n|!t|!z|!e|(n || z) && t|abs(n)|avg(numbers)|avg(e)|ceil(n)|floor(n)|contains(s, 'a')|
contains(strings, 'b')|ends_with(s, 'b')|starts_with(s, 'a')|join('-', strings)|keys(o)|values(o.a)|length(s)|
length(o)|length(list)|map(&name, people)|map(&n, [o.a, o.b])|max(numbers)|max(strings)|max(e)|min(numbers)|min(strings)|
max_by(people[?name], &age).name|min_by(people, &age)|merge(o.a, o.b)|merge(`{"a":1}`, `{"b":2}`, `{"a":3}`)|not_null(z, missing, n)|
not_null(z)|reverse(s)|reverse(list)|sort(strings)|sort(numbers)|sort_by(people, &age)[*].age|sum(numbers)|sum(e)|to_array(n)|
to_array(list)|to_number('1.5')|to_number('x')|to_number(t)|to_string(o.a)|to_string(s)|type(n)|type(z)|type(e)|type(o)|type(t)|type(s)|
sort_by(people, &name)|max_by(people, &name)|sum(strings)|abs(s)|length(n)|unknown(n)|keys(list)|join(',', numbers)|
people[?age > 'x']|n > `-2`|n < `0`|s == 'x'|o == o|numbers == `[3, 1, 2]`|t == `true`|z == `null`|n <= n|s < 'z'|
people[*|people[|a.|.a|a..b|foo(|[|{a|a[?b|`x|'x|"x|a b|a &|a[1:2:3:4]|list[::0]|a.[|||a | |
people[?age > `0`] \\| [?age < `45`].name|people[*].age \\| max(@)|nested[][0]|[[n]]|{a: {b: n}}.a.b|[n, [s]][1][0]|people[].[name][]|
list[?@ > `2`]|list[?@ == `3`] \\| [0]|o.*.n \\| sum(@)|length(people[?tags])|sort_by(people[?name], &name)[0].name|
people[?length(tags || `[]`) > `1`].name|o.{x: a.n, y: b.n}|people[0].{k: keys(@)}|people[0][*]|s[0]|n.x|list.*|o[*]|o[?n]|@[0]|
type(@)|to_string(`[1, "a"]`)|people[?!(age > `30`)].age|a || b || n|t && z || 'x'|people[0] \\| name|n && 'x' || 'y'""".replace(
    "\n", ""
)


def _cases():
    for text in JMESPATHS.replace("\\|", "\0").split("|"):
        yield text.replace("\0", "|")


async def test_jmespath_is_that_of_its_reference(sandbox):
    jmespath = pytest.importorskip("jmespath", reason="the reference of JMESPath is not installed")
    cases = [each for each in _cases() if each.strip()]
    cases += ["n || t", "z || 'd'", "e || 'd'", "(n || z) && t", "a || b || n", "t && z || 'x'", "people || n"]
    [values] = await javascript(
        sandbox, ["$jmespath($json.data, $json.path)"], frame(*({"data": PEOPLE, "path": each} for each in cases))
    )
    for path, value in zip(cases, values, strict=True):
        expected = _searched(jmespath, path)
        if expected is REFUSED:
            assert message(value).startswith("JMESPathError: "), path
        elif expected is not BROKEN:
            assert _text(value) == _text(expected), path


def _searched(jmespath, path):
    try:
        return jmespath.search(path, PEOPLE)
    except TypeError:
        return BROKEN
    except ValueError:  # also the class of its own errors
        return REFUSED


def _text(value):
    """JSON in which whole numbers look like integers, as JavaScript writes them."""
    assert not isinstance(value, ScriptError), value
    numbers = json.loads(json.dumps(value), parse_float=_number)
    return json.dumps(numbers, sort_keys=True)


def _number(text):
    return float(text) if float(text) % 1 else int(float(text))
