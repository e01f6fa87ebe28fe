"""Sphinx extension: pages that load only what they use, and paint before they have it all.

It works on the finished HTML, whatever theme and extensions have written, so that nothing of them is forked. For each
page that the theme has written:

- *Styles.* The style sheets that all pages share become one, ``_static/book.css``, without the rules that no page can
  use: those which ask for a class, an id, an element or an attribute that occurs in no page and in no script. The
  comment at its top names the sheets it is made from.
- *Icons.* They come from a font with the few that the style sheet names, which stands inside of it, instead of Font
  Awesome's script of 1.5 MB.
- *Scripts.* They are deferred; those for things that a page does not have are left out. ``light.js`` does in idle time
  what the theme would do at once.
- *Layout.* ``light.css`` lets telephones put off the layout of what is not seen yet.
- *Fonts.* They are asked for at the top of a page. Of the font for formulas the site keeps the signs that it has, and a page with little Chinese has a font with
  just that.
- *Images.* PNG becomes WebP without loss. Every image says its size, so that nothing moves when it arrives, and those
  below the top are fetched when a reader comes near.
- *Description.* Every page has one for search engines: the front matter's (``html_meta``), the goals of a chapter, or
  the first paragraph.
"""

import hashlib
import json
import posixpath
import re
import unicodedata
from base64 import b64encode
from html import escape
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urlsplit

import tinycss2
from bundle_data import FONT, font_bytes, subset_font, wide_characters
from docutils import nodes
from fontTools import subset
from fontTools.ttLib import TTFont
from mathematics import characters
from PIL import Image
from sphinx.util import logging

logger = logging.getLogger(__name__)
BUNDLE = "_static/book.css"

# Style sheets


TAG = re.compile(r"""<[a-zA-Z](?:[^>"']|"[^"]*"|'[^']*')*>""")
ATTRIBUTE = re.compile(r"""\s([a-zA-Z][\w-]*)(?:="([^"]*)"|='([^']*)')?""")


class Vocabulary:
    """The names that a selector can meet on some page: of classes, ids, elements and attributes.

    A word in a script may become any of them.
    """

    def __init__(self, pages, scripts):
        tags = {tag for page in pages for tag in TAG.findall(page)}
        markup = " ".join(tags)
        inline = " ".join(re.findall(r"<script[^>]*>(.*?)</script>", " ".join(pages), re.DOTALL))
        handlers = " ".join(re.findall(r'\son\w+="[^"]*"', markup))
        words = set(re.findall(r"[\w-]+", " ".join([inline, handlers, *scripts])))
        # element.dataset.someName is the attribute data-some-name.
        data = {
            "data-" + re.sub(r"[A-Z]", lambda letter: "-" + letter[0].lower(), name)
            for name in words
        }
        attributes = [
            (name, double or single)
            for tag in tags
            for name, double, single in ATTRIBUTE.findall(tag)
        ]
        self.elements = words | {"html", "head", "body"} | set(re.findall(r"<([\w-]+)", markup))
        self.attributes = words | data | {name for name, _ in attributes}
        self.classes = words.union(
            *(value.split() for name, value in attributes if name == "class")
        )
        self.ids = words | {value for name, value in attributes if name == "id"}
        self.properties = words | set(re.findall(r"--[\w-]+", markup))

    def may_match(self, selector):
        """Whether a selector, a list of tokens without a comma, can match an element of some page."""
        for before, token in pairwise([None, *selector]):
            kind = token.type
            after_colon = before is not None and before == ":"
            if kind == "ident" and before is not None and before == ".":
                found = token.value in self.classes
            elif kind == "hash":
                found = token.value in self.ids
            elif kind == "ident" and not after_colon:
                found = token.lower_value in self.elements
            elif kind == "[] block":
                names = [part.lower_value for part in token.content if part.type == "ident"]
                found = names[0] in self.attributes
            elif kind == "function" and token.lower_name in ("is", "where", "has"):
                found = any(map(self.may_match, split_at_commas(token.arguments)))
            else:  # combinators, states such as :hover, and :not(), which holds of what is absent
                found = True
            if not found:
                return False
        return True


