"""The page for instructors: times, courses and the drawing of what builds on what; and what wrong data say."""

import io
import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import book_extension
import nbformat
import pytest
import teaching
from docutils import nodes
from docutils.core import publish_doctree
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

ROOT = Path(__file__).resolve().parents[1]
RATES = {"words_per_minute": 100, "minutes_per_display": 2, "minutes_per_point": 10}


# Times


def test_words_and_displays_are_counted():
    tree = publish_doctree("""
Two words and :math:`a + b` don't count-as more.

* A list.

::

    code has no words

.. math:: x = y

.. table:: caption

   ===  ===
   a    b
   ===  ===
""")
    # two words and (formula) don't count-as more, a list, caption, a b
    assert teaching.count(tree) == (7 + 2 + 1 + 2, 3)
    assert teaching.reading_minutes(250, 3, RATES) == 8.5


@pytest.mark.parametrize(
    ("minutes", "said"), [(0.6, "1 min"), (9.4, "9 min"), (11, "10 min"), (62.6, "65 min")]
)
def test_minutes_in_words(minutes, said):
    assert teaching.say_minutes(minutes).replace("\N{NO-BREAK SPACE}", " ") == said


@pytest.mark.parametrize(
    ("minutes", "said"), [(1, "½ h"), (50, "1 h"), (100, "1½ h"), (600, "10 h")]
)
def test_hours_in_words(minutes, said):
    assert teaching.say_hours(minutes).replace("\N{NO-BREAK SPACE}", " ") == said


def test_numbers_in_words():
    assert teaching.say_numbers([3, 1, 2, 5, 6, 9]) == "1–3, 5, 6, 9"
    assert teaching.say_numbers([]) == ""


# A small book

CONF = """
extensions = ["book_extension", "teaching"]
nb_execution_mode = "off"
html_theme = "sphinx_book_theme"
"""
PAGE = """# Title of {n}
{head}
## First

{words}

## Second

```{{math}}
x
```

### Below

Word.

## Third
"""
HEAD = """
```{at-a-glance}
Nothing *else*.
```
"""
INSTRUCTORS = """# For instructors

```{prerequisites}
```

```{workload}
```

```{syllabus} 2
```
"""
DATA = """
[rates]
words_per_minute = 100
minutes_per_display = 2
minutes_per_point = 10
[chapter.01-one]
column = 0
from = "nothing"
[chapter.02-two]
column = 1
needs = ["01-one"]
from = "one & all"
[[course]]
weeks = 2
title = "Two weeks"
[[course.week]]
topic = "Begin"
read = ["01-one: First ... Second"]
run = ["01-one-more"]
solve = { 01-one = [2] }
[[course.week]]
topic = "End"
read = ["02-two", "01-one: Third"]
solve = { 01-one = "all" }
hours = 1
"""


def build(folder, data=DATA):
    """Build a small book; return the page for instructors, as text, and the warnings."""
    from sphinx.application import Sphinx
    from sphinx.util.docutils import docutils_namespace

    cells = [
        new_markdown_cell("## Exercise 1: a"),
        new_code_cell(metadata={"nbgrader": {"grade": True, "points": 3}}),
        new_markdown_cell("## Exercise 2: b"),
        new_code_cell(metadata={"nbgrader": {"grade": True, "points": 6}}),
    ]
    kernel = {
        "kernelspec": {"name": "python3", "display_name": "Python"},
        "language_info": {"name": "python"},
    }
    notebook = nbformat.writes(new_notebook(cells=[new_markdown_cell("# N")], metadata=kernel))
    toctree = "```{toctree}\n:numbered:\n\nbook/01-one\nbook/02-two\nnotebooks/01-one\nnotebooks/01-one-more\nbook/instructors\n```\n"
    files = {
        "conf.py": CONF,
        "index.md": "# Front\n\n" + toctree,
        "book/01-one.md": PAGE.format(n="one", words="word " * 300, head=HEAD),
        "book/02-two.md": PAGE.format(n="two", words="word " * 95, head=HEAD),
        "book/instructors.md": INSTRUCTORS,
        "book/teaching.toml": data,
        "book/results.json": json.dumps(
            {
                "notebooks": {
                    "01-one": {"seconds": [60]},
                    "01-one-more": {"seconds": [500, 120, 100]},
                }
            }
        ),
        "notebooks/01-one.ipynb": notebook,
        "notebooks/01-one-more.ipynb": notebook,
        "notebooks/exercises/01-one/01-one.ipynb": nbformat.writes(new_notebook(cells=cells)),
    }
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    html, warnings = folder / "_build/html", io.StringIO()
    doctrees = folder / "_build/doctrees"
    options = {
        "confoverrides": {"exclude_patterns": ["notebooks/exercises"]},
        "status": None,
        "warning": warnings,
    }
    with docutils_namespace():  # what the build registers is forgotten after it
        Sphinx(folder, folder, html, doctrees, "html", **options).build()
    page = (html / "book/instructors.html").read_text(encoding="utf-8")
    return page.replace("\N{NO-BREAK SPACE}", " "), warnings.getvalue()


