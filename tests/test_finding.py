"""Tests of the index and of the links to things, in the built site: `make book` comes first."""

import re
from html.parser import HTMLParser

import pytest
from axe_playwright_python.sync_playwright import Axe
from test_search import HTML, ROOT, page  # noqa: F401

PAGES = sorted(path.relative_to(HTML).as_posix() for path in HTML.glob("*/*.html")) or [
    "(no page: run `make book` first)"
]
PAGES = [path for path in PAGES if path.startswith(("book/", "notebooks/"))] or PAGES
CHAPTERS = [path for path in PAGES if re.match(r"book/\d\d-", path)]
SITE = HTML.as_uri() + "/"

# All that can be linked to, with the address of its link, or null. A formula may be drawn in a box of its own.
THINGS = """() => [...document.querySelectorAll(
        'article :is(h1, h2, h3, h4, figure, table, div.math, div[class*="highlight-"], .glossary dt, .quiz, ol > li[id])')]
    .filter(e => !e.closest('.cell_output, nav'))
    .filter(e => !(e.matches('div') && e.closest('.cell')))
    .map(e => {
        const box = e.closest('.linked, .literal-block-wrapper, figure') ?? (e.matches('h1, h2, h3, h4') ? e.parentElement : e);
        const link = e.matches('h1, h2, h3, h4') ? e.querySelector('a.headerlink') : box.querySelector('a.headerlink');
        return [e.outerHTML.slice(0, 80), link?.hash ?? null, link?.ariaLabel ?? null,
                link ? box.contains(document.getElementById(decodeURIComponent(link.hash.slice(1)))) : false];
    })"""


@pytest.mark.parametrize("path", PAGES)
def test_everything_has_a_link_to_itself(page, path):  # noqa: F811
    page.goto(SITE + path)
    things = page.evaluate(THINGS)
    assert len(things) > 1 or path == "book/bibliography.html"
    for what, link, name, leads_there in things:
        assert link and name and leads_there, (what, link, name, leads_there)
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert {name for name in ids if ids.count(name) > 1} == set()
    # No anchor is a number that changes when something is put before it. The list of references is the only one on its page.
    anchors = page.evaluate("[...document.querySelectorAll('article [id]')].map(e => e.id)")
    assert [name for name in anchors if re.fullmatch(r"id\d+", name)] in ([], ["id1"])


def test_figures_of_notebooks_have_the_names_of_the_figures(page):  # noqa: F811
    page.goto(SITE + "notebooks/03-feedforward.html#figure-samples")
    target = page.locator(":target")
    assert target.locator("img").count() == 1
    assert page.locator("article .cell_output img").count() == page.locator(".linked img").count()


def test_link_is_reached_with_the_keyboard_and_not_read_in_the_heading(page):  # noqa: F811
    page.goto(SITE + "book/03-feedforward.html")
    heading = page.locator("#the-data h2")
    link = heading.locator("a.headerlink")
    opacity = "e => getComputedStyle(e).opacity"
    assert link.evaluate(opacity) == "0"
    link.focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Shift+Tab")  # focus as by the keyboard, which is shown
    assert link.evaluate("e => e === document.activeElement")
    assert link.evaluate(opacity) == "1"
    page.keyboard.press("Enter")
    assert page.locator(":target").get_attribute("id") == "the-data"
    # What a screen reader calls the heading: its text, without the link.
    assert page.get_by_role("heading", name=re.compile(r"^3\.2\. The data$")).count() == 1