def split_at_commas(tokens):
    """Return the parts of a list of tokens between its commas."""
    parts = [[]]
    for token in tokens:
        if token == ",":
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def write(tokens):
    """Return the text of tokens, with single blanks only."""
    for token in tokens:
        if token.type == "whitespace":
            token.value = " "
        elif token.type == "comment":
            token.value = ""
        elif token.type.endswith("block"):
            write(token.content)
        elif token.type == "function":
            write(token.arguments)
    return tinycss2.serialize(tokens).strip()


def write_selector(tokens):
    return re.sub(r"\s*([>~]|\+(?!\d))\s*", r"\1", write(tokens))


class Bundler:
    """Makes one style sheet of several; `vocabulary` says which rules can match, None keeps all."""

    def __init__(self, static, vocabulary=None):
        self.static, self.vocabulary = static, vocabulary
        self.properties = None  # the custom properties (--name) that are used; None keeps all

    def bundle(self, names):
        """Return the text of the style sheets, named as in _static, as one."""
        text = "".join(self.sheet(name) for name in names)
        if self.vocabulary is None:
            return text
        # A property that is used only in the value of an unused one goes in the next round, as does the
        # animation of a rule that has gone.
        while True:
            self.properties = self.vocabulary.properties | set(
                re.findall(r"var\(\s*(--[\w-]+)", text)
            )
            rules = tinycss2.parse_stylesheet(text, skip_whitespace=True)
            smaller = "".join(self.rule(rule, "") for rule in rules)
            smaller = drop_unused_animations(smaller)
            if smaller == text:
                return text
            text = smaller

    def sheet(self, name):
        path = self.static / name
        rules = tinycss2.parse_stylesheet(path.read_text(encoding="utf-8"), skip_whitespace=True)
        return "".join(self.rule(rule, posixpath.dirname(name)) for rule in rules)

    def rule(self, rule, folder):
        """Return the text of a rule of a sheet that lies in `folder`, or "" if no page can use it."""
        if rule.type == "comment":
            # The licences; Sphinx's head comments tell nothing of that.
            return f"/*{rule.value}*/\n" if rule.value.startswith("!") else ""
        if rule.type == "error":
            raise ValueError(
                f"a style sheet in {folder or '_static'!r} cannot be read: {rule.message}"
            )
        if rule.type == "at-rule":
            return self.at_rule(rule, folder)
        selectors = split_at_commas(rule.prelude)
        if self.vocabulary is not None:
            selectors = list(filter(self.vocabulary.may_match, selectors))
        content = self.declarations(rule.content, folder)
        if not (selectors and content):
            return ""
        return f"{','.join(map(write_selector, selectors))}{{{content}}}"

    def at_rule(self, rule, folder):
        keyword, prelude = rule.lower_at_keyword, write(rule.prelude)
        if keyword == "charset":
            return ""
        if keyword == "import":
            (address,) = [token.value for token in rule.prelude if token.type in ("string", "url")]
            return self.sheet(posixpath.normpath(posixpath.join(folder, address)))
        if rule.content is None:
            return f"@{rule.at_keyword} {prelude};"
        if keyword in ("media", "supports", "layer", "container"):
            inner = tinycss2.parse_rule_list(rule.content, skip_whitespace=True)
            content = "".join(self.rule(part, folder) for part in inner)
        elif keyword.endswith("keyframes"):
            content = write(rule.content)
        else:
            content = self.declarations(rule.content, folder)
        return f"@{rule.at_keyword} {prelude}{{{content}}}" if content else ""

    def declarations(self, tokens, folder):
        """Return the text of what stands between the braces of a rule."""
        written = []
        for part in tinycss2.parse_blocks_contents(
            tokens, skip_comments=True, skip_whitespace=True
        ):
            if part.type == "declaration":
                custom = part.name.startswith("--")
                if custom and self.properties is not None and part.name not in self.properties:
                    continue
                value = self.value(part.value, folder)
                written.append(f"{part.name}:{value}{'!important' * part.important};")
            elif part.type == "qualified-rule":  # a rule inside a rule: kept whole
                written.append(
                    f"{write(part.prelude)}{{{self.declarations(part.content, folder)}}}"
                )
            elif part.type == "at-rule":
                inner = self.declarations(part.content, folder)
                written.append(f"@{part.at_keyword} {write(part.prelude)}{{{inner}}}")
            # An error here is a declaration that a browser does not understand either, such as *zoom: 1.
        return "".join(written)

    def value(self, tokens, folder):
        """Return the text of a value, in which addresses begin at the folder of the bundle."""
        for token in tokens:
            if token.type == "url":
                token.representation = f'url("{rebase(token.value, folder)}")'
            elif token.type == "function" and token.lower_name == "url":
                for part in token.arguments:
                    if part.type == "string":
                        part.representation = f'"{rebase(part.value, folder)}"'
        return write(tokens)