def table_rows(page):
    """The texts of the cells of each row of all tables of a page."""
    rows = re.findall(r"<tr.*?</tr>", page, flags=re.DOTALL)
    cells = [re.findall(r"<t[dh].*?</t[dh]>", row, flags=re.DOTALL) for row in rows]
    return [[re.sub(r"<[^>]+>", "", cell).strip() for cell in row] for row in cells]


def test_page_for_instructors(tmp_path):
    page, warnings = build(tmp_path)
    assert warnings == ""
    rows = table_rows(page)
    # Title, two words of the head, three headings, 300 words, one heading and one word below: 310; an equation.
    assert ["1 Title of one", "300", "5 min", "3 min", "2", "9", "1½ h", "1½ h"] in rows
    # 105 words and an equation; no notebook, no exercise.
    assert ["2 Title of two", "100", "3 min", "0 min", "–", "–", "–", "½ h"] in rows
    # 304 words, 2 minutes for the equation, 1.7 of running (the shortest), 60 for 6 points: 67.
    assert ["1", "Begin", "1.1–1.2", "01-one-more", "chapter 1: 2", "1 h"] in rows
    # 3 minutes for chapter 2, 90 for 9 points, an hour of project: 153.
    assert ["2", "End", "2 Title of two; 1.3", "–", "chapter 1: 1, 2", "2½ h"] in rows
    assert "Two weeks: about 4 hours in all" in page
    assert ["2 Title of two", "1", "–", "one &amp; all"] in rows
    assert '<a class="reference internal" href="01-one.html#third">1.3</a>' in page
    drawing = ElementTree.fromstring(re.search(r"<svg class=\"pre.*?</svg>", page, flags=re.S)[0])
    assert "2 needs 1" in drawing.attrib["aria-label"]
    assert [node.text for node in drawing.iter("text")] == ["1 Title of one", "2 Title of two"]


def test_head_of_a_chapter(tmp_path):
    build(tmp_path)
    heads = []
    for name in ("01-one", "02-two"):
        page = (tmp_path / f"_build/html/book/{name}.html").read_text(encoding="utf-8")
        names, texts = (
            [
                re.sub(r"<[^>]+>", "", found).strip()
                for found in re.findall(pattern, page, flags=re.S)
            ]
            for pattern in (r"<dt[^>]*>(.*?)</dt>", r"<dd[^>]*>(.*?)</dd>")
        )
        place = re.search(r'class="chapter-place">(.*?)<span style="--share: (\d+)%', page)
        clean = [name.rstrip(":") for name in names]
        heads.append((place.groups(), dict(zip(clean, texts, strict=True)), page))
    (place, fields, page), (last_place, last_fields, _) = heads
    space = "\N{NO-BREAK SPACE}"
    assert place == ("Chapter 1 of 2", "50") and last_place == ("Chapter 2 of 2", "100")
    assert fields == {
        "Read": f"5{space}min",
        "Run": f"3{space}min: notebook; notebook",
        "Solve": f"1½{space}h for 2 exercises",
        "You need": "Nothing else.",
    }
    assert 'href="../notebooks/01-one-more.html"' in page and "<em>else</em>" in page
    assert last_fields == {
        "Read": f"3{space}min",
        "Run": "–",
        "Solve": "–",
        "Builds on": "1 Title of one",
        "You need": "Nothing else.",
    }


