"""Tests of tools/light.py: what it makes of style sheets, and what it has made of the site (`make book` comes first)."""

import hashlib
import re
from io import BytesIO
from pathlib import Path

import pytest
from book_extension import stored_images
from bs4 import BeautifulSoup
from docutils.core import publish_doctree
from light import Bundler, Vocabulary, description, shorten
from PIL import Image, ImageChops

ROOT = Path(__file__).resolve().parents[1]
HTML = ROOT / "_build/html"
PAGES = sorted(path for folder in ("book", "notebooks") for path in HTML.glob(f"{folder}/*.html"))

PAGE = """<html><body class="wide" id="top"><p data-kind='a' title="a > b">x</p>
<script>element.classList.add("opened"); element.dataset.openMenu = 1;</script></body></html>"""


def bundle(tmp_path, style, page=PAGE):
    (tmp_path / "a.css").write_text(style)
    return Bundler(tmp_path, Vocabulary([page], [])).bundle(["a.css"])


@pytest.mark.parametrize(
    "selector",
    [
        "p",
        ".wide",
        "#top",
        "[data-kind]",
        '[title="b"]',
        ".wide > p:hover",
        "p::before",
        "*",
        ":root",
    ]
    + [".opened", "[data-open-menu]", "p:not(.absent)", ":is(.absent, p)", "p:nth-child(2n+1)"],
)
def test_a_rule_that_may_match_is_kept(tmp_path, selector):
    kept = bundle(tmp_path, selector + " { color : red }").replace("/**/", "")
    assert kept.endswith("{color:red;}")
    # A browser must read the same selector; blanks around a combinator say nothing.
    assert kept.split("{")[0].replace(" ", "") == selector.replace(" ", "")


@pytest.mark.parametrize(
    "selector",
    ["table", ".absent", "#absent", "[data-absent]", ".wide .absent", "p:is(.absent, #absent)"]
    + [".absent:not(.wide)", "p.wide > table"],
)
def test_a_rule_that_cannot_match_goes(tmp_path, selector):
    assert bundle(tmp_path, selector + " { color: red }") == ""
    assert bundle(tmp_path, f"@media print {{ {selector} {{ color: red }} }}") == ""
    assert bundle(tmp_path, f"{selector}, p {{ color: red }}") == "p{color:red;}"


def test_what_else_stands_in_style_sheets(tmp_path):
    (tmp_path / "b.css").write_text("p { margin: 0 }")
    (tmp_path / "styles").mkdir()
    (tmp_path / "styles/c.css").write_text('@import "../b.css"; p { background: url("../x.svg") }')
    sheet = Bundler(tmp_path, Vocabulary([PAGE], [])).bundle(["styles/c.css"])
    assert sheet == 'p{margin:0;}p{background:url("x.svg");}'

    style = """/*! licence */ /* remark */
    :root { --used: 1px; --through: var(--used); --unused: var(--gone); --gone: 2px }
    p { width: var(--through); animation: turn 1s }
    @keyframes turn { from { top: 0 } to { top: 1px } }
    @keyframes other { from { top: 0 } }
    @media (min-width: 10px) { p { color: red !important; &:hover { color: blue } } }
    p { background: url(data:image/png;base64,AAAA) }"""
    assert bundle(tmp_path, style) == (
        "/*! licence */\n:root{--used:1px;--through:var(--used);}"
        "p{width:var(--through);animation:turn 1s;}"
        "@keyframes turn{from { top: 0 } to { top: 1px }}"
        "@media (min-width: 10px){p{color:red!important;&:hover{color:blue;}}}"
        'p{background:url("data:image/png;base64,AAAA");}'
    )


def test_a_sheet_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ValueError, match="style sheet"):
        bundle(tmp_path, "p { color: red } }")


def test_description():
    paragraph = "This paragraph is the first, and it is long enough to say what the page is about."
    page = publish_doctree(
        f"Title\n=====\n\n.. note:: Not this.\n\nShort.\n\n{paragraph}\n\nMore\n----\n\nx"
    )
    assert description(page, "Title") == f"Title. {paragraph}"
    assert description(page, "Title", 40) == "Title. This paragraph is the first, and …"
    assert shorten("one, two three", 9) == "one, two …"


@pytest.fixture(scope="module")
def soups():
    assert PAGES, "no page: run `make book` first"
    return {path: BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser") for path in PAGES}


def test_nothing_holds_up_the_first_paint(soups):
    """One style sheet, and no script that the browser would have to wait for."""
    for path, soup in soups.items():
        assert [link["href"].split("?")[0] for link in soup.select("link[rel=stylesheet]")] == [
            "../_static/book.css"
        ], path
        waiting = [s["src"] for s in soup.select("script[src]") if not s.has_attr("defer")]
        assert waiting == [], path
        assert not soup.select("link[rel=preload]:not([as=font]), script[type=module]"), path


def test_scripts_are_loaded_where_they_are_used(soups):
    for path, soup in soups.items():
        names = {Path(s["src"].split("?")[0]).name for s in soup.select("script[src]")}
        assert not names & {"fontawesome.js", "bootstrap.js", "searchindex.js"}, path
        assert ("copybutton.js" in names) == bool(soup.select("div.highlight pre")), path
        assert all(
            (path.parent / s["src"].split("?")[0]).is_file() for s in soup.select("script[src]")
        )


def test_each_page_has_a_description_of_its_own(soups):
    texts = []
    for path, soup in soups.items():
        (tag,) = soup.select("meta[name=description]")
        assert 40 <= len(tag["content"]) <= 210, path
        texts.append(tag["content"])
        assert len(soup.select("meta[name=viewport]")) == 1
    assert len(set(texts)) == len(texts)


def test_images_say_their_size_and_come_late(soups):
    for path, soup in soups.items():
        images = [tag for tag in soup.select("article img") if "_images/" in tag["src"]]
        for tag in images:
            with Image.open(path.parent / tag["src"]) as image:
                assert (
                    abs(int(tag["width"]) / int(tag["height"]) - image.width / image.height) < 0.01
                )
        assert all(tag.get("loading") == "lazy" for tag in images[1:]), path


def test_packed_images_are_those_of_the_notebooks():
    """Pixel for pixel; the name of an image in the site is the hash of what its notebook stores."""
    compared = 0
    for notebook in sorted(ROOT.glob("notebooks/*.ipynb")):
        for *_, name, content, _ in stored_images(notebook):
            path = (HTML / "_images" / name).with_suffix(".webp")
            assert hashlib.sha256(content).hexdigest() == path.stem
            if path.is_file():
                with Image.open(path) as packed, Image.open(BytesIO(content)) as stored:
                    difference = ImageChops.difference(
                        packed.convert("RGBA"), stored.convert("RGBA")
                    )
                    assert difference.getbbox(alpha_only=False) is None, (notebook.name, name)
                assert path.stat().st_size < len(content)
                compared += 1
            else:
                assert path.with_suffix(".png").is_file()
    assert compared > 50


def test_no_whole_icon_font_is_asked_for():
    style = (HTML / "_static/book.css").read_text(encoding="utf-8")
    assert "webfonts" not in style
    for address in re.findall(r'url\("?([^")]+)', style):
        assert address.startswith("data:") or (HTML / "_static" / address).is_file(), address
