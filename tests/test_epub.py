"""The EPUB: whether a small book of the same make has what a reading device needs, and nothing of the site."""

import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import epub_book
import pytest
import yaml
from fontTools.ttLib import TTFont

ROOT = Path(__file__).resolve().parents[1]
XHTML = "{http://www.w3.org/1999/xhtml}"
MATHML = "{http://www.w3.org/1998/Math/MathML}"
OPF = "{http://www.idpf.org/2007/opf}"
DC = "{http://purl.org/dc/elements/1.1/}"

PAGES = {
    "book/index.md": """\
# The book

```{toctree}
:hidden:

one
../notebooks/two
```
""",
    "book/one.md": """\
# One

A formula, $\\dfrac{1}{2} < x$, and <span lang="zh-Hant">春曉</span>.

$$
a = 1
$$ (here)

See {eq}`here`.

:::{dropdown} Closed on the site
Words.
:::

:::{container} site-only
A file of the site.
:::

:::{question}
Which one?

- [ ] this

  Not this.
- [x] that

  Just that.
:::

```python
print("春")
```
""",
    "notebooks/two.md": "# Two\n\nNo formula.\n",
}


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    """A small EPUB, made with the extensions and the settings of the book."""
    source = tmp_path_factory.mktemp("source")
    for name, content in PAGES.items():
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_text(content, encoding="utf-8")
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    settings = {
        name: value
        for name, value in config["sphinx"]["config"].items()
        if name.startswith(("epub_", "html_", "math_", "numfig")) and "template" not in name
    }
    settings |= {
        "extensions": ["myst_nb", "sphinx_design", "sphinx_copybutton", "book_extension"]
        + ["quiz", "mathematics", "epub_book"],
        "html_static_path": [str(ROOT / "book/_static")],
        "html_theme_options": {},
        "html_sidebars": {},
        "myst_enable_extensions": config["parse"]["myst_enable_extensions"],
        "root_doc": "book/index",
        "numfig": True,
    }
    lines = [f"{name} = {value!r}" for name, value in settings.items()]
    (source / "conf.py").write_text("\n".join(lines), encoding="utf-8")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-b", "epub", "-d", source / "trees"]
    command += [source, source / "out"]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT / "tools")},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = (source / "out").glob("*.epub")
    with zipfile.ZipFile(path) as archive:
        yield archive


@pytest.fixture
def package(book):
    return ElementTree.fromstring(book.read("content.opf"))


def page(book, name):
    return ElementTree.fromstring(book.read(name))


def test_first_file_says_what_it_is(book):
    first = book.infolist()[0]
    assert first.filename == "mimetype" and first.compress_type == zipfile.ZIP_STORED
    assert book.read("mimetype") == b"application/epub+zip"


def test_metadata(package, book):
    metadata = package.find(f"{OPF}metadata")
    assert metadata.findtext(f"{DC}title") == "Deep Learning with Python"
    assert metadata.findtext(f"{DC}creator") and metadata.findtext(f"{DC}language") == "en"
    identifier = metadata.find(f"{DC}identifier")
    assert identifier.text.startswith("urn:uuid:") and identifier.get("id") == package.get(
        "unique-identifier"
    )
    assert identifier.text in book.read("toc.ncx").decode()
    assert all(element.text or element.get("content") for element in metadata)


def test_files_are_declared_and_those_of_the_site_left_out(package, book):
    items = {item.get("href"): item for item in package.iter(f"{OPF}item")}
    names = set(book.namelist()) - {"mimetype", "META-INF/container.xml", "content.opf"}
    assert names == set(items)
    assert not [name for name in names if name.endswith((".js", ".html", ".ipynb"))]
    assert {name for name in names if name.endswith(".css")} == {
        f"_static/{style}" for style in epub_book.STYLES
    }
    # What the formulas of a page need, and what is the cover, is said.
    assert items["book/one.xhtml"].get("properties") == "mathml svg"  # the arrow of the box
    assert items["notebooks/two.xhtml"].get("properties") is None
    assert items["_static/cover.png"].get("properties") == "cover-image"
    assert items["nav.xhtml"].get("properties") == "nav"


def test_contents_have_all_pages_in_their_order(package, book):
    hrefs = {item.get("id"): item.get("href") for item in package.iter(f"{OPF}item")}
    spine = [hrefs[entry.get("idref")] for entry in package.iter(f"{OPF}itemref")]
    pages = ["book/index.xhtml", "book/one.xhtml", "notebooks/two.xhtml"]
    assert [name for name in spine if name in pages] == pages
    links = [link.get("href") for link in page(book, "nav.xhtml").iter(f"{XHTML}a")]
    assert links[:3] == pages


def test_page_is_xhtml_without_scripts(book):
    tree = page(book, "book/one.xhtml")
    assert tree.get("lang") == "en"
    assert not list(tree.iter(f"{XHTML}script")) and not list(tree.iter(f"{XHTML}input"))
    inline, display = tree.iter(f"{MATHML}math")
    assert "".join(inline.itertext()) == "12<x" and display.get("display") == "block"
    # MathML 3 says the size of a fraction around it.
    (style,) = inline.iter(f"{MATHML}mstyle")
    assert style.get("displaystyle") == "true" and style.find(f"{MATHML}mfrac").attrib == {}
    text = "".join(tree.itertext())
    assert "(1)" in text and "file of the site" not in text
    (details,) = tree.iter(f"{XHTML}details")
    assert details.get("open") and "Words." in "".join(details.itertext())


def test_questions_have_their_answers_below(book):
    text = " ".join("".join(page(book, "book/one.xhtml").itertext()).split())
    parts = ["Which one?", "this", "that", "Answers", "No. Not this.", "Right. Just that."]
    places = [text.find(part) for part in parts]
    assert -1 not in places and places == sorted(places)


def test_fonts_are_in_the_book(book):
    with TTFont(io.BytesIO(book.read("_static/dlbook-han.woff"))) as font:
        assert set(map(chr, font.getBestCmap())) == set("春曉")
    assert "_static/fonts/dlbook-math.woff2" in book.namelist()


def test_check_refuses_what_is_no_epub(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert epub_book.check(tmp_path / "book.epub") is None  # nothing to check with
    (tmp_path / "epubcheck").write_text('#!/bin/sh\ntest "$2" = good.epub\n')
    (tmp_path / "epubcheck").chmod(0o755)
    assert epub_book.check("good.epub") is True
    assert epub_book.check("bad.epub") is False
