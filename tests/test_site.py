"""Tests of the built site, _build/html, in a real browser: `make book` comes first."""

import functools
import gzip
import http.server
import json
import re
import threading
from base64 import b64decode
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from bundle_data import FONT_FAMILY as HAN_FAMILY
from bundle_data import WIDE as CHINESE
from chromium import find_chromium
from fontTools.ttLib import TTFont
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
HTML = ROOT / "_build/html"
# index.html only forwards to book/index.html.
PAGES = sorted(
    path.relative_to(HTML).as_posix()
    for path in HTML.rglob("*.html")
    if not path.relative_to(HTML).parts[0].startswith("_") and path != HTML / "index.html"
) or ["(no page: run `make book` first)"]
CHAPTERS = [page for page in PAGES if re.match(r"book/\d\d-", page)] or [
    "(no chapter: run `make book` first)"
]
WIDE = {"width": 1440, "height": 900}
NARROW = {"width": 360, "height": 740}


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(scope="session")
def site():
    """The address at which the built site is served."""
    if not (HTML / "index.html").is_file():
        pytest.fail("_build/html is missing: run `make book` first")
    handler = functools.partial(QuietHandler, directory=HTML)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="session")
def browser():
    chromium = find_chromium()  # may start Playwright itself
    with sync_playwright() as playwright:
        # Chromium's own sandbox does not work for root, and in many containers for nobody.
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def contexts(browser):
    """A browser context for a reader who prefers light, and one who prefers dark."""
    contexts = {}
    for theme in ("light", "dark"):
        contexts[theme] = browser.new_context(color_scheme=theme, reduced_motion="reduce")
        # The theme's switch stores the reader's choice like this.
        choice = (
            f"localStorage.setItem('mode', '{theme}'); localStorage.setItem('theme', '{theme}');"
        )
        contexts[theme].add_init_script(choice)
    return contexts


@pytest.fixture
def open_page(contexts, site):
    """A function that opens a page of the site; the page's `problems` collects what goes wrong meanwhile."""
    pages = []

    def open_page(path, theme="light", size=WIDE):
        page = contexts[theme].new_page()
        pages.append(page)
        page.set_viewport_size(size)
        page.problems = problems = []

        def check_request(request):
            if not request.url.startswith((site, "data:", "blob:")):
                problems.append(f"request to another host: {request.url}")

        def check_response(response):
            if response.status >= 400:
                problems.append(f"{response.status} for {response.url}")

        page.on("request", check_request)
        page.on("requestfailed", lambda request: problems.append(f"failed: {request.url}"))
        page.on("response", check_response)
        page.on("pageerror", lambda error: problems.append(f"script error: {error}"))
        page.on(
            "console",
            lambda message: message.type == "error" and problems.append(f"console: {message.text}"),
        )
        page.goto(urljoin(site, path))
        page.wait_for_load_state("networkidle")
        page.evaluate("document.fonts.ready.then(() => null)")
        return page

    yield open_page
    for page in pages:
        page.close()


# Of the words of code that have the same colours, one stays marked: axe looks at thousands of them for half a minute, and
# sees the same each time.
MARK_ONE_OF_EACH = """() => {
    const seen = new Set();
    for (const word of document.querySelectorAll('pre span')) {
        const kind = [word.className, word.parentElement.className, word.closest('div').className].join();
        if (seen.has(kind)) word.replaceWith(...word.childNodes);
        else seen.add(kind);
    }
}"""


def accessibility_problems(page):
    # light.js makes wide code reachable with the keyboard when the browser has time.
    page.wait_for_function(
        "[...document.querySelectorAll('pre')].every(e => e.hasAttribute('tabindex'))"
    )
    page.evaluate(MARK_ONE_OF_EACH)
    # Without preload, axe does not fetch the style sheets again (from wrong addresses, where they import others).
    results = Axe().run(page, None, {"resultTypes": ["violations"], "preload": False})
    return results.generate_report() if results.violations_count else ""


# A formula is MathML, has nothing left of its LaTeX, and takes up room where the page shows it.
BAD_FORMULAS = r"""() => [...document.querySelectorAll('.math')].filter(formula => {
    const all = formula.querySelectorAll('math');
    const size = all[0]?.getBoundingClientRect();
    return all.length != 1 || all[0].namespaceURI != 'http://www.w3.org/1998/Math/MathML'
        || formula.querySelector('merror, script') || /[\\$]/.test(formula.textContent)
        || formula.checkVisibility() && !(size.width > 2 && size.height > 2);
}).map(formula => formula.outerHTML)"""

