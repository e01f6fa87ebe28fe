"""Sphinx extension: an index of terms and names, and a link to each thing that one may want to point at.

The index, ``{term-index}`` on the page *Index*, is made of Sphinx's own entries: those that a glossary and an ``{index}``
make, and here also

- each section in which a chapter uses a ``{term}``, once,
- the Chinese name of each term of the glossary,
- each object that ``literalinclude`` shows, and the names of Keras and TensorFlow that the text mentions.

Headings, captions, numbered formulas and terms have links to themselves in Sphinx. The same is given here to what has none:
formulas without a number, tables and listings without a caption, figures of notebooks, exercises and questions. Anchors
come from names and titles, so that they stay when something is added before them.
"""

import re
from html import unescape
from pathlib import Path

from book_extension import stored_images
from docutils import nodes
from site_search import chinese_name
from sphinx import addnodes
from sphinx.directives.code import LiteralInclude
from sphinx.environment.adapters.indexentries import IndexEntries
from sphinx.util.docutils import SphinxDirective

CHINESE = "中文"  # the heading of the Chinese names, and the key by which Sphinx puts them last
TAUGHT = re.compile(r"(?:tf|keras|dlbook)\.[\w.]*\w")  # names of libraries in the text of a chapter


# Entries


class IndexedInclude(LiteralInclude):
    """``literalinclude`` that gives the code of an object an anchor and an entry in the index."""

    def run(self):
        found = super().run()
        name = self.options.get("pyobject")
        if name and isinstance(found[0], (nodes.literal_block, nodes.container)):
            block = found[0]
            if not block["ids"]:
                anchor = nodes.make_id(f"code-{name}")
                # An object may be shown in pieces.
                pieces = self.env.temp_data.setdefault("shown_objects", {})
                pieces[anchor] = pieces.get(anchor, 0) + 1
                block["ids"].append(anchor if pieces[anchor] == 1 else f"{anchor}-{pieces[anchor]}")
            if not name.rpartition(".")[2].startswith("_"):
                # The brackets keep the function attention() apart from the term attention.
                kind = re.search(r"^\s*(def|class) ", block.astext(), re.MULTILINE)
                called = "()" if kind and kind[1] == "def" else ""
                entries = [("single", name + called, block["ids"][0], "", None)]
                found.insert(0, addnodes.index(entries=entries))
        return found


def section_of(node):
    """The section in which a node stands, or None."""
    while node is not None and not isinstance(node, nodes.section):
        node = node.parent
    return node


def add_entries(app, env):
    """Add the entries of all pages, once all are read and each term is known."""
    entries = env.get_domain("index").entries
    known = env.domaindata["std"].get("terms", {})  # of lower-case names
    names = {}  # of the anchor of a term, the name that stands first in the glossary
    env.index_names = set()

    for docname in sorted(env.found_docs):
        for item in env.get_doctree(docname).findall(nodes.definition_list_item):
            if isinstance(item.parent.parent, addnodes.glossary):
                terms = [term for term in item.children if isinstance(term, nodes.term)]
                for term in terms:
                    names[term["ids"][0]] = terms[0].astext()
                name = chinese_name(item[-1])
                if name:
                    add_entry(entries, docname, name, terms[0]["ids"][0], "main", CHINESE)

    for docname in sorted(env.found_docs):
        doctree = env.get_doctree(docname)
        for use in doctree.findall(addnodes.pending_xref):
            if use.get("reftype") != "term" or use["reftarget"].lower() not in known:
                continue
            glossary, anchor = known[use["reftarget"].lower()]
            section = section_of(use)
            if inside(use, "quiz-question") or inside(use, "quiz-answer"):
                continue
            if docname != glossary and section is not None and anchor in names:
                add_entry(entries, docname, names[anchor], section["ids"][0])
        if re.match(r"book/\d\d-", docname):
            for literal in doctree.findall(nodes.literal):
                name = re.match(TAUGHT, literal.astext())
                if name and section_of(literal) is not None:
                    add_entry(entries, docname, name[0], section_of(literal)["ids"][0])
                    env.index_names.add(name[0])
        for block in doctree.findall(addnodes.index):
            if isinstance(
                block.next_node(descend=False, siblings=True),
                (nodes.literal_block, nodes.container),
            ):
                env.index_names.update(entry[1] for entry in block["entries"])
    return []


def add_entry(entries, docname, text, anchor, main="", key=None):
    entry = ("single", text.replace(";", ","), anchor, main, key)
    if entry not in entries.setdefault(docname, []):
        entries[docname].append(entry)


# The page


class term_index(nodes.General, nodes.Element):
    """Stands for the index until all pages are read."""


class TermIndex(SphinxDirective):
    """The index of the book."""

    def run(self):
        return [term_index()]


