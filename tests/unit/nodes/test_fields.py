import copy

from hypothesis import given
from hypothesis import strategies as st

from nodes.fields import MISSING, only, path_of, read, remove, without, write

NAMES = st.sampled_from("abc")
PATHS = st.lists(NAMES, min_size=1, max_size=4).map(tuple)
OBJECTS = st.dictionaries(
    NAMES,
    st.recursive(
        st.integers() | st.none(),
        lambda inner: st.dictionaries(NAMES, inner, max_size=3) | st.lists(inner, max_size=3),
        max_leaves=8,
    ),
    max_size=3,
)


@given(source=OBJECTS, path=PATHS, value=st.integers())
def test_what_is_written_is_read_and_nothing_shared_is_changed(source, path, value):
    before = copy.deepcopy(source)
    target = dict(source)
    write(target, path, value)
    assert read(target, path) == value
    assert source == before


@given(source=OBJECTS, path=PATHS)
def test_what_is_removed_is_missing_and_nothing_shared_is_changed(source, path):
    before = copy.deepcopy(source)
    target = dict(source)
    remove(target, path)
    assert read(target, path) is MISSING
    assert source == before


@given(source=OBJECTS, path=PATHS)
def test_one_field_and_all_the_others_make_the_whole(source, path):
    value = read(source, path)
    rest = without(source, [path])
    if value is MISSING:
        assert only(source, [path]) == {}
        assert rest == source
    else:
        assert read(only(source, [path]), path) == value
        write(rest, path, value)
        assert rest == source


def test_numbers_count_through_lists():
    source = {"a": [{"b": 1}, {"b": 2}], "1": {"x": 3}}
    assert read(source, path_of("a.1.b")) == 2
    assert read(source, path_of("1.x")) == 3
    for name in ("a.2.b", "a.-1.b", "a.x", "a.1.b.c", "a.²"):
        assert read(source, path_of(name)) is MISSING
    assert read({"a.b": 1}, path_of("a.b", dots=False)) == 1
