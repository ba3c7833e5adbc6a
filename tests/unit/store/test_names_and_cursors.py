"""Names that tell workflows apart, and cursors that clients send back."""

from uuid import UUID

import pytest

from store.paging import read_cursor, write_cursor
from store.workflow_names import NAME_CHARS_MAX, free_name
from workflow.errors import Unprocessable

ID = UUID(int=7)


@pytest.mark.parametrize(
    ("name", "taken", "found"),
    [
        ("Orders", set(), "Orders"),
        ("Orders", {"Orders"}, "Orders (2)"),
        ("Orders", {"Orders", "Orders (2)"}, "Orders (3)"),
        ("Orders (2)", {"Orders (2)"}, "Orders (3)"),
        ("(2)", {"(2)"}, "(2) (2)"),
        ("x" * NAME_CHARS_MAX, {"x" * NAME_CHARS_MAX}, "x" * (NAME_CHARS_MAX - 4) + " (2)"),
    ],
)
def test_a_name_gets_the_first_number_that_is_free(name: str, taken: set[str], found: str):
    assert free_name(name, taken) == found


def test_a_cursor_comes_back_as_it_went():
    assert read_cursor(write_cursor("name", "ä ☃", ID), "name") == ("ä ☃", ID)


@pytest.mark.parametrize("cursor", ["", "x", "W10", "bnVsbA", "☃", write_cursor("name", "a", ID), "A" * 5000])
def test_a_cursor_that_no_page_gave_is_refused(cursor: str):
    with pytest.raises(Unprocessable):
        read_cursor(cursor, "created_at")
