"""`data.markdown`: Markdown to HTML and back."""

from nodes.markup import check_markup
from nodes.sources import LITERAL, SOURCE_PROPERTIES, TARGET_PROPERTIES, problems_of_places, text_in, with_result
from workflow.errors import NodeError
from workflow.spec import MAIN, Config, Example, Items, JsonObject, NodeContext, NodeSpec, NodeType, Outputs

_CHARS_MAX = 1_000_000

SPEC = NodeSpec(
    type="data.markdown",
    title="Markdown",
    category="data",
    description="Makes HTML of Markdown, safe to show in a page, or Markdown of HTML.",
    each_item=True,
    may_move=True,
    aliases=("markdown",),
    literal=LITERAL | {"operation", "html", "line_breaks", "headings", "leave_out"},
    examples=(
        Example(
            title="Markdown to HTML",
            config={"operation": "to_html", "into": "html", "keep_input": False},
            items=[{"data": "# Hi\n\n*Ada* <script>alert(1)</script>"}],
            outputs={
                "main": [{"html": "<h1>Hi</h1>\n<p><em>Ada</em> &lt;script&gt;alert(1)&lt;/script&gt;</p>\n"}],
            },
        ),
        Example(
            title="HTML to Markdown",
            config={"operation": "to_markdown", "field": "html", "into": "text", "keep_input": False},
            items=[{"html": "<h2>Hi</h2><ul><li>a <b>b</b></li><li><a href='https://example.com'>c</a></li></ul>"}],
            outputs={"main": [{"text": "## Hi\n\n* a **b**\n* [c](https://example.com)"}]},
        ),
    ),
    config_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "required": ["operation"],
        "properties": {
            "operation": {
                "enum": ["to_html", "to_markdown"],
                "title": "Operation",
                "description": (
                    "`to_html`: CommonMark with tables and ~~strikethrough~~ becomes HTML without scripts, forms, styles and "
                    'event handlers; links get `rel="noopener noreferrer"`. `to_markdown`: HTML becomes Markdown.'
                ),
            },
            **SOURCE_PROPERTIES,
            "html": {
                "enum": ["escape", "clean"],
                "default": "escape",
                "title": "HTML in Markdown",
                "description": "For `to_html`: whether tags in the text are shown as they are, or stay as far as they are safe.",
            },
            "line_breaks": {
                "type": "boolean",
                "default": False,
                "title": "Line breaks",
                "description": "For `to_html`: whether the end of a line in a paragraph is a line break.",
            },
            "headings": {
                "enum": ["atx", "underlined"],
                "default": "atx",
                "title": "Headings",
                "description": "For `to_markdown`: `# Heading`, or a line under those of the first two levels.",
            },
            "leave_out": {
                "type": "array",
                "items": {"type": "string", "pattern": "^[a-z][a-z0-9]*$"},
                "uniqueItems": True,
                "default": [],
                "title": "Leave out",
                "description": "For `to_markdown`: elements of which only the text stays, such as `a` or `img`.",
            },
            **TARGET_PROPERTIES,
        },
        "additionalProperties": False,
    },
)


async def run(context: NodeContext, config: Config, items: Items) -> Outputs:
    """Convert every item. Raises `NodeError`: `html_too_complex`, and those of reading text."""
    results: Items = []
    for index, item in enumerate(items):
        with context.item(index):
            filled = config.of(index)
            text = text_in(item, filled, chars_max=_CHARS_MAX)
            made = _html(text, filled) if filled["operation"] == "to_html" else _markdown(text, filled)
            results.append(with_result(item, index, filled, made))
    return {MAIN: results}


def _html(text: str, config: JsonObject) -> str:
    import nh3  # here, as in `_markdown`: every process knows all node types, few ever write Markdown
    from markdown_it import MarkdownIt

    raw = config.get("html", "escape") == "clean"
    markdown = MarkdownIt("commonmark", {"html": raw, "breaks": config.get("line_breaks", False)})
    html = str(markdown.enable(["table", "strikethrough"]).render(text))
    if raw:
        check_markup(html)
    return nh3.clean(html)


def _markdown(html: str, config: JsonObject) -> str:
    import nh3
    from markdownify import ASTERISK, ATX, UNDERLINED, markdownify

    check_markup(html)
    style = ATX if config.get("headings", "atx") == "atx" else UNDERLINED
    try:
        text: str = markdownify(
            nh3.clean(html),
            heading_style=style,
            bullets="*",
            strong_em_symbol=ASTERISK,
            strip=config.get("leave_out", []),
        )
    except RecursionError:
        raise NodeError("the HTML nests too deep to be written as Markdown", "html_too_complex") from None
    return text.strip()


NODE_TYPE = NodeType(SPEC, run, problems_of_places)
