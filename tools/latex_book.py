"""Sphinx extension: what the book needs to become one PDF; ``make pdf`` runs LaTeX on what this writes.

- The settings of Sphinx's LaTeX builder; the design is that of ``tools/latex/dlbook.sty``.
- The front page becomes a chapter without number, the pages of the back matter, too, and the notebooks sections
  without number, so that the numbers of chapters, sections, figures and equations are those of the site.
- What only a site can have, such as links to files beside its pages, is left out.
"""

import re

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms.post_transforms import SphinxPostTransform

FILES = ["tools/latex/dlbook.sty", "src/dlbook/fonts/dlbook-han-serif.otf"]


def latex(text):
    """Return a node with LaTeX code."""
    return nodes.raw("", text + "\n", format="latex")


class LatexOnly(SphinxPostTransform):
    """A change of the one document that Sphinx's LaTeX builder makes of all pages."""

    formats = ("latex",)
    default_priority = 5  # before Sphinx's own, which look for tables and footnotes


class NumberAsOnSite(LatexOnly):
    """Give numbers to what has some on the site, and the front page a heading of its own."""

    def run(self, **kwargs):
        front = self.document.next_node(nodes.section)
        own = [node for node in front if not isinstance(node, nodes.title) and not has_pages(node)]
        pages = [node for node in front if has_pages(node)]
        if not pages:
            return  # a document of one page
        about = nodes.section("", nodes.title("", "About this book"), *own, ids=["about-this-book"])
        front[1:] = [
            latex(r"\setcounter{secnumdepth}{-1}"),
            about,
            pages[0],
            latex(r"\backmatterofbook"),
            *pages[1:],
        ]
        for page in front.findall(addnodes.start_of_file):
            match page["docname"].split("/"):
                case ["notebooks", _]:
                    page.insert(0, latex(r"\setcounter{secnumdepth}{0}"))
                    page.next_node(nodes.title).insert(0, nodes.Text("Notebook: "))
                case ["book", name] if name[:2].isdigit():
                    page.insert(0, latex(r"\setcounter{secnumdepth}{1}"))


def has_pages(node):
    """Whether a part of the front page is a list of pages, in whose place Sphinx has put these."""
    return node.next_node(addnodes.start_of_file) is not None


class LeaveOutLinksToFiles(LatexOnly):
    """Take away what only a site can have: links to files beside its pages."""

    def run(self, **kwargs):
        for paragraph in list(self.document.findall(nodes.paragraph)):
            if "site-only" in paragraph["classes"]:
                paragraph.parent.remove(paragraph)


class IndexSections(LatexOnly):
    """Put into LaTeX's index what an extension has added to that of the site: the sections that use a term."""

    def run(self, **kwargs):
        entries = self.env.get_domain("index").entries
        for section in self.document.findall(nodes.section):
            found = [
                entry
                for entry in entries.get(section.get("docname"), [])
                # makeindex cannot sort Chinese.
                if entry[2] in section["ids"] and ord(entry[1][0]) < 0x2E80
            ]
            if found:
                section.insert(1, addnodes.index(entries=found))


# Tables

LINE = 450  # points
SIZE = 10  # of the text of a table, in points
GAP = 12  # between two columns
LONG = 12  # lines; a table with more goes over pages
NARROW = set(" ,.;:!'’()[]-–/|ijlft")


def advance(character, code=False):
    """Return about how wide a character is set, in points."""
    if ord(character) > 0x2E80:
        return SIZE
    if code or character not in NARROW and not character.isupper() and character not in "mwMW%@":
        return 0.52 * SIZE
    return (0.3 if character in NARROW else 0.8) * SIZE


def width(cell):
    """Return about how wide a cell is, in points, if it has one line, and how wide its longest word is."""
    whole = word = longest = 0
    for text in cell.findall(nodes.Text):
        content = text.astext()
        if isinstance(text.parent, nodes.math):
            # A command is one sign; braces and marks of indices are none; a formula is not broken.
            signs = re.sub(r"\\[a-zA-Z]+|\\.", "x", content)
            content = re.sub(r"[\s{}_^]", "", signs)
        for character in content:
            size = advance(character, isinstance(text.parent, nodes.literal))
            whole += size
            # A line is broken after a space, and after a hyphen between letters, not in a date.
            breaks = character in " \n/" or character == "-" and not content[0].isdigit()
            word = 0 if breaks else word + size
            longest = max(longest, word)
    return whole, longest


def column_widths(rows, head=0):
    """Return the widths of the columns of a table as shares of the line, for cells in rows, `head` of which are heads."""
    columns = list(zip(*rows, strict=True))
    bold = [1.2] * head + [1] * (len(rows) - head)
    least = [
        max(factor * width(cell)[1] for factor, cell in zip(bold, column, strict=True))
        for column in columns
    ]
    room = LINE - GAP * (len(columns) - 1)
    natural = [
        max(factor * width(cell)[0] for factor, cell in zip(bold, column, strict=True))
        for column in columns
    ]
    if sum(natural) > room:  # then the heads are broken first
        natural = [
            max(low, *(width(cell)[0] for cell in column[head:]))
            for low, column in zip(least, columns, strict=True)
        ]
    if sum(natural) > room:
        # Each column gets its longest word, and of the rest the more, the more text it has.
        rest = max(0, room - sum(least))
        wishes = [whole - word for whole, word in zip(natural, least, strict=True)]
        natural = [
            word + rest * wish / sum(wishes) for word, wish in zip(least, wishes, strict=True)
        ]
    return [points * min(1, room / sum(natural)) / LINE for points in natural]


