"""Sphinx extension: a search that finds sections, symbols, names of code and Chinese.

Sphinx's own index knows words and whole pages. Here ``searchindex.js`` holds the text itself, cut into entries: sections,
terms of the glossary, symbols of the page *Notation*, tables of the page *Results*, and references. ``site_search.js``
looks for the query in these texts, so that it finds what stands there, however it is split into words: a part of a run of
Chinese, a symbol, a name with dots and underscores. It shows each entry with the place that was found, and needs nothing
but the one file, so that it works from a folder, too, where a page may not fetch another.

Of the rest, the search page and the handing over of the query, everything is Sphinx's and the theme's.
"""

import json
import re
import unicodedata
from functools import cache
from html import unescape
from pathlib import Path

import sphinx.search
from docutils import nodes
from pylatexenc.latex2text import LatexNodes2Text
from sphinx import addnodes
from sphinx.search import IndexBuilder, js_index

SCRIPT = Path(__file__).with_suffix(".js")

# LaTeX commands that a query may name, with and, for those of the first line, also without a backslash.
WORDS = """alpha beta gamma delta epsilon varepsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau
           upsilon phi varphi chi psi omega partial nabla"""
COMMANDS = """Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega ell sum prod int infty approx sim propto leq geq neq
              ll gg times cdot odot otimes oplus pm in notin subset cup cap to mapsto mid perp forall exists"""

# How much an entry counts that matches as well as another one; the first pattern that fits the page.
KINDS = [
    (r"book/\d\d-", 1.0),
    (r"book/(glossary|notation)$", 1.0),
    (r"notebooks/", 0.6),
    (r"book/(results|bibliography|instructors|index)$", 0.5),
    (r"", 0.8),
]

latex_to_text = LatexNodes2Text(math_mode="text", keep_braced_groups=False).latex_to_text


@cache
def math_text(latex):
    r"""The text of a formula, in letters that one can type: ``\mathbf{W}\eta`` is Wη.

    A letter keeps its shape, bold or not, in LaTeX only; a reader looks for the letter.
    """
    try:
        # Of the commands for fractions, pylatexenc reads digits without braces after one only.
        latex = re.sub(r"\\[td]frac(?![a-z])", r"\\frac", latex)
        return unicodedata.normalize("NFKC", latex_to_text(latex))
    except (
        KeyError,
        IndexError,
        ValueError,
    ):  # what pylatexenc raises where an argument is missing
        return latex


def symbols():
    """The symbol of each LaTeX command of `WORDS` and `COMMANDS`."""
    return {name: latex_to_text(f"\\{name}").strip() for name in f"{WORDS} {COMMANDS}".split()}


def squeeze(text):
    return re.sub(r"\s+", " ", text).strip()


class Entries:
    """The entries of a page, as lists ``[anchor, title, text]``; an anchor may stand in several."""

    def __init__(self, docname, doctree):
        self.docname = docname
        self.entries = []
        self.begin("", "")
        self.walk(doctree)

    def begin(self, anchor, title):
        self.texts = []
        self.entries.append([anchor, squeeze(title), self.texts])

    def within(self, node, anchor, title):
        """Put what is below a node into an entry of its own."""
        outer = self.texts
        self.begin(anchor, title)
        self.below(node)
        self.texts = outer

    def below(self, node):
        for child in node.children:
            self.walk(child)

    def walk(self, node):
        if isinstance(node, nodes.Text):
            self.texts.append(node.astext())
        elif isinstance(node, (nodes.math, nodes.math_block)):
            self.texts.append(math_text(node.astext()))
        elif isinstance(node, nodes.raw):
            if "html" in node.get("format", "") and "headerlink" not in node.astext():
                # The tags of a box or a button stand between words, those of a span may stand within one.
                text = re.sub(r"</?(?:div|p|td|th|li|br|tr|dt|dd)\b[^>]*>", " ", node.astext())
                self.texts.append(unescape(re.sub(r"<[^>]+>", "", text)))
        elif isinstance(node, nodes.image):
            self.texts.append(f" {node.get('alt', '')} ")
        elif isinstance(node, (nodes.comment, addnodes.index, nodes.substitution_definition)):
            pass
        elif "cell_output" in node.get("classes", ()):
            # Of what a notebook prints, only what its figures show: the rest is mostly numbers.
            for image in node.findall(nodes.image):
                self.walk(image)
        elif isinstance(node, nodes.section):
            top = isinstance(node.parent, nodes.document)
            self.within(node, "" if top else node["ids"][0], plain(node[0]))
        elif isinstance(node, nodes.title) and isinstance(node.parent, nodes.section):
            pass  # is the title of the entry
        elif isinstance(node, nodes.definition_list_item) and isinstance(
            node.parent.parent, addnodes.glossary
        ):
            terms = [term for term in node.children if isinstance(term, nodes.term)]
            title = ", ".join(plain(term) for term in terms)
            name = chinese_name(node[-1])
            self.within(node[-1], terms[0]["ids"][0], f"{title} ({name})" if name else title)
        elif isinstance(node, nodes.citation):
            label, reference = node.children
            self.within(reference, node["ids"][0], f"[{plain(label)}]")
        elif isinstance(node, nodes.table) and self.docname == "book/results":
            self.within(node, node["ids"][0], plain(node[0]))
        elif isinstance(node, nodes.thead) and self.docname in ("book/notation", "book/results"):
            pass
        elif isinstance(node, nodes.row) and self.docname == "book/notation":
            section = next(n for n in ancestors(node) if isinstance(n, nodes.section))
            self.within(node, section["ids"][0], plain(node[0]))
        else:
            self.below(node)
            if not isinstance(node, (nodes.Inline, nodes.TextElement)) or isinstance(
                node, (nodes.paragraph, nodes.literal_block, nodes.term, nodes.caption, nodes.title)
            ):
                self.texts.append(" ")

    def lists(self):
        entries = [
            [anchor, title, squeeze("".join(texts))] for anchor, title, texts in self.entries
        ]
        return [entry for entry in entries if entry[1] or entry[2]]


