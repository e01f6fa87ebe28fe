"""Tests of the search, in the built site and a real browser: `make book` comes first."""

import functools
import http.server
import json
import re
import threading
import unicodedata
from pathlib import Path
from urllib.parse import quote

import pytest
from axe_playwright_python.sync_playwright import Axe
from chromium import find_chromium
from playwright.sync_api import sync_playwright
from site_search import math_text, symbols

ROOT = Path(__file__).resolve().parents[1]
HTML = ROOT / "_build/html"

# What a reader types, and a page that has to be among the first three places; after "#", the anchor, too.
QUERIES = {
    "神经网络": "book/glossary.html#term-neural-network",
    "反向传播": "book/glossary.html#term-backpropagation",
    "网络": "book/glossary.html",  # a part of many a name
    "η": "book/notation.html#training",
    r"\eta": "book/notation.html#training",
    "eta": "book/notation.html",
    "∂": "book/notation.html#loss-and-gradients",
    "∇": "book/notation.html#loss-and-gradients",
    "θ": "book/notation.html#the-network",
    "nn.Dense": "notebooks/03-feedforward.html",
    "tf.GradientTape": "book/08-future.html",
    "GradientTape": "book/03-feedforward.html",
    "Conv2D": "book/04-convolutional.html",
    "conv2d": "book/04-convolutional.html",
    "return_sequences": "book/05-recurrent.html",
    "steps_per_execution": "notebooks/03-feedforward.html",
    "topological_order": "book/03-feedforward.html",
    "Schölkopf": "book/bibliography.html",
    "Scholkopf": "book/bibliography.html",
    "Hinton": "book/01-history.html",
    "t": "book/notation.html",
    "L2": "book/glossary.html#term-L2-regularisation",
    "1986": "book/01-history.html",
    "C++": "book/01-history.html",
    "GAN": "book/glossary.html#term-generative-adversarial-network",
    "vanishing gradients": "book/glossary.html#term-vanishing-gradient",
    "the chain rule": "book/03-feedforward.html#the-chain-rule-on-a-graph",
    "optimizer": "book/glossary.html#term-optimiser",
    "batch normalization": "book/04-convolutional.html#batch-normalisation",
    "perceptron xor": "book/01-history.html",
}


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def page():
    """A page of a browser; its `problems` collects what goes wrong."""
    chromium = find_chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        context = browser.new_context(color_scheme="light", reduced_motion="reduce")
        choice = "localStorage.setItem('mode', 'light'); localStorage.setItem('theme', 'light');"
        context.add_init_script(choice)
        page = context.new_page()
        page.problems = problems = []
        page.on("pageerror", lambda error: problems.append(f"script error: {error}"))
        page.on("requestfailed", lambda request: problems.append(f"failed: {request.url}"))
        page.on(
            "console",
            lambda message: message.type == "error" and problems.append(f"console: {message.text}"),
        )
        yield page
        browser.close()


@pytest.fixture(scope="module", params=["http", "file"])
def site(request):
    """The address of the built site, from a server and from the folder."""
    if not (HTML / "search.html").is_file():
        pytest.fail("_build/html is missing: run `make book` first")
    if request.param == "file":
        yield HTML.as_uri() + "/"
        return
    handler = functools.partial(QuietHandler, directory=HTML)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def index():
    """The pages in searchindex.js."""
    text = (HTML / "searchindex.js").read_text(encoding="utf-8")
    return json.loads(text.removeprefix("Search.setIndex(").removesuffix(")"))["pages"]


def search(page, site, query):
    """Search as a reader does, and return the addresses found, without that of the site."""
    page.problems.clear()
    page.goto(f"{site}search.html?q={quote(query)}")
    page.wait_for_selector("[role=status]:not(:empty)")
    links = page.locator("ul.search > li > a")
    addresses = links.evaluate_all("links => links.map(link => link.href)")
    return [address.removeprefix(site) for address in addresses]