def rebase(address, folder):
    """Return an address that is relative to `folder` as one that is relative to _static."""
    if re.match(r"[a-z]+:|#|/", address):
        return address.replace('"', "%22")
    return posixpath.normpath(posixpath.join(folder, address))


def drop_unused_animations(text):
    """Drop the keyframes that no rule names."""

    def keep(match):
        name = match["name"]
        return match[0] if re.search(rf"animation[\w-]*:[^;}}]*{re.escape(name)}\b", text) else ""

    return re.sub(r"@(-\w+-)?keyframes (?P<name>[\w-]+)\{(?:[^{}]*\{[^{}]*\})*[^{}]*\}", keep, text)


# Icons

ICON_FONTS = {  # the classes that ask for each font of Font Awesome, and its place in _static
    ("fa-solid", "fas"): "vendor/fontawesome/webfonts/fa-solid-900.ttf",
    ("fa-regular", "far"): "vendor/fontawesome/webfonts/fa-regular-400.ttf",
    ("fa-brands", "fab"): "vendor/fontawesome/webfonts/fa-brands-400.ttf",
}


def embed_icons(text, static, classes):
    """Put a font with the icons that a style sheet names into it, in place of the addresses of the whole fonts."""
    characters = {ord(character) for character in re.findall(r"[\ue000-\uf8ff]", text)}
    characters |= {int(code, 16) for code in re.findall(r"\\([ef][0-9a-f]{3})\b", text)}
    for names, path in ICON_FONTS.items():
        stem = re.escape(Path(path).stem)
        face = rf"@font-face \{{([^}}]*?)src:[^;}}]*{stem}[^;}}]*;([^}}]*)\}}"
        # The theme's own style sheet takes the icons of admonitions from the solid ones.
        if "fa-solid" in names or not classes.isdisjoint(names):
            options = subset.Options(name_IDs=[0, 13, 14], notdef_outline=True, layout_features=[])
            with TTFont(static / path, recalcTimestamp=False) as font:
                subsetter = subset.Subsetter(options)
                subsetter.populate(unicodes=characters)
                subsetter.subset(font)
                font.flavor = "woff"
                content = BytesIO()
                font.save(content)
            data = b64encode(content.getvalue()).decode()
            source = f'@font-face {{\\1src:url("data:font/woff;base64,{data}") format("woff");\\2}}'
            text, count = re.subn(face, source, text)
            if count != 1:
                raise ValueError(
                    f"{count} @font-face rules name {path}, expected 1: has the theme changed?"
                )
        else:
            text = re.sub(face, "", text)
    return text


# Pages

