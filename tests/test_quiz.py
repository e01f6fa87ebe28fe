"""The directive for questions: what it makes of a good source, and what it says of a bad one."""

import io

import pytest

CONF = """
extensions = ["myst_nb", "quiz"]
myst_enable_extensions = ["colon_fence", "dollarmath", "tasklist"]
"""
GOOD = """How many?

- [ ] one

  It is more.
- [x] two, $x$

  This is so.
"""


def build(folder, question):
    """Build a page with a question; return its HTML and the warnings."""
    from sphinx.application import Sphinx
    from sphinx.util.docutils import docutils_namespace

    (folder / "conf.py").write_text(CONF)
    (folder / "index.md").write_text(f"# Front\n\n:::{{question}}\n{question}:::\n")
    html, warnings = folder / "_build/html", io.StringIO()
    with docutils_namespace():
        Sphinx(
            folder, folder, html, folder / "_build", "html", status=None, warning=warnings
        ).build()
    return (html / "index.html").read_text(), warnings.getvalue()


def test_one_right_option_makes_round_buttons(tmp_path):
    page, warnings = build(tmp_path, GOOD)
    assert warnings == ""
    assert page.count('type="radio"') == 2 and 'type="checkbox"' not in page
    assert page.index("No.") < page.index("It is more.") < page.index("Right.")
    assert "Choose all" not in page


def test_several_right_options_make_square_buttons(tmp_path):
    page, warnings = build(tmp_path, GOOD + "- [x] three\n\n  This, too.\n")
    assert warnings == ""
    assert page.count('type="checkbox"') == 3 and 'type="radio"' not in page
    assert "Choose all that are right." in page


@pytest.mark.parametrize(
    "question, message",
    [
        ("How many?\n", "a list of options"),
        ("- [x] one\n\n  Why.\n", "a question needs a text"),
        (GOOD.replace("[x]", "[ ]"), "has 0 right of 2"),
        (GOOD.replace("[ ]", "[x]"), "has 2 right of 2"),
        (GOOD.replace("  It is more.\n", ""), "one that explains it; this is not: 'one'"),
        (GOOD.replace("[ ] one", "one"), "begins with [ ] or [x]; this one does not: 'one'"),
        (
            GOOD.replace("[ ] one", "[y] one"),
            "begins with [ ] or [x]; this one does not: '[y] one'",
        ),
    ],
)
def test_a_question_of_another_form_is_refused(tmp_path, question, message):
    _, warnings = build(tmp_path, question)
    assert message in warnings