@pytest.mark.parametrize("query", QUERIES)
def test_query_finds_its_page(page, site, query):
    found = search(page, site, query)[:3]
    assert any(address.startswith(QUERIES[query]) for address in found), found
    assert page.problems == []


def test_excerpt_shows_what_was_found(page, site):
    search(page, site, "return_sequences")
    contexts = page.locator("ul.search .context")
    assert contexts.count() > 3
    for context in contexts.all():
        assert context.locator("mark").first.inner_text() == "return_sequences"
    # A section is named with its page.
    assert "Chapter 5" in page.locator("ul.search .search-page").first.inner_text()


def test_more_places_are_shown_on_demand(page, site):
    first = search(page, site, "gradient")
    page.locator("#search-results button").click()
    links = page.locator("ul.search > li > a")
    assert links.count() == 2 * len(first)
    # The keyboard goes on with the first new one.
    assert page.evaluate("document.activeElement.href") == links.nth(len(first)).get_attribute(
        "href"
    ) or links.nth(len(first)).evaluate("e => e === document.activeElement")
    assert page.problems == []


def test_what_is_not_there_is_said(page, site):
    assert search(page, site, "xyzzyq") == []
    assert "xyzzyq" in page.locator("[role=status]").inner_text()
    assert search(page, site, "<img src=x onerror=alert(1)>") is not None
    assert page.problems == []
    # Some of the words instead of none.
    assert search(page, site, "Schölkopf perplexity")
    assert "some" in page.locator("[role=status]").inner_text()


@pytest.mark.parametrize("width", [1440, 360])
def test_results_are_accessible(page, site, width):
    page.set_viewport_size({"width": width, "height": 800})
    search(page, site, "网络 gradient")
    results = Axe().run(page, None, {"resultTypes": ["violations"], "preload": False})
    assert results.violations_count == 0, results.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.set_viewport_size({"width": 1280, "height": 720})


def test_keyboard_opens_the_search_from_a_page(page, site):
    page.goto(f"{site}book/03-feedforward.html")
    page.wait_for_load_state("networkidle")
    page.keyboard.press("Control+k")
    page.keyboard.type("vanishing")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search.html?q=vanishing*")
    page.wait_for_selector("ul.search > li > a")


@pytest.fixture
def script(page):
    """The search page, in which `BookSearch` can be called."""
    page.goto(HTML.as_uri() + "/search.html?q=t")
    page.wait_for_selector("[role=status]:not(:empty)")
    return page


@pytest.mark.parametrize(
    "query, words",
    [
        ("神经网络", ["神经网络"]),
        ("用tanh激活", ["用", "tanh", "激活"]),
        ("the chain rule", ["chain", "rule"]),
        ("a", ["a"]),
        ('"the chain rule" of', ["the chain rule"]),
        ("record_gradients, nn.Dense()", ["record_gradients", "nn.Dense"]),
        ("k-means", ["k-means"]),
        ("ε-greedy", ["ε-greedy"]),
        ("C++", ["C++"]),
        (r"$\eta$", [r"\eta"]),
        ("(1986)", ["1986"]),
        ("loss loss", ["loss"]),
        ("  ", []),
    ],
)
def test_words_of_a_query(script, query, words):
    assert script.evaluate("query => BookSearch.split(query)", query) == words