THEME_MARK = 'id="pst-skip-link"'  # what every page of the theme has
STYLE = re.compile(r'[ \t]*<link\b[^>]*\brel="stylesheet"[^>]*>\n?')
SCRIPT = re.compile(r"[ \t]*<script\b([^>]*)>(.*?)</script>\n?", re.DOTALL)
# The theme sets the colours of a new reader's system after the page has been painted, and paints it again.
MODE = re.compile(r'<script data-cfasync="false">.*?</script>', re.DOTALL)
FIRST_MODE = """<script>
    {
      const mode = localStorage.getItem("mode") || "auto";
      const dark = mode === "auto" ? matchMedia("(prefers-color-scheme: dark)").matches : mode === "dark";
      document.documentElement.dataset.mode = mode;
      document.documentElement.dataset.theme = dark ? "dark" : "light";
    }
  </script>"""
# A script, and what is in a page that needs it. Those which are not named here are needed by every page.
NEEDED_FOR = {
    "fontawesome.js": None,  # see embed_icons
    "bootstrap.js": None,  # see light.js
    "design-tabs.js": 'class="sd-tab-set',
    "clipboard.min.js": 'class="highlight',
    "copybutton.js": 'class="highlight',
    # The theme has these on every page for a search of its own, which the book does not use.
    "searchtools.js": 'id="search-results"',
    "language_data.js": 'id="search-results"',
    "searchindex.js": 'id="search-results"',
}


# What the theme calls by its place on the screen, or does not name.
NAMES = {
    "Toggle primary sidebar": "Chapters",
    "Toggle secondary sidebar": "Contents of this page",
    '<dialog id="pst-primary-sidebar-modal"': '<dialog id="pst-primary-sidebar-modal" aria-label="Chapters"',
    '<dialog id="pst-secondary-sidebar-modal"': '<dialog id="pst-secondary-sidebar-modal" aria-label="Contents of this page"',
    '<dialog id="pst-search-dialog"': '<dialog id="pst-search-dialog" aria-label="Search"',
}


def address_in(tag, attribute):
    """Return the path in the site of what a tag of a page names, without "../" and "?v=...", or None if it is elsewhere."""
    found = re.search(rf'\b{attribute}="([^"]*)"', tag)
    if not found or urlsplit(found[1]).netloc:
        return None
    return re.sub(r"^(\.\.?/)+", "", unquote(urlsplit(found[1]).path))


def light_head(page, bundled, version, options):
    """Return a page with the bundle instead of its style sheets, and with its scripts deferred.

    `options` is the text of Sphinx's documentation_options.js.
    """
    root = re.search(r'data-content_root="([^"]*)"', page)[1]
    link = f'<link rel="stylesheet" href="{root}{BUNDLE}?v={version}" />\n'

    def style(match):
        nonlocal link
        if address_in(match[0], "href") not in bundled:
            return match[0]
        first, link = link, ""
        return first

    def script(match):
        path = address_in(match[1], "src")
        name = posixpath.basename(path or "")
        if path is None:
            return match[0]
        if (
            name == "documentation_options.js"
        ):  # small, and scripts that stand in the page add to it
            return f"    <script>{options}</script>\n"
        if name in NEEDED_FOR and (NEEDED_FOR[name] is None or NEEDED_FOR[name] not in page):
            return ""
        return match[0] if "defer" in match[1] else match[0].replace("<script", "<script defer", 1)

    page, count = MODE.subn(FIRST_MODE, page)
    if count != 1:
        raise ValueError(
            f"{count} scripts set the colours first, expected 1: has the theme changed?"
        )
    page = STYLE.sub(style, page)
    page = re.sub(r'[ \t]*<link rel="preload" as="script"[^>]*>\n?', "", page)
    page = SCRIPT.sub(script, page)
    # Sphinx, docutils and the theme each say it.
    viewports = list(re.finditer(r'\s*<meta name="viewport"[^>]*>', page))
    for match in reversed(viewports[1:]):
        page = page[: match.start()] + page[match.end() :]
    # Bootstrap would have made a hint of it; the browser does, too.
    page = page.replace("data-bs-title=", "title=")
    for old, new in NAMES.items():
        page = page.replace(old, new)
    # An icon says nothing; its button has a name.
    return re.sub(
        r'<(i|span)( class="[^"]*\bfa(?:s|r|b|-solid|-regular|-brands) )',
        r'<\1 aria-hidden="true"\2',
        page,
    )