def ancestors(node):
    while node.parent is not None:
        node = node.parent
        yield node


def plain(node):
    """The text of a node, with its formulas as text."""
    entries = Entries.__new__(Entries)
    entries.docname, entries.texts = "", []
    entries.below(node)
    return squeeze("".join(entries.texts))


def chinese_name(definition):
    """The Chinese name with which a definition of the glossary begins, or None.

    A name in another script may stand before the brackets, as in Adam（自适应矩估计）.
    """
    name = plain(definition).split(".")[0]
    if not re.search(r"[\u4e00-\u9fff]", name):
        return None
    inner = re.fullmatch(r"[^\u4e00-\u9fff]*（(.+)）", name)
    return inner[1] if inner else name


class SectionIndex(IndexBuilder):
    """Sphinx's index builder with entries instead of words."""

    def __init__(self, env, lang, options, scoring):
        super().__init__(env, lang, options, scoring)
        self.pages = {}

    def feed(self, docname, filename, title, doctree):
        """Take in a page when it is written; not the index, which only repeats names."""
        if docname == "book/term-index":
            return
        title = re.sub(r"^[\d.]+\s", "", re.sub(r"<[^>]+>", "", unescape(title)))
        chapter = re.match(r"book/(\d\d)-", docname)
        if chapter:
            title = f"Chapter {int(chapter[1])}: {title}"
        elif docname.startswith("notebooks/"):
            title = f"Notebook: {title}"
        weight = next(weight for pattern, weight in KINDS if re.match(pattern, docname))
        self.pages[docname] = {
            "title": title,
            "weight": weight,
            "entries": Entries(docname, doctree).lists(),
        }

    def prune(self, docnames):
        """Forget all pages but these."""
        self.pages = {name: page for name, page in self.pages.items() if name in docnames}

    def load(self, stream, format):
        """Take over the index of an earlier build, of which only some pages are written again."""
        frozen = js_index.load(stream)
        if not isinstance(frozen, dict) or "pages" not in frozen:
            raise ValueError("not an index of tools/site_search.py")
        self.pages = frozen["pages"]

    def dump(self, stream, format):
        """Write searchindex.js."""
        content = json.dumps({"pages": self.pages}, ensure_ascii=False, separators=(",", ":"))
        stream.write(f"{js_index.PREFIX}{content}{js_index.SUFFIX}")

    def context_for_searchtool(self):
        """Put the script into language_data.js, which Sphinx and the theme load wherever there is a search."""
        names = symbols()
        settings = {
            "symbols": names,
            "words": {name: names[name] for name in WORDS.split()},
        }
        script = SCRIPT.read_text(encoding="utf-8")
        return super().context_for_searchtool() | {
            "search_word_splitter_code": f"const SYMBOLS = {json.dumps(settings)};\n{script}"
        }


def setup(app):
    # Sphinx asks for this name when it begins to write; there is no setting for it.
    sphinx.search.IndexBuilder = SectionIndex
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