def write_index(app, doctree, docname):
    """Put the index into its page; LaTeX makes one of its own, after the last page, and gets no such page."""
    for place in list(doctree.findall(term_index)):
        if app.builder.format == "html":
            place.replace_self(index_nodes(app, docname))
        else:
            page = section_of(place)  # it has names, so that docutils lets nothing replace it
            page.parent.remove(page)


def index_nodes(app, docname):
    groups = IndexEntries(app.env).create_index(app.builder)
    places = Places(app, docname)
    letters = nodes.paragraph(classes=["index-letters"])
    sections = []
    for letter, entries in groups:
        if letter == CHINESE:  # GB 2312 has the characters in the order of their sounds
            entries = sorted(entries, key=lambda entry: entry[0].encode("gb18030"))
        anchor = f"index-{nodes.make_id(letter) or 'chinese'}"
        heading = chinese(letter) if letter == CHINESE else nodes.Text(letter)
        letters += [nodes.reference("", "", heading.deepcopy(), internal=True, refuri=f"#{anchor}")]
        letters += [nodes.Text(" ")]
        items = nodes.bullet_list(classes=["index-entries"])
        for name, (targets, children, _) in entries:
            items += entry_node(app, places, name, targets, letter)
            if children:
                below = nodes.bullet_list()
                below += [
                    entry_node(app, places, child, links, letter) for child, links in children
                ]
                items[-1] += below
        section = nodes.section("", nodes.title("", "", heading), items, ids=[anchor])
        sections.append(section)
    return [
        nodes.raw("", '<nav class="index-jump" aria-label="Letters of the index">', format="html"),
        letters,
        nodes.raw("", "</nav>", format="html"),
        *sections,
    ]


def chinese(text):
    return nodes.raw("", f'<span lang="zh-Hans">{text}</span>', format="html")


def entry_node(app, places, name, targets, letter):
    """An entry: its name, which leads to the definition if there is one, and the sections."""
    if letter == CHINESE:
        # The Chinese name leads to the term, which stands beside it.
        target = places.find(targets[0][1])
        text = nodes.inline("", "", chinese(name), nodes.Text(" " + places.terms[target[:2]]))
        return nodes.list_item("", nodes.paragraph("", "", places.link(target, text)))
    shown = nodes.literal if name in app.env.index_names else nodes.inline
    text = shown("", name)
    found = sorted(
        {(not main, *places.find(uri)) for main, uri in targets}, key=lambda t: (t[0], t[3])
    )
    paragraph = nodes.paragraph()
    if found and not found[0][0]:
        text = places.link(found.pop(0)[1:], text)
    paragraph += text
    labels = {}  # a section may use a term and show its code
    for _, *target in found:
        labels.setdefault(places.label(*target[:2]), target)
    for number, (label, target) in enumerate(labels.items()):
        paragraph += nodes.Text(", " if number else ": ")
        paragraph += places.link(target, nodes.inline("", label))
    return nodes.list_item("", paragraph)


class Places:
    """Where entries lead to: the sections, with their numbers and titles, and the order in which they stand."""

    def __init__(self, app, docname):
        self.app, self.docname = app, docname
        self.order, self.sections, self.terms = {}, {}, {}
        # Pages in the order of the table of contents.
        pages = [app.config.root_doc]
        for page in pages:
            pages += [
                child for child in app.env.toctree_includes.get(page, []) if child not in pages
            ]
        rank = {page: number for number, page in enumerate(sorted(pages, key=page_rank))}
        for page in pages:
            for position, node in enumerate(app.env.get_doctree(page).findall(nodes.Element)):
                for anchor in node.get("ids", ()):
                    self.order[page, anchor] = (rank[page], position)
                    self.sections[page, anchor] = section_of(node)
                    if isinstance(node, nodes.term):
                        self.terms[page, anchor] = node.astext()

    def find(self, uri):
        """The page, the anchor, and their order, of an address that Sphinx has made for the index."""
        path, _, anchor = uri.partition("#")
        page = unescape(path).rpartition(".")[0]
        return page, anchor, self.order.get((page, anchor), (10**6, 0))

    def link(self, target, text):
        address = self.app.builder.get_relative_uri(self.docname, target[0])
        return nodes.reference("", "", text, internal=True, refuri=f"{address}#{target[1]}")

    def label(self, page, anchor):
        """What names a place: the number and title of the section."""
        section = self.sections.get((page, anchor))
        title = self.app.env.titles[page].astext()
        if section is None:
            return title
        numbers = self.app.env.toc_secnumbers.get(page, {})
        number = numbers.get(f"#{section['ids'][0]}") or numbers.get("")
        if isinstance(section.parent, nodes.section):
            title = f"{title}: {section[0].astext()}"
            if re.match(r"book/\d\d-", page):
                title = section[0].astext()
        if page.startswith("notebooks/"):
            return f"Notebook {title}"
        return f"{'.'.join(map(str, number))} {title}" if number else title