class Index(HTMLParser):
    """The entries of the page *Index*: for each, its text and the addresses of its links."""

    def __init__(self):
        super().__init__()
        self.entries, self.depth, self.list = [], 0, False
        self.feed((HTML / "book/term-index.html").read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "ul" and "index-entries" in (attributes.get("class") or ""):
            self.list = True
        elif tag == "li" and self.list:
            self.entries.append(["", []])
        elif tag == "a" and self.list:
            self.entries[-1][1].append(attributes["href"])

    def handle_endtag(self, tag):
        if tag == "ul":
            self.list = False

    def handle_data(self, data):
        if self.list and self.entries:
            self.entries[-1][0] += data


@pytest.fixture(scope="module")
def entries():
    if not (HTML / "book/term-index.html").is_file():
        pytest.fail("_build/html is missing: run `make book` first")
    return {" ".join(text.split()): links for text, links in Index().entries}


def test_each_term_and_its_chinese_name_are_in_the_index(entries):
    source = (ROOT / "book/glossary.md").read_text(encoding="utf-8")
    blocks = re.findall(
        r"^((?:\S.*\n)+)    <span lang=\"zh-Hans\">(.+?)</span>\.", source, re.MULTILINE
    )
    names = {text.split(": ")[0].replace("’", "'") for text in entries}
    for terms, chinese in blocks:
        terms = terms.strip().splitlines()
        assert set(terms) <= names
        inner = re.fullmatch(r"[^\u4e00-\u9fff]*（(.+)）", chinese)
        assert f"{inner[1] if inner else chinese} {terms[0]}" in names
    chinese = [text for text in entries if re.match(r"[\u4e00-\u9fff]", text)]
    # By sound: 递归 (dìguī) before 反向 (fǎnxiàng) before 神经 (shénjīng).
    first = [
        next(n for n, text in enumerate(chinese) if text.startswith(start))
        for start in ("递归", "反向传播", "神经网络")
    ]
    assert first == sorted(first)


def test_each_use_of_a_term_is_in_the_index(entries):
    """Each chapter in which a term is used, wherever in it."""
    glossary = (ROOT / "book/glossary.md").read_text(encoding="utf-8")
    groups = re.findall(r"^((?:\S.*\n)+)    <span", glossary, re.MULTILINE)
    first = {term.lower(): group.splitlines()[0] for group in groups for term in group.splitlines()}
    links = {text.split(": ")[0].replace("’", "'"): found for text, found in entries.items()}
    for path in (ROOT / "book").glob("[0-9][0-9]-*.md"):
        text = re.sub(
            r":::\{question\}.*?^:::$", "", path.read_text(encoding="utf-8"), flags=re.S | re.M
        )
        for use in re.findall(r"\{term\}`([^`]+)`", text):
            use = re.sub(r"\s+", " ", use)
            target = re.fullmatch(r".*<(.+)>", use)
            term = first[(target[1] if target else use).lower()]
            assert any(path.stem in link for link in links[term]), (path.stem, term)


def test_shown_code_is_in_the_index(entries):
    names = {text.split(": ")[0] for text in entries}
    for path in (ROOT / "book").glob("[0-9][0-9]-*.md"):
        for name in re.findall(
            r"^:pyobject: (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE
        ):
            if not name.split(".")[-1].startswith("_"):
                assert {name, f"{name}()"} & names, name
    assert any(name.startswith("tf.") for name in names)


def test_entries_lead_somewhere_and_only_once(entries):
    assert len(Index().entries) == len(entries)  # none twice
    for text, links in entries.items():
        assert text and links and len(links) == len(set(links)), text
        for link in links:
            path, _, anchor = link.partition("#")
            html = (HTML / "book" / path).resolve().read_text(encoding="utf-8") if path else ""
            assert f'id="{anchor}"' in html, (text, link)


@pytest.mark.parametrize("width", [1440, 360])
def test_index_page(page, width):  # noqa: F811
    page.problems.clear()
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(SITE + "book/term-index.html")
    page.wait_for_load_state("networkidle")
    results = Axe().run(page, None, {"resultTypes": ["violations"], "preload": False})
    assert results.violations_count == 0, results.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.get_by_role("navigation", name="Letters of the index").get_by_role(
        "link", name="T", exact=True
    ).click()
    assert page.locator(":target h2").inner_text().startswith("T")
    # In the sidebar, under the back matter.
    assert (
        page.locator("nav.bd-links a[href$='term-index.html'], nav.bd-links a.current").count() > 0
    )
    assert page.problems == []
    page.set_viewport_size({"width": 1280, "height": 720})