# Most images are fetched when a reader comes near.
FETCH_ALL_IMAGES = """() => Promise.all([...document.images].map(image => {
    image.loading = 'eager';
    return image.decode().catch(() => null);
}))"""


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("path", PAGES)
def test_page_in_browser(open_page, path, theme):
    page = open_page(path, theme)
    assert page.evaluate("document.documentElement.dataset.theme") == theme
    page.evaluate(FETCH_ALL_IMAGES)
    assert (
        page.evaluate(
            "[...document.images].filter(i => !i.complete || !i.naturalWidth).map(i => i.src)"
        )
        == []
    )
    assert page.evaluate(BAD_FORMULAS) == []
    assert accessibility_problems(page) == ""
    assert page.problems == []


@pytest.mark.parametrize("path", PAGES)
def test_page_on_a_phone(open_page, path):
    page = open_page(path, size=NARROW)
    width = page.evaluate("document.documentElement.scrollWidth")
    too_wide = """[...document.querySelectorAll('main *')]
        .filter(e => e.getBoundingClientRect().right > innerWidth
                     && !e.closest('pre, .pst-scrollable-table-container, .math'))
        .map(e => e.outerHTML.slice(0, 100))"""
    assert width <= NARROW["width"], page.evaluate(too_wide)
    assert accessibility_problems(page) == ""
    assert page.problems == []


@pytest.mark.parametrize("path", CHAPTERS)
def test_wide_page_shows_code_whole(open_page, path):
    page = open_page(path)
    too_long = (
        "[...document.querySelectorAll('main pre')].filter(e => e.scrollWidth > e.clientWidth)"
    )
    lines = page.evaluate(
        f"{too_long}.map(e => Math.max(...e.textContent.split('\\n').map(l => l.length)))"
    )
    assert [length for length in lines if length <= 80] == []


@pytest.mark.parametrize("path", CHAPTERS)
def test_chapter_is_complete(open_page, path):
    page = open_page(path)
    assert page.locator("span.math math").count() > 0
    source = (ROOT / path).with_suffix(".md").read_text(encoding="utf-8")
    fences = len(re.findall(r"^\$\$", source, re.MULTILINE))
    assert page.locator("div.math math[display=block]").count() == fences / 2
    text = page.inner_text("main")
    assert "undefined" not in text and "{glue" not in text and "{numref" not in text
    assert page.locator("figure figcaption .caption-number").count() > 0
    slug = Path(path).stem
    if (ROOT / f"notebooks/exercises/{slug}").is_dir():
        assert page.locator(f"a[href$='exercises/{slug}.ipynb']").count() > 0


@pytest.mark.parametrize("path", ["book/glossary.html", *CHAPTERS])
def test_chinese_is_shown_with_the_font_of_the_site(open_page, path):
    """Each Chinese character, wherever it stands; and a page without any fetches no font."""
    page = open_page(path)
    page.evaluate("document.fonts.ready.then(() => null)")
    # The elements with Chinese text of their own get a number; what one has there, and whether it is said to be Chinese.
    find = """pattern => [...document.querySelectorAll('body *')]
        .filter(e => e.checkVisibility())
        .map(e => [e, [...e.childNodes].filter(n => n.nodeType === Node.TEXT_NODE).map(n => n.data).join('')])
        .filter(([e, text]) => new RegExp(pattern, 'u').test(text))
        .map(([e, text], i) => (e.dataset.chinese = i, [text, e.closest('[lang]').lang]))"""
    elements = page.evaluate(find, f"[{CHINESE}]")
    status = "[...document.fonts].filter(f => f.family.includes('Han')).map(f => f.status)"
    # A page with little Chinese has a font of its own, beside that of the site.
    assert page.evaluate(status).count("loaded") == (1 if elements else 0)
    assert elements or path != "book/glossary.html"
    assert [text for text, language in elements if not language.startswith("zh")] == []

    inspector = page.context.new_cdp_session(page)
    inspector.send("DOM.enable")
    inspector.send("CSS.enable")
    root = inspector.send("DOM.getDocument")["root"]["nodeId"]
    for number, (text, _) in enumerate(elements):
        where = {"nodeId": root, "selector": f"[data-chinese='{number}']"}
        node = {"nodeId": inspector.send("DOM.querySelector", where)["nodeId"]}
        fonts = inspector.send("CSS.getPlatformFontsForNode", node)["fonts"]
        served = sum(font["glyphCount"] for font in fonts if font["familyName"] == HAN_FAMILY)
        assert served == len(re.findall(f"[{CHINESE}]", text)), (text, fonts)
    inspector.detach()
    assert page.problems == []


