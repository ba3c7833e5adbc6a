"""`docs/findings.md` names every code that the compiler can find."""

import re
from pathlib import Path

SOURCES = [*Path("workflow").rglob("*.py"), *Path("nodes").rglob("*.py")]
CODE = re.compile(r'(?:\b(?:error|warning|Problem|Refused)\(\s*|\bcode(?: =|, message =) )f?"([a-z_{}]+)"')


def test_every_code_is_explained():
    page = Path("docs/findings.md").read_text()
    found = {code for path in SOURCES for code in CODE.findall(path.read_text())}
    expanded = {code.replace("{end}", end) for code in found for end in ("source", "target")}
    assert len(found) > 30
    assert sorted(code for code in expanded if f"`{code}`" not in page) == []
