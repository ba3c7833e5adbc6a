"""What files are, and what is read of them, in the real child process."""

import pytest

from nodes.parsing import FileReader, file_type_of
from nodes.parsing.reader import Refused, decoded, json_text, read, said_charset, table_text
from tests.documents import docx, locked_pdf, pdf
from workflow.errors import BadInput, NodeError
from workflow.knowledge import FileType, Page


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("a.pdf", pdf("x"), FileType.PDF),
        ("a", pdf("x"), FileType.PDF),
        ("a.docx", docx("x"), FileType.DOCX),
        ("a.txt", b"text", FileType.TXT),
        ("a.unknown", b"text", FileType.TXT),
        ("a.MD", b"# head", FileType.MD),
        ("a.csv", b"a,b", FileType.CSV),
        ("a.tsv", b"a\tb", FileType.CSV),
        ("a.json", b"{}", FileType.JSON),
        ("a.htm", b"<p>", FileType.HTML),
        ("page", b"  <!DOCTYPE HTML><p>", FileType.HTML),
        ("a.txt", "wide".encode("utf-16"), FileType.TXT),
        ("page", "<!doctype html><p>".encode("utf-16"), FileType.HTML),
        ("page", "<html>".encode("utf-8-sig"), FileType.HTML),
    ],
)
def test_what_a_file_is(name, content, found):
    assert file_type_of(name, content) is found


def test_a_zip_that_is_no_document_is_refused():
    with pytest.raises(BadInput) as caught:
        file_type_of("a.docx", docx("x").replace(b"word/document.xml", b"word/documenX.xml"))
    assert caught.value.code == "file_type_unsupported"


async def test_pages_come_with_their_numbers():
    found = await FileReader().read(FileType.PDF, pdf("one", "two"), 20_000)

    assert [(page.number, page.text.strip()) for page in found.pages] == [(1, "one"), (2, "two")]
    assert found.page_count == 2


async def test_what_has_no_pages_is_one_without_a_number():
    found = await FileReader().read(FileType.MD, b"# Head\n\ntext", 20_000)

    assert (found.pages, found.page_count) == ((Page(None, "# Head\n\ntext"),), None)


async def test_a_reader_that_takes_too_long_is_killed():
    with pytest.raises(NodeError) as caught:
        await FileReader().read(FileType.TXT, b"text", 1)
    assert (caught.value.code, caught.value.retryable) == ("file_timeout", False)


@pytest.mark.parametrize("name", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_text_by_its_mark(name):
    assert decoded("Zürich — 5 €".encode(name)) == "Zürich — 5 €"


def test_text_without_a_mark_that_is_no_utf_8_is_latin():
    assert decoded("Zürich 5 €".encode("cp1252")) == "Zürich 5 €"


def test_a_table_is_lines_that_mean_something_by_themselves():
    assert table_text("a;b\n1;\n;2\n\n3;4\n") == "a: 1\nb: 2\na: 3; b: 4"


def test_cells_beyond_the_first_line_have_the_number_of_their_column():
    assert (
        table_text("a,b\n1,2,kept,4\n5,6\n,,7\n") == "a: 1; b: 2; column 3: kept; column 4: 4\na: 5; b: 6\ncolumn 3: 7"
    )


@pytest.mark.parametrize("text", ["a,b\n", "a,b", "a,b\n,\n \n"])
def test_a_table_of_nothing_but_names_says_so(text):
    with pytest.raises(Refused) as caught:
        table_text(text)
    assert (caught.value.code, "names its columns" in str(caught.value)) == ("file_without_text", True)


def test_a_line_wider_than_any_table_is_refused():
    with pytest.raises(Refused) as caught:
        table_text("a,b\n" + "1," * 2_000)
    assert caught.value.code == "file_too_wide"


PAGE = "<html><head>{}</head><body><p>Zürich kostet 5 €</p></body></html>"


@pytest.mark.parametrize(
    ("head", "encoding"),
    [
        ("", "utf-8"),
        ("", "utf-8-sig"),
        ("", "utf-16"),
        ("", "cp1252"),
        ('<meta charset="windows-1252">', "cp1252"),
        ("<META CHARSET=iso-8859-1>", "cp1252"),
        ('<meta http-equiv="Content-Type" content="text/html; charset=ISO-8859-15">', "iso-8859-15"),
        ("<meta charset=utf-16>", "utf-8"),
        ("<meta charset=unicode_escape>", "utf-8"),
        ("<meta charset=no-such-thing>", "utf-8"),
    ],
)
def test_a_page_is_read_as_what_it_says_it_is_encoded_in(head, encoding):
    found = read("html", PAGE.format(head).encode(encoding))

    assert found["pages"][0]["text"].strip() == "Zürich kostet 5 €"


def test_other_alphabets_are_read_as_they_say():
    page = '<html><meta charset="shift_jis"><body>織機</body></html>'.encode("shift_jis")
    xhtml = '<?xml version="1.0" encoding="koi8-r"?><html><body>станок</body></html>'.encode("koi8-r")

    assert [said_charset(each) for each in (page, xhtml, b"<p>")] == ["shift_jis", "koi8-r", ""]
    assert "織機" in read("html", page)["pages"][0]["text"]
    assert "станок" in read("html", xhtml)["pages"][0]["text"]


@pytest.mark.parametrize("text", ['"\\ud800"', '{"\\udfff": 1}'])
async def test_json_with_half_a_character_is_corrupt(text):
    with pytest.raises(NodeError) as caught:
        await FileReader().read(FileType.JSON, text.encode(), 20_000)
    assert caught.value.code == "file_corrupt"


def test_json_is_a_value_a_line_and_too_deep_is_refused():
    assert json_text('{"a":[1,"ü"]}') == '{\n "a": [\n  1,\n  "ü"\n ]\n}'
    with pytest.raises(Refused):
        json_text("[" * 100_000)


async def test_a_pdf_that_a_password_protects_says_so_and_one_that_opens_without_is_read():
    with pytest.raises(NodeError) as caught:
        await FileReader().read(FileType.PDF, locked_pdf("a secret line", "open sesame"), 20_000)
    assert (caught.value.code, caught.value.retryable) == ("file_encrypted", False)

    found = await FileReader().read(FileType.PDF, locked_pdf("a readable line", ""), 20_000)
    assert "a readable line" in found.pages[0].text
