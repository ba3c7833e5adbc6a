"""Texts that are measured with: made here, the same each time."""

from random import Random

from tests.documents import pdf

SAID = """
the workflow waits for a person and goes on when the answer has come while another node embeds a text that was read from the document
which somebody uploaded this morning before the replica on the other host had been started by the first request
"""
WORDS = tuple(SAID.split())
PASSAGE_WORDS = 75
LINE_WORDS = 14
LINES = 28
NEXT_LINE = ") Tj 0 -20 Td ("
"""What ends a line of text in a page's drawing, and begins the next one."""


def passage(number: int, words: int = PASSAGE_WORDS) -> str:
    """Return a passage of about 100 tokens, another one for each number."""
    random = Random(number)
    return " ".join(random.choice(WORDS) for _ in range(words)) + f" number {number}."


def long_pdf(pages: int) -> bytes:
    """Return a PDF with so many pages of some 400 words, in lines."""
    return pdf(
        *(
            NEXT_LINE.join(passage(number * LINES + line, LINE_WORDS) for line in range(LINES))
            for number in range(pages)
        )
    )