@pytest.mark.parametrize(
    ("minutes", "said"), [(14, "15 min"), (53, "1 h"), (67, "1 h"), (70, "1¼ h"), (230, "3¾ h")]
)
def test_reading_times_in_words(minutes, said):
    assert teaching.say_long(minutes).replace("\N{NO-BREAK SPACE}", " ") == said


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ('"01-one: Third"', '"01-one: Fourth"', "no section 'Fourth'"),
        ('"01-one: First ... Second"', '"01-one: Second ... First"', "stands before the first"),
        ('read = ["02-two"', 'read = ["03-two"', "no chapter '03-two'"),
        ('["01-one-more"]', '["01-one-less"]', "no notebook '01-one-less'"),
        ("01-one = [2]", "01-one = [3]", "no exercise 3"),
        ('needs = ["01-one"]', 'needs = ["02-two"]', "cannot build on '02-two'"),
        ("[chapter.02-two]", "[chapter.02-too]", "the book has"),
        ("weeks = 2", "weeks = 3", "no course of 2 weeks"),
        ('[[course.week]]\ntopic = "End"', '[[more]]\ntopic = "End"', "1 weeks in the course of 2"),
    ],
)
def test_names_that_the_book_has_not_stop_the_build(tmp_path, right, wrong, said):
    assert right in DATA
    with pytest.raises(teaching.TeachingError, match=re.escape(said)):
        build(tmp_path, DATA.replace(right, wrong))


def test_notebook_without_times_is_not_measured_yet(tmp_path):
    book = teaching.Book(type("Environment", (), {"srcdir": tmp_path}))
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks/01-one.ipynb").touch()
    assert book.running_minutes(["01-one"]) is None
    assert book.running_minutes([]) == 0


# The drawing


def test_arrows_go_down_and_long_ones_through_the_gap():
    chapters = {
        "01-a": {"column": 0},
        "02-b": {"column": 0, "needs": ["01-a"]},
        "03-c": {"column": 1, "needs": ["02-b"], "helps": ["01-a"]},
    }
    assert teaching.rows_of(chapters) == {"01-a": 0, "02-b": 1, "03-c": 2}
    drawing = teaching.draw(chapters, {slug: slug for slug in chapters})
    paths = {
        path.attrib["class"] + path.attrib["d"][-12:]: path.attrib["d"]
        for path in ElementTree.fromstring(drawing).iter("path")
        if path.attrib["class"] != "head"
    }
    long = next(d for name, d in paths.items() if name.startswith("helps"))
    gap = float(re.search(r"H([\d.]+)V", long)[1])
    assert teaching.WIDTH + 4 < gap < teaching.ACROSS + 4  # between the columns
    assert len(paths) == 3


def test_data_name_chapters_and_exercises_of_this_book():
    """What the build would find too, but later."""
    data = teaching.read_data(ROOT)
    pages = sorted(path.stem for path in ROOT.glob("book/[0-9][0-9]-*.md"))
    teaching.check_prerequisites(data["chapter"], pages)
    assert [course["weeks"] for course in data["course"]] == [4, 8, 14]
    for course in data["course"]:
        assert len(course["week"]) == course["weeks"]
        for week in course["week"]:
            for name in week.get("run", []):
                assert (ROOT / f"notebooks/{name}.ipynb").is_file()
            for slug, chosen in week.get("solve", {}).items():
                path = ROOT / f"notebooks/exercises/{slug}/{slug}.ipynb"
                count = len(book_extension.read_exercises(path))
                assert chosen == "all" or set(chosen) <= set(range(1, count + 1))


def test_table_has_a_name_and_as_many_columns_as_its_header():
    table = teaching.make_table("A title", ["a", "b"], [["1", [nodes.emphasis("", "2")]]])
    assert table["ids"] == ["a-title"]
    assert [len(row) for row in table.findall(nodes.row)] == [2, 2]
