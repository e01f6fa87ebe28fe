"""What the PDF needs: Sphinx's LaTeX of a small book, and the reader of LaTeX's log. TeX is not needed."""

import io
import re
import shutil

import latex_book
import pdf
import pytest
from docutils import nodes

CONF = """
extensions = ["myst_nb", "quiz", "latex_book"]
myst_enable_extensions = ["colon_fence", "dollarmath", "tasklist"]
root_doc = "book/index"
numfig = True
"""
CHAPTER = """# First

Before.

## Check yourself

:::{question}
How many?

- [ ] one

  It is more.
- [x] two, $x$

  This is so.
:::

:::{question}
How few?

- [x] none

  Count them.
- [ ] all

  It is less.
:::

(named)=
## 春曉

| one | two |
|---|---|
| a | %s |

```{toctree}
../notebooks/01-first
```
"""
INDEX = """# The book

A sentence for the beginning.

```{toctree}
01-first
```

```{toctree}
back
```

## How to read it

Slowly.
"""


@pytest.fixture(scope="module")
def latex(tmp_path_factory):
    """The LaTeX of a book of one chapter, one notebook and one page at the back."""
    from sphinx.application import Sphinx
    from sphinx.util.docutils import docutils_namespace

    folder = tmp_path_factory.mktemp("book")
    for name in latex_book.FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(pdf.ROOT / name, folder / name)
    (folder / "conf.py").write_text(CONF)
    pages = {
        "book/index": INDEX,
        "book/01-first": CHAPTER % ("a long text " * 40),
        "notebooks/01-first": "# Second\n\nRun it.\n",
        "book/back": "# Words\n\nA word.\n",
    }
    for name, text in pages.items():
        (folder / f"{name}.md").parent.mkdir(exist_ok=True)
        (folder / f"{name}.md").write_text(text)
    warnings = io.StringIO()
    with docutils_namespace():
        Sphinx(
            folder, folder, folder / "out", folder / "trees", "latex", status=None, warning=warnings
        ).build()
    assert warnings.getvalue() == ""
    [path] = (folder / "out").glob("*.tex")
    return path.read_text()


def test_only_chapters_and_their_sections_have_numbers(latex):
    depth, found = 2, {}
    for command in re.finditer(
        r"\\setcounter\{secnumdepth\}\{(-?\d)\}|\\backmatterofbook"
        r"|\\(chapter|section|subsection)\{(.+)\}",
        latex,
    ):
        if command[2]:
            level = ["chapter", "section", "subsection"].index(command[2])
            found[command[3]] = (command[2], level <= depth)
        else:
            depth = int(command[1] or -1)
    assert found == {
        "About this book": ("chapter", False),
        "How to read it": ("section", False),
        "First": ("chapter", True),
        "Check yourself": ("section", True),
        "春曉": ("section", True),
        "Notebook: Second": ("subsection", False),
        "Words": ("chapter", False),
    }


def test_answers_stand_after_the_last_question(latex):
    order = [
        "How many?",
        "two,",
        "How few?",
        "Answers",
        "It is more.",
        "This is so.",
        "It is less.",
    ]
    places = [latex.index(text) for text in order]
    assert places == sorted(places)
    assert "<input" not in latex and latex.count("Right.") == 2


def test_no_label_is_given_twice(latex):
    labels = re.findall(r"\\label\{[^}]*\}", latex)
    assert any(":named" in label for label in labels)
    assert len(labels) == len(set(labels))


def test_a_column_of_long_texts_is_the_wider_one(latex):
    [narrow, wide] = map(float, re.findall(r"p\{([\d.]+)\\linewidth\}", latex))
    assert narrow < 0.1 < 0.8 < wide < 1


def cell(*content):
    return nodes.entry("", nodes.paragraph("", "", *content))


def test_columns_get_their_longest_words_and_fill_no_more_than_the_line():
    # 60 letters of 5.2 points each cannot be broken, so the other column has to give way.
    long, text = cell(nodes.Text("a" * 60)), cell(nodes.Text("to be or not to be " * 10))
    first, second = latex_book.column_widths([[long, text]])
    assert first * latex_book.LINE >= 60 * 5.2 - 1e-6
    assert (first + second) * latex_book.LINE == pytest.approx(latex_book.LINE - latex_book.GAP)
    # Two words need no more than they have.
    assert sum(latex_book.column_widths([[cell(nodes.Text("one")), cell(nodes.Text("two"))]])) < 0.1


LOG = r"""
This is XeTeX, Version 3.141592653-2.6-0.999994 (TeX Live 2022/Debian)
LaTeX Font Info:    Font shape `TU/DejaVuSansMono(0)/m/n' will be scaled to size 8.97885pt on input line 5.
Missing character: There is no   (U+0020) in font [dlbook-han-serif.otf]/OT:language=dflt;!
Overfull \hbox (9.9pt too wide) in paragraph at lines 3--4
Underfull \hbox (badness 10000) in paragraph at lines 3--4
LaTeX Font Warning: Size substitutions with differences
"""
SOURCE = "\n".join(
    [
        r"\begin{document}",
        r"\label{\detokenize{book/02-concepts:concepts}}",
        "text",
        r"\label{\detokenize{notebooks/02-concepts:concepts}}",
        "text",
    ]
)


def test_a_clean_log_has_no_problems():
    assert pdf.read_log(LOG, SOURCE) == []


@pytest.mark.parametrize(
    "line, found",
    [
        (
            "Missing character: There is no ⑤ (U+2464) in font [DejaVuSansMono.ttf]/OT!",
            "no glyph: ",
        ),
        (
            r"Overfull \hbox (10.1pt too wide) in paragraph at lines 3--3",
            "too wide: book/02-concepts: ",
        ),
        (
            r"Overfull \hbox (39.0pt too wide) detected at line 5",
            "too wide: notebooks/02-concepts: ",
        ),
        (
            r"Overfull \hbox (39.0pt too wide) in alignment at lines 5--9",
            "too wide: notebooks/02-concepts: ",
        ),
        (
            r"Overfull \hbox (39.0pt too wide) has occurred while \output is active",
            "too wide: unknown page: ",
        ),
        (
            "LaTeX Warning: Reference `equation:x' on page 4 undefined on input line 5.",
            "unresolved: ",
        ),
        (
            "LaTeX Warning: Hyper reference `x' on page 4 undefined on input line 5.",
            "unresolved: ",
        ),
        (
            "LaTeX Warning: Citation `x' on page 4 undefined on input line 5.",
            "unresolved: ",
        ),
        ("LaTeX Warning: Label `x' multiply defined.", "label given twice: "),
        (
            "LaTeX Font Warning: Font shape `TU/x(0)/b/n' undefined",
            "font replaced: ",
        ),
        ("./deep-learning-with-python.tex:5: Undefined control sequence.", "error: "),
        ("! Emergency stop.", "error: "),
        ("xdvipdfmx:warning: Object @page.1 not defined.", "link to nowhere: "),
    ],
)
def test_what_is_wrong_in_a_log_is_found(line, found):
    assert pdf.read_log(LOG + line + "\n", SOURCE) == [found + line]


def test_without_tex_the_message_names_the_packages(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda program: None)
    with pytest.raises(SystemExit, match="(?s)xelatex.*apt-get install.*texlive-xetex") as stop:
        pdf.main()
    assert "fonts-texgyre" in str(stop.value)