# Fonts

MATH_FONT = "_static/fonts/dlbook-math.woff2"
# What nearly every page needs at once; a browser would ask for them only when it has the style sheet, and set the page anew.
TEXT_FONTS = [
    f"_static/fonts/stix-two-text-{style}.woff2" for style in ("regular", "bold", "italic")
]
CHINESE_FACE = """<style>
      @font-face {{
        font-family: "dlbook Han Serif";
        src: url("{address}") format("woff");
        font-display: swap;
        unicode-range: {ranges};
      }}
    </style>
"""


# From a file, fonts cannot be asked for in advance: browsers would complain, and fetch them as ever.
PRELOAD = """<script>
    for (const font of location.protocol === "file:" ? [] : FONTS) {
      const link = document.createElement("link");
      const address = document.documentElement.dataset.content_root + font;
      Object.assign(link, { rel: "preload", as: "font", crossOrigin: "", href: address });
      document.head.append(link);
    }
  </script>
"""


def preload_fonts(page):
    """Return a page that asks for its fonts at once."""
    fonts = TEXT_FONTS + [MATH_FONT] * ("<math" in page)
    script = PRELOAD.replace("FONTS", json.dumps(fonts))
    return page.replace("</title>\n", f"</title>\n  {script}", 1)


def subset_math_font(site, pages):
    """Leave of the font for formulas what the pages of this site use: half of it."""
    path = site / MATH_FONT
    with TTFont(path, recalcTimestamp=False) as font:
        has = set(map(chr, font.getBestCmap()))
        # It stands in for other fonts, too, where they lack a sign; and what has no shape takes no room.
        wanted = {character for page in pages for character in page if character > "~"}
        wanted |= {
            character for character in has if unicodedata.category(character) in ("Cf", "Zs")
        }
        for page in pages:
            for formula in re.findall(r"<math.*?</math>", page, re.DOTALL):
                wanted |= characters(formula)
        options = subset.Options(hinting=False, layout_features=[], glyph_names=False)
        options.name_IDs = ["*"]  # with copyright and licence
        subsetter = subset.Subsetter(options)
        subsetter.populate(text="".join(wanted & has))
        subsetter.subset(font)
        font.flavor = "woff2"
        font.save(path)


def give_own_chinese(site, path, page):
    """Return a page with a font of its own, if it has some Chinese, but little of what the whole site has."""
    wanted = wide_characters(page)
    if not 0 < len(wanted) <= 100:
        return page
    font_path = site / f"_static/dlbook-han-{path.parent.name}-{path.stem}.woff"
    with TTFont(FONT, recalcTimestamp=False) as font:
        subset_font(font, wanted).flavor = "woff"
        font_path.write_bytes(font_bytes(font))
    root = re.search(r'data-content_root="([^"]*)"', page)[1]
    ranges = ", ".join(f"U+{ord(character):X}" for character in sorted(wanted))
    face = CHINESE_FACE.format(address=f"{root}_static/{font_path.name}", ranges=ranges)
    # Later than the style sheet, whose font has all characters: browsers then look into this one first.
    return page.replace("</head>", face + "</head>", 1)


# Layout

SECTION = re.compile(r"<section([^>]*)>(?=\s*(?:<span[^>]*></span>\s*)*<h2)")


def say_heights(page):
    """Return a page whose sections say about how high they are on a telephone, for light.css.

    Rather too much than too little: tools for accessibility take what is higher than said for text that lies on the next
    section.
    """
    starts = [match.start() for match in SECTION.finditer(page)]
    heights = iter(
        [height(page[start:end]) for start, end in pairwise([*starts, len(page)])] if starts else []
    )
    return SECTION.sub(
        lambda match: (
            f'<section{match[1]} style="contain-intrinsic-height: auto {next(heights)}px">'
        ),
        page,
    )