def page_rank(page):
    """Chapters before notebooks before the rest."""
    kinds = [r"book/\d\d-", r"notebooks/", r""]
    return next(n for n, kind in enumerate(kinds) if re.match(kind, page)), page


# Links


def permalink(anchor, what):
    """A link of a thing to itself, in HTML."""
    return nodes.raw(
        "",
        f'<a class="headerlink" href="#{anchor}" aria-label="Link to this {what}">#</a>',
        format="html",
    )


def wrap(node, anchor, what):
    """Put a node into a box with an anchor and a link."""
    box = nodes.container(classes=["linked"], ids=[anchor])
    node.replace_self(box)
    # Not the docutils class "container", which Bootstrap gives a width.
    box += [node, permalink(anchor, what)]


def add_links(app, doctree, docname):
    """Give an anchor and a link to what has none."""
    if app.builder.name != "html":
        return
    taken = {anchor for node in doctree.findall(nodes.Element) for anchor in node.get("ids", ())}

    def new_anchor(stem):
        number = 1
        while (anchor := stem if number == 1 else f"{stem}-{number}") in taken:
            number += 1
        taken.add(anchor)
        return anchor

    def in_section(node, what):
        section = section_of(node)
        return new_anchor(f"{section['ids'][0] if section else 'page'}-{what}")

    # A citation's place in the text has an anchor that counts and that nothing leads to.
    for citation in doctree.findall(nodes.inline):
        if "bibtex-citation" in citation["classes"]:
            citation["ids"] = []

    path = app.env.doc2path(docname)
    is_notebook = path.endswith(".ipynb")
    figures = {image[3]: image[1] for image in stored_images(path)} if is_notebook else {}
    for image in list(doctree.findall(nodes.image)):
        name = figures.get(Path(image["uri"]).name)
        if name:
            wrap(image, new_anchor(nodes.make_id(f"figure-{name}")), "figure")

    for node in list(doctree.findall(nodes.math_block)):
        if not node.get("number"):
            wrap(
                node, node["ids"].pop(0) if node["ids"] else in_section(node, "formula"), "formula"
            )

    for node in list(doctree.findall(nodes.table)):
        if not any(isinstance(child, nodes.title) for child in node) and not inside(
            node, "cell_output"
        ):
            wrap(node, node["ids"].pop(0) if node["ids"] else in_section(node, "table"), "table")

    for node in list(doctree.findall(nodes.literal_block)):
        # The cells of a notebook are many, and stand below their heading.
        if "literal-block-wrapper" not in node.parent["classes"] and not inside(node, "cell"):
            anchor = node["ids"].pop(0) if node["ids"] else in_section(node, "code")
            wrap(node, anchor, "listing")

    for node in doctree.findall(nodes.container):
        if "quiz-question" in node["classes"]:
            node[0] += permalink(node["ids"][0], "question")
    for node in doctree.findall(nodes.list_item):
        if node["ids"] and node["ids"][0].startswith("exercise-"):
            node[0] += permalink(node["ids"][0], "exercise")


def inside(node, css_class):
    while node is not None:
        if css_class in node.get("classes", ()):
            return True
        node = node.parent
    return False


def name_links(app, pagename, templatename, context, doctree):
    """Give the links of Sphinx a name that can be heard, and keep it out of the names of the headings.

    A heading is called what its text says; without this, each would end in "number sign".
    """
    if "body" not in context:
        return

    def heading(match):
        level, attributes, text, anchor, what = match.groups()
        link = f'<a class="headerlink" href="#{anchor}" aria-label="Link to this {what}">#</a>'
        title = f'<span id="{anchor}-title">{text}</span>'
        return f'<h{level}{attributes} aria-labelledby="{anchor}-title">{title}{link}</h{level}>'

    body = re.sub(
        r'<h([1-6])([^>]*)>((?:(?!</?h[1-6]).)*?)<a class="headerlink" href="#([^"]+)" title="Link to this ([^"]+)">#</a></h\1>',
        heading,
        context["body"],
        flags=re.DOTALL,
    )
    context["body"] = re.sub(
        r'(<a class="headerlink" href="#[^"]+") title="Link to this image">',
        r'\1 aria-label="Link to this figure">',
        body,
    )
    context["body"] = re.sub(
        r'(<a class="headerlink" href="#[^"]+") title="(Link to this [^"]+)">',
        r'\1 aria-label="\2">',
        context["body"],
    )


def setup(app):
    app.add_directive("literalinclude", IndexedInclude, override=True)
    app.add_directive("term-index", TermIndex)
    app.add_node(term_index)
    app.connect("env-updated", add_entries, priority=950)
    app.connect("doctree-resolved", write_index)
    app.connect("doctree-resolved", add_links, priority=900)
    app.connect("html-page-context", name_links, priority=800)
    app.add_css_file("finding.css")
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