@pytest.mark.parametrize(
    "word, text, found",
    [
        ("eta", "beta theta eta η", ["eta", "η"]),
        (r"\eta", "eta η", ["η"]),
        ("t", "at t-1 x_t T", ["t", "t", "T"]),
        ("L2", "L2 l2 L20", ["L2", "l2"]),
        ("network", "Networks subnetwork networking", ["Networks", "networking"]),
        ("gradients", "record_gradients Gradient gradual", ["gradients", "Gradient"]),
        (
            "conv2d",
            "Conv2D conv2d_transpose Conv2DTranspose",
            ["Conv2D", "conv2d", "Conv2DTranspose"],
        ),
        ("nn.Dense", "nn.Dense nnxDense", ["nn.Dense"]),
        ("C++", "C, C++ and C+", ["C++"]),
        ("Scholkopf", "Schölkopf", ["Schölkopf"]),
        ("Schölkopf", "Scholkopf", ["Scholkopf"]),
        (
            "k-means",
            "k-means k\N{NON-BREAKING HYPHEN}means",
            ["k-means", "k\N{NON-BREAKING HYPHEN}means"],
        ),
        ("ε-greedy", "ϵ-greedy", ["ϵ-greedy"]),
        ("网络", "卷积神经网络", ["网络"]),
        ("regularization", "regularisation", ["regularisation"]),
        ("color", "colour", ["colour"]),
        ("colour", "colors", ["colors"]),
    ],
)
def test_places_of_a_word(script, word, text, found):
    places = "([word, text]) => [...BookSearch.finder(word)(BookSearch.fold(text))].map(([a, b]) => text.slice(a, b))"
    assert script.evaluate(places, [word, text]) == found


def test_folding_keeps_places_and_agrees_with_unicode(script, index):
    """The search marks in a text what it has found in the folded one, so they have to be of one length."""
    changed = script.evaluate("""() => Object.values(Search._index.pages).flatMap(page => page.entries)
        .flatMap(([, title, text]) => [title, text]).filter(t => BookSearch.fold(t).length !== t.length)""")
    assert changed == []
    text = "".join(entry[2] for page in index.values() for entry in page["entries"])
    letters = sorted(c for c in set(text) if "LATIN" in unicodedata.name(c, "") and c.isalpha())
    letters = [c for c in letters if unicodedata.normalize("NFD", c)[0].isascii()]
    assert len(letters) > 60  # with accents, not only the alphabet
    folded = script.evaluate("letters => letters.map(BookSearch.fold)", letters)
    assert folded == [unicodedata.normalize("NFD", c)[0].lower() for c in letters]


def test_each_term_and_its_chinese_name_find_the_glossary(script):
    """Whatever the glossary defines comes first, before the pages that use it."""
    source = (ROOT / "book/glossary.md").read_text(encoding="utf-8")
    blocks = re.findall(
        r"^((?:\S.*\n)+)    <span lang=\"zh-Hans\">(.+?)</span>\.", source, re.MULTILINE
    )
    assert len(blocks) > 250
    best = """query => BookSearch.search(query).found.slice(0, 3).map(r => [r.entry.page, r.entry.title])"""
    for terms, name in blocks:
        terms = terms.strip().splitlines()
        for query in [*terms, name]:
            pages = script.evaluate(best, query)
            assert any(
                page == "book/glossary" and title.replace("’", "'").startswith(terms[0])
                for page, title in pages
            ), (query, pages)


def test_every_entry_has_its_anchor(index):
    for name, content in index.items():
        html = (HTML / f"{name}.html").read_text(encoding="utf-8")
        ids = set(re.findall(r'\sid="([^"]+)"', html))
        assert {anchor for anchor, _, _ in content["entries"]} - {""} <= ids
    chapters = [name for name in index if re.match(r"book/\d\d-", name)]
    notebooks = [name for name in index if name.startswith("notebooks/")]
    assert len(chapters) == len(list((ROOT / "book").glob("[0-9][0-9]-*.md")))
    assert len(notebooks) == len(list((ROOT / "notebooks").glob("*.ipynb")))


def test_formulas_are_text():
    assert math_text(r"\mathbf{W}^{(\ell)}") == "W^(l)"
    assert math_text(r"\tfrac12\,\eta").replace(" ", "") in ("1/2η", "½η")
    assert math_text(r"\varepsilon") == "ε"
    names = symbols()
    assert names["eta"] == "η" and names["partial"] == "∂" and names["nabla"] == "∇"
    assert all(len(symbol) == 1 for symbol in names.values()), names