def height(html):
    """Estimate how many pixels a piece of a page takes on a screen that is 360 pixels wide."""
    html = html.split("</article>")[0]
    pixels = 0
    for code in re.findall(r"<pre.*?</pre>", html, re.DOTALL):
        pixels += 24 * code.count("\n") + 70
    html = re.sub(r"<pre.*?</pre>", "", html, flags=re.DOTALL)
    for width, high in re.findall(r'<img [^>]*?width="(\d+)" height="(\d+)"', html):
        pixels += 60 + 340 * int(high) // int(width)
    html = re.sub(r"<annotation.*?</annotation>", "", html, flags=re.DOTALL)
    pixels += 32 * len(re.findall(r"<(?:p|li|h\d|dt|dd|tr|figure|mtr|div class=\"math)\b", html))
    pixels += 60 * html.count("<h")
    words = " ".join(re.sub(r"<[^>]*>", "", html).split())
    # A line has 32 characters and is 32 pixels high; compared with Chromium, the sum is half as much again, or more.
    return round(0.72 * (pixels + len(words) + 200))


# Images

IMAGE = re.compile(r'<img\b[^>]*?\bsrc="(?P<source>[^"]*)"[^>]*>')
NEAR_THE_TOP = (
    3000  # characters of HTML from the beginning of the article: about one screen of a telephone
)


def pack_image(path):
    """Write a PNG as WebP without loss beside it, unless that is larger, and return the smaller file's path."""
    packed = path.with_suffix(".webp")
    with Image.open(path) as image:
        if image.mode == "RGBA" and image.getextrema()[3] == (255, 255):
            image = image.convert("RGB")
        # Method 4 and more take twice the time for 2 % less.
        image.save(packed, lossless=True, exact=True, method=2, quality=50)
    if packed.stat().st_size < path.stat().st_size:
        return packed
    packed.unlink()
    return path


def light_images(page, folder, packed):
    """Return a page whose images are the packed ones, say their size, and are fetched late where they are not seen at once.

    `folder` is that of the page, and `packed` maps the path of an image to that of its smaller form.
    """
    top = page.find("<article") + NEAR_THE_TOP

    def image(match):
        tag, source = match[0], match["source"]
        path = (folder / unquote(urlsplit(source).path)).resolve()
        if not path.is_file() or path.suffix not in (".png", ".jpg", ".jpeg", ".webp", ".gif"):
            return tag
        smaller = packed.get(path, path)
        tag = tag.replace(f'src="{source}"', f'src="{source.replace(path.name, smaller.name)}"')
        added = ""
        if "width=" not in tag and "height=" not in tag:
            with Image.open(path) as content:
                added += ' width="{}" height="{}"'.format(*content.size)
        if "loading=" not in tag and match.start() > top:
            added += ' loading="lazy"'
        if "decoding=" not in tag:
            added += ' decoding="async"'
        return tag.replace("<img", "<img" + added, 1)

    return IMAGE.sub(image, page)


# Descriptions


def describe(app, pagename, templatename, context, doctree):
    """Give a page a description for search engines."""
    if doctree is None or 'name="description"' in context.get("metatags", ""):
        return
    text = description(doctree, re.sub(r"<[^>]*>", "", context["title"]))
    context["metatags"] = (
        context.get("metatags", "") + f'<meta name="description" content="{escape(text)}" />'
    )