@pytest.mark.parametrize("path", ["book/notation.html", *CHAPTERS])
def test_formulas_are_shown_with_the_font_of_the_site(open_page, path):
    """Of each different character in a formula, one."""
    page = open_page(path)
    assert page.evaluate("document.fonts.check('16px \"dlbook Math\"', 'x')")
    # A sign without a shape, such as the one that says "function of", comes from no font.
    find = """() => {
        const seen = new Set();
        return [...document.querySelectorAll('math :is(mi, mn, mo, mtext)')]
            .filter(e => e.checkVisibility() && /[^\\s\\p{Cf}]/u.test(e.textContent))
            .filter(e => [...e.textContent].some(c => !seen.has(c) && seen.add(c)))
            .map((e, i) => (e.dataset.character = i, e.textContent));
    }"""
    texts = page.evaluate(find)
    inspector = page.context.new_cdp_session(page)
    inspector.send("DOM.enable")
    inspector.send("CSS.enable")
    root = inspector.send("DOM.getDocument")["root"]["nodeId"]
    for number, text in enumerate(texts):
        where = {"nodeId": root, "selector": f"[data-character='{number}']"}
        node = {"nodeId": inspector.send("DOM.querySelector", where)["nodeId"]}
        fonts = inspector.send("CSS.getPlatformFontsForNode", node)["fonts"]
        assert all(font["isCustomFont"] for font in fonts), (text, fonts)
    inspector.detach()
    assert len(texts) > 10


def test_wide_formula_is_scrolled_with_the_keyboard(open_page):
    page = open_page("book/03-feedforward.html", size=NARROW)
    formula = page.locator("#equation-eq-forward .formula")
    assert formula.evaluate("e => e.scrollWidth > e.clientWidth")
    formula.focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    page.wait_for_function("document.activeElement.scrollLeft > 0")


def questions(path):
    """What the source of a chapter marks: for each question, whether each of its options is right."""
    source = (ROOT / path).with_suffix(".md").read_text(encoding="utf-8")
    blocks = re.findall(r"^:::\{question\}\n(.*?)^:::$", source, re.MULTILINE | re.DOTALL)
    return [[mark == "x" for mark in re.findall(r"^- \[(.)\] ", b, re.MULTILINE)] for b in blocks]


@pytest.mark.parametrize("path", CHAPTERS)
def test_exactly_the_marked_options_are_accepted(open_page, path):
    """Each option, when it is chosen, shows its explanation, which says whether it is right."""
    page = open_page(path)
    marked = questions(path)
    assert 5 <= len(marked) <= 8
    assert page.locator(".quiz").count() == len(marked)
    for group, marks in zip(page.locator(".quiz").all(), marked):
        answers = group.locator(".quiz-answer")
        assert answers.count() == len(marks) >= 3
        assert not any(answer.is_visible() for answer in answers.all())
        buttons = group.locator("input").all()
        assert {button.get_attribute("type") for button in buttons} == {
            "radio" if sum(marks) == 1 else "checkbox"
        }
        for number, button in enumerate(buttons):
            button.check()
            (shown,) = [answer for answer in answers.all() if answer.is_visible()]
            verdict, explanation = shown.inner_text().split(maxsplit=1)
            assert verdict == ("Right." if marks[number] else "No.")
            assert len(explanation) > 20
            assert shown.evaluate(
                "(a, b) => a.closest('.quiz-option').contains(b)", button.element_handle()
            )
            if sum(marks) > 1:
                button.uncheck()
    assert page.problems == []