def head_as_table(fields):
    """Return the field list below a chapter's title as a table, whose rows need less room."""
    group = nodes.tgroup("", nodes.colspec(), nodes.colspec(), cols=2)
    body = nodes.tbody()
    for field in fields:
        name = nodes.paragraph("", "", nodes.strong("", "", *field[0].children))
        body += nodes.row("", nodes.entry("", name), nodes.entry("", *field[1].children))
    group += body
    return nodes.table("", group)


def set_tables(app, doctree, docname):
    """Give the columns of each table widths that suit what they contain, and let a long table go over pages.

    This comes when all references are resolved and all tables made.
    """
    if app.builder.format != "latex":
        return
    for fields in list(doctree.findall(nodes.field_list)):
        if "at-a-glance" in fields["classes"]:
            fields.replace_self(head_as_table(fields))
    for table in list(doctree.findall(nodes.table)):
        rows = [list(row) for row in table.findall(nodes.row)]
        if all(len(row) == len(rows[0]) for row in rows):  # else some cells are joined
            set_table(app.env, table, rows)


def set_table(env, table, rows):
    """Put LaTeX before and after one table."""
    head = sum(isinstance(row[0].parent.parent, nodes.thead) for row in rows)
    shares = column_widths(rows, head)
    lines = sum(
        max(1 + width(cell)[0] // (share * LINE) for cell, share in zip(row, shares, strict=True))
        for row in rows
    )
    if lines > LONG:
        table["classes"].append("longtable")

    # A caption, or the first lines of a long table, is not left behind at the foot of a page, nor is a heading.
    place = table
    while isinstance(before := previous(place), nodes.title | nodes.target):
        place = place.parent if isinstance(before, nodes.title) else before
    room = min(lines, 8 if lines > LONG else LONG) + 3
    space = latex(rf"\needspace{{{room:.0f}\baselineskip}}")
    place.parent.insert(place.parent.index(place), space)

    columns = [
        rf">{{{alignment(column)}\arraybackslash}}p{{{share:.3f}\linewidth}}"
        for column, share in zip(zip(*rows, strict=True), shares, strict=True)
    ]
    # Without space outside of the first and the last column.
    spec = addnodes.tabular_col_spec(spec="@{}" + "".join(columns) + "@{}")
    title = table.next_node(nodes.title)
    if title and not has_number(env, table):
        bare = latex(r"{\captionsetup{labelformat=empty,labelsep=none}")
        table.replace_self([bare, spec, table, latex(r"}\addtocounter{table}{-1}")])
    elif lines > LONG and not title:  # LaTeX counts long tables all the same
        table.replace_self([spec, table, latex(r"\addtocounter{table}{-1}")])
    else:
        table.replace_self([spec, table])


def previous(node):
    """Return what stands before a node in the same parent, or at the end of the section before it, or None."""
    place = node.parent.index(node)
    before = node.parent[place - 1] if place else None
    while isinstance(before, nodes.section):  # the name of a section is the end of the one before
        before = before[-1]
    return before


def has_number(env, table):
    """Whether the site gives a number to this table."""
    known = {key for numbers in env.toc_fignumbers.values() for key in numbers.get("table", {})}
    return bool(known & set(table["ids"]))


def alignment(cells):
    """Return the LaTeX command that sets a column as the text asks for."""
    right = all("text-right" in cell["classes"] for cell in cells)
    return r"\raggedleft" if right else r"\raggedright"


def set_up_latex(app, config):
    """Set what Sphinx's LaTeX builder asks for."""
    config.latex_engine = "xelatex"
    config.latex_additional_files = FILES
    config.latex_use_xindy = False  # makeindex comes with every TeX
    config.latex_table_style = ["booktabs"]
    config.latex_elements = {
        "papersize": "a4paper",
        "pointsize": "11pt",
        "extraclassoptions": "openany,oneside",
        "polyglossia": "",
        "fontpkg": "",
        "fncychap": "",
        "fvset": "",
        "figure_align": "htbp",
        "preamble": r"\usepackage{dlbook}",
        "tableofcontents": r"\renewcommand{\contentsname}{Contents}\sphinxtableofcontents",
        "maketitle": r"\dlbooktitle",
        "printindex": r"\chaptermark{\indexname}\printindex",
    }


def setup(app):
    """Register everything with Sphinx."""
    app.connect("config-inited", set_up_latex)
    app.connect("doctree-resolved", set_tables, priority=900)
    for transform in (NumberAsOnSite, LeaveOutLinksToFiles, IndexSections):
        app.add_post_transform(transform)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