def description(doctree, title, length=200):
    """Return the goals of a chapter, or the title and the first paragraph of words alone, cut to `length` characters."""
    for admonition in doctree.findall(nodes.admonition):
        items = [item.astext() for item in admonition.findall(nodes.list_item)]
        if "goals" in admonition["classes"] and items:
            opening = next(admonition.findall(nodes.paragraph)).astext()
            return shorten(f"{opening} {' '.join(items)}", length)
    for paragraph in doctree.findall(nodes.paragraph):
        plain = not any(paragraph.findall(lambda node: isinstance(node, (nodes.math, nodes.raw))))
        in_text = isinstance(paragraph.parent, (nodes.section, nodes.document))
        if plain and in_text and len(paragraph.astext()) > 40:
            return shorten(f"{title}. {paragraph.astext()}", length)
    return title


def shorten(text, length):
    """Return a text on one line, cut after a word if it is longer than `length`."""
    text = " ".join(text.split())
    return (
        text if len(text) <= length else text[: text.rindex(" ", 0, length)].rstrip(",;:.") + " …"
    )


# The whole


def lighten(app, exception):
    """Rewrite the pages of a finished site."""
    if exception is not None or app.builder.format != "html" or app.builder.name != "html":
        return
    site = Path(app.outdir)
    static = site / "_static"
    for font in [*TEXT_FONTS, MATH_FONT]:
        if not (site / font).is_file():
            raise FileNotFoundError(f"no {font} in the site; tools/light.py names it")
    pages = {
        path: text
        for path in sorted(site.rglob("*.html"))
        if static not in path.parents and THEME_MARK in (text := path.read_text(encoding="utf-8"))
    }
    if not pages:
        return
    # What every page has, in the order of the page that has most; what only some have stays with them.
    sheets = [
        [address_in(tag, "href") for tag in STYLE.findall(text) if "media=" not in tag]
        for text in pages.values()
    ]
    shared = set.intersection(*map(set, sheets)) - {None, BUNDLE}
    names = [path for path in max(sheets, key=len) if path in shared]
    options = (static / "documentation_options.js").read_text(encoding="utf-8")

    packed = {
        path.resolve(): pack_image(path).resolve() for path in (site / "_images").glob("*.png")
    }
    for path, text in pages.items():
        text = light_head(text, names, "VERSION", options)
        text = preload_fonts(give_own_chinese(site, path, text))
        pages[path] = say_heights(light_images(text, path.parent, packed))
    subset_math_font(site, pages.values())
    for path, smaller in packed.items():
        if path != smaller and not any(path.name in text for text in pages.values()):
            path.unlink()

    scripts = {
        address_in(attributes, "src")
        for text in pages.values()
        for attributes, _ in SCRIPT.findall(text)
    }
    texts = [
        (site / name).read_text(encoding="utf-8")
        for name in scripts - {None}
        if posixpath.basename(name) != "searchindex.js"
    ]
    vocabulary = Vocabulary(list(pages.values()), texts)
    style = make_bundle(static, [posixpath.relpath(name, "_static") for name in names], vocabulary)
    (site / BUNDLE).write_text(style, encoding="utf-8")
    version = hashlib.sha256(style.encode()).hexdigest()[:8]
    for path, text in pages.items():
        path.write_text(
            text.replace(f"{BUNDLE}?v=VERSION", f"{BUNDLE}?v={version}"), encoding="utf-8"
        )

    # What no page names any more.
    unused = [static / "scripts" / name for name in NEEDED_FOR if NEEDED_FOR[name] is None]
    for path in [*static.rglob("*.map"), *unused]:
        path.unlink(missing_ok=True)


def make_bundle(static, names, vocabulary):
    """Return the text of the book's style sheet, made of the sheets `names`, which lie in the folder `static`."""
    style = Bundler(static, vocabulary).bundle(names)
    style = embed_icons(style, static, vocabulary.classes)
    return f"/* tools/light.py made this of: {', '.join(names)} */\n{style}"


def setup(app):
    app.add_css_file("light.css")
    app.add_js_file("light.js")
    app.connect("html-page-context", describe, priority=900)
    # After every other step, so that it sees the pages as they are.
    app.connect("build-finished", lighten, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