def test_a_quiz_is_answered_with_the_keyboard(open_page):
    page = open_page("book/03-feedforward.html")
    page.locator("#check-yourself").evaluate("e => { e.tabIndex = -1; e.focus(); }")
    first, second = page.locator(".quiz").all()[:2]
    focused = "document.activeElement.id"
    for _ in range(5):
        if page.evaluate(focused).startswith("question-"):
            break
        page.keyboard.press("Tab")
    options = first.locator(".quiz-option").all()
    assert page.evaluate(focused) == options[0].locator("input").get_attribute("id")
    page.keyboard.press("Space")
    assert options[0].locator(".quiz-answer").is_visible()
    page.keyboard.press("ArrowDown")
    assert options[1].locator(".quiz-answer").is_visible()
    assert not options[0].locator(".quiz-answer").is_visible()
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert page.evaluate(outline) != "none"  # one sees where one is
    for _ in range(20):  # formulas are stops, too
        page.keyboard.press("Tab")
        if page.evaluate(focused).startswith("question-"):
            break
    assert page.evaluate(focused) == second.locator("input").first.get_attribute("id")


def test_theme_switch(open_page):
    page = open_page("book/index.html", "light")
    background = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(background)
    page.locator("button.theme-switch-button:visible").first.click()
    for _ in range(2):  # the switch goes round: automatic, light, dark
        if page.evaluate("document.documentElement.dataset.mode") != "dark":
            page.locator("button.theme-switch-button:visible").first.click()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert page.evaluate(background) != light


@pytest.mark.parametrize("path", CHAPTERS)
def test_search_finds_the_chapter(open_page, path):
    heading = open_page(path).locator("h1").first.inner_text()
    word = max(re.findall(r"[A-Za-z]+", heading), key=len)
    page = open_page(f"search.html?q={word}")
    page.wait_for_selector("ul.search li a")
    found = page.locator("ul.search li a").evaluate_all("links => links.map(link => link.href)")
    assert any(urlsplit(address).path.endswith(path) for address in found)
    assert page.problems == []


def test_front_page_forwards(open_page):
    page = open_page("index.html")
    page.wait_for_url("**/book/index.html")
    # Jupyter Book writes this page without an icon; the browser then asks for /favicon.ico in vain.
    assert [problem for problem in page.problems if "404" not in problem] == []


class Page(HTMLParser):
    """The links, anchors, images and loaded addresses of an HTML page."""

    def __init__(self, path):
        super().__init__()
        self.ids, self.links, self.loaded, self.alts = [], [], [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.ids.extend(
            attributes[key]
            for key in ("id", "name")
            if attributes.get(key) and (key == "id" or tag == "a")
        )
        if tag == "a" and "href" in attributes:
            self.links.append(attributes["href"])
        if tag == "link" and attributes.get("href"):
            self.loaded.append(attributes["href"])
        self.loaded.extend(
            attributes[key] for key in ("src", "srcset", "poster", "data") if attributes.get(key)
        )
        if tag == "img":
            self.alts.append((attributes.get("src"), attributes.get("alt")))


@pytest.fixture(scope="session")
def pages(site):
    return {path: Page(HTML / path) for path in [*PAGES, "index.html"]}


def test_nothing_is_loaded_from_another_host(pages):
    foreign = [
        (path, address)
        for path, page in pages.items()
        for address in page.loaded
        if urlsplit(address).netloc
    ]
    assert foreign == []
    # Addresses in scripts that would be loaded only on a click.
    for path in pages:
        assert not re.search(
            r"unpkg\.com|jsdelivr|cdnjs|googleapis|gstatic",
            (HTML / path).read_text(encoding="utf-8"),
        )


def test_every_image_has_a_text(pages):
    silent = [
        (path, source)
        for path, page in pages.items()
        for source, alt in page.alts
        if not (alt or "").strip()
    ]
    assert silent == []


def test_no_link_is_broken(pages):
    broken = []
    for path, page in pages.items():
        assert len(page.ids) == len(set(page.ids)), f"{path} uses an id twice"
        for link in page.links:
            address = urlsplit(link)
            if address.scheme or address.netloc:
                continue
            target = urlsplit(urljoin(f"/{path}", link)).path.lstrip("/") if address.path else path
            target = unquote(target)
            anchor = unquote(address.fragment)
            if not (HTML / target).is_file() or (
                anchor and target in pages and anchor not in pages[target].ids
            ):
                broken.append((path, link))
    assert broken == []


def test_student_notebooks_are_in_the_site():
    for source in ROOT.glob("notebooks/exercises/*/*.ipynb"):
        copy = HTML / "exercises" / source.name
        assert copy.is_file(), f"{copy} is missing: run `make book` first"
        assert (
            copy.read_bytes()
            == (ROOT / "_build/assignments" / source.parent.name / source.name).read_bytes()
        )
        assert "BEGIN SOLUTION" not in copy.read_text(encoding="utf-8")
        assert "BEGIN HIDDEN TESTS" not in copy.read_text(encoding="utf-8")


def test_colab_buttons_and_copies_belong_together(pages):
    """With a repository, there is a copy for each button and a button for each copy; with none, neither."""
    pattern = r"https://colab\.research\.google\.com/github/[^/]+/[^/]+/blob/gh-pages/(.+)"
    buttons = {
        match[1]
        for page in pages.values()
        for link in page.links
        if (match := re.fullmatch(pattern, link))
    }
    copies = {path.relative_to(HTML).as_posix(): path for path in HTML.glob("colab/*/*.ipynb")}
    assert buttons <= set(copies)
    for name, path in copies.items():
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        first = next("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
        host, wheel = re.search(
            r'%pip install --quiet .*?(https?://[^/]+).*/colab/(dlbook-[^/"]+\.whl)"?$', first
        ).groups()
        assert (HTML / "colab" / wheel).is_file()
        # A copy for another address (BOOK_SITE) needs no repository, and so no button.
        assert name in buttons or host != "https://raw.githubusercontent.com"


# Speed; tools/light.py, and tools/audit.py measures it


@pytest.mark.parametrize("path", CHAPTERS)
def test_chapter_without_figures_is_light(open_page, path):
    """At most 200 KiB: everything that it loads, to the end of the page, compressed as a static host does."""
    page = open_page(path)
    page.evaluate(FETCH_ALL_IMAGES)
    loaded = page.evaluate("performance.getEntriesByType('resource').map(e => e.name)")
    files = {urlsplit(address).path.lstrip("/") for address in [page.url, *loaded]}
    figures = {file for file in files if file.startswith("_images/")}
    assert len(figures) == len(
        {i for i in page.evaluate("[...document.images].map(i => i.src)") if "/_images/" in i}
    )
    weights = {}
    for file in files - figures:
        content = (HTML / file).read_bytes()
        packed = file.endswith((".woff", ".woff2", ".png", ".webp"))
        weights[file] = len(content if packed else gzip.compress(content))
    assert {"_static/book.css", path} < weights.keys()
    assert sum(weights.values()) <= 200 * 1024, weights


STYLES = """() => [...document.querySelectorAll('body, body *')].flatMap(e =>
    [null, '::before', '::after', '::marker'].map(part => {
        const style = getComputedStyle(e, part);
        if (part && ['none', 'normal'].includes(style.content)) return '';
        return `${e.tagName} .${e.className} ${part}: ${[...style].filter(name => !name.startsWith('--')).map(name => `${name}: ${style.getPropertyValue(name)}`).join('; ')}`;
    }))"""
STATES = {
    "as it is": (WIDE, lambda page: None),
    "on a phone": (NARROW, lambda page: None),
    "search": (WIDE, lambda page: page.keyboard.press("Control+k")),
    "download": (WIDE, lambda page: page.click(".dropdown-download-buttons button")),
    "copy": (WIDE, lambda page: page.locator(".copybtn").first.click(force=True)),
    "chapters": (NARROW, lambda page: page.click(".primary-toggle")),
    "contents": (NARROW, lambda page: page.click(".secondary-toggle")),
    "paper": (WIDE, lambda page: page.emulate_media(media="print")),
}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("path", ["book/index.html", "notebooks/09-faq.html"])
def test_small_style_sheet_does_what_the_whole_ones_do(contexts, site, path, theme, state):
    """Every element has the same computed style with the book's sheet as with those that it was made from."""
    if path == "book/index.html" and state in ("copy", "contents"):
        path = "book/listings.html"
    if path == "book/listings.html" and state == "copy":
        return  # no code here
    size, act = STATES[state]
    sheets = re.search(r"made this of: (.*?) \*/", (HTML / "_static/book.css").read_text())[
        1
    ].split(", ")
    assert {"styles/pydata-sphinx-theme.css", "dlbook.css"} < set(sheets)
    links = "".join(f'<link rel="stylesheet" href="../_static/{sheet}">' for sheet in sheets)

    def with_whole_sheets(route):
        body, count = re.subn(
            r'<link rel="stylesheet" href="[^"]*book\.css[^"]*" />', links, route.fetch().text()
        )
        assert count == 1
        route.fulfill(body=body, content_type="text/html")

    found = []
    for whole in (False, True):
        page = contexts[theme].new_page()
        page.set_viewport_size(size)
        if whole:
            page.route(f"**/{path}", with_whole_sheets)
        page.goto(urljoin(site, path))
        page.wait_for_load_state("networkidle")
        act(page)
        page.wait_for_timeout(300)
        found.append(page.evaluate(STYLES))
        page.close()
    small, large = found
    assert len(small) == len(large) > 500 and max(map(len, small)) > 5000
    differing = [(a, b) for a, b in zip(small, large) if a != b]
    assert not differing, [
        (a[:60], sorted(set(a.split("; ")) ^ set(b.split("; ")))[:8]) for a, b in differing[:5]
    ]


def test_every_icon_is_in_the_font(open_page):
    """The little font in the style sheet has each character that the pages ask the icons' family for."""
    style = (HTML / "_static/book.css").read_text(encoding="utf-8")
    (data,) = re.findall(r"font/woff;base64,([^\"]+)", style)
    with TTFont(BytesIO(b64decode(data))) as font:
        has = {chr(code) for code in font.getBestCmap()}
    asked = """() => [...document.querySelectorAll('body *')].flatMap(e => ['::before', '::after'].map(part =>
        getComputedStyle(e, part)).filter(s => s.fontFamily.includes('Font Awesome') && s.content.startsWith('"')).map(s => s.content))"""
    used = set()
    for path in ["book/index.html", CHAPTERS[0], "notebooks/09-faq.html", "search.html?q=loss"]:
        page = open_page(path)
        page.click(
            ".dropdown-download-buttons button", timeout=1000
        ) if "notebooks" in path else None
        used |= set("".join(page.evaluate(asked))) - set('"')
    assert len(used) >= 8
    assert used <= has


def test_menu_of_downloads(open_page):
    """With the mouse and with the keyboard; a click elsewhere and Escape close it."""
    page = open_page("notebooks/09-faq.html")
    button = page.locator(".dropdown-download-buttons .dropdown-toggle")
    menu = page.locator(".dropdown-download-buttons .dropdown-menu")
    assert not menu.is_visible()
    button.click()
    assert menu.is_visible() and button.get_attribute("aria-expanded") == "true"
    box = menu.bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= WIDE["width"]
    page.mouse.click(700, 500)
    assert not menu.is_visible() and button.get_attribute("aria-expanded") == "false"
    button.focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('.dropdown-menu') !== null")
    page.keyboard.press("Escape")
    assert not menu.is_visible()
    assert button.evaluate("e => e === document.activeElement")


def test_button_to_the_top(open_page):
    page = open_page("notebooks/09-faq.html", size=NARROW)
    button = page.locator("#pst-back-to-top")
    assert not button.is_visible()
    for place in (3000, 2500):
        page.evaluate("place => scrollTo({top: place, behavior: 'instant'})", place)
        page.wait_for_timeout(200)
    button.click()
    page.wait_for_function("scrollY === 0")


def test_link_into_a_part_not_laid_out_yet(open_page):
    """On a telephone, whose browser puts off the layout of sections, a link still leads to its target."""
    page = open_page("book/08-future.html", size=NARROW)
    for anchor in page.evaluate(
        "[...document.querySelectorAll('#pst-page-toc-nav a')].map(a => a.hash)"
    )[3::6]:
        page.evaluate("hash => { location.hash = hash; }", anchor)
        page.wait_for_timeout(300)
        top = page.evaluate(
            "hash => document.querySelector(hash).getBoundingClientRect().top", anchor
        )
        assert -5 <= top <= 150, anchor


@pytest.mark.parametrize("path", [*CHAPTERS, "book/glossary.html", "notebooks/02-concepts.html"])
def test_sections_are_not_higher_than_they_say(open_page, path):
    """What is higher than its section says would be taken to lie on the next one, by tools for accessibility."""
    page = open_page(path, size=NARROW)
    heights = page.evaluate(
        """() => [...document.querySelectorAll('.bd-article > section > section')].map(section => {
            const said = parseInt(section.style.containIntrinsicHeight.split(' ').pop());
            section.style.contentVisibility = 'visible';
            return [said, section.offsetHeight];
        })"""
    )
    assert [(said, true) for said, true in heights if said < true] == []
    assert sum(said for said, _ in heights) < 2 * sum(true for _, true in heights) + 2000
