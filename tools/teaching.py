"""Sphinx directives of the page for instructors and of the chapters' heads; book/teaching.toml is their data.

- ``{at-a-glance}``, below a chapter's title, says how long it takes to read, run and solve, and what it builds on.

- ``{workload}`` is a table of the chapters: minutes to read, to run and to solve the exercises.
- ``{syllabus} WEEKS`` is the table of one course, with what each week asks for and how long that takes.
- ``{prerequisites}`` draws which chapter needs which, and says the same in a table.

Nothing is estimated twice. Reading takes as long as the words and displays of the built pages at the rates of
book/teaching.toml, running as long as the shortest run in book/results.json, the exercises as long as their points.
A name in book/teaching.toml that the book does not have stops the build.
"""

import json
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from book_extension import NO_BREAK_SPACE, read_exercises
from docutils import nodes
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective
from sphinx.util.texescape import escape

DATA = "book/teaching.toml"
RANGE = re.compile(r"(?P<slug>[\w-]+)(?:: (?P<first>.+?)(?: \.\.\. (?P<last>.+))?)?$")
WORD = re.compile(r"[^\W_]+(?:['’.,-][^\W_]+)*")


class TeachingError(ExtensionError):
    """book/teaching.toml names something that the book does not have."""


def read_data(root):
    """Return what book/teaching.toml says, as a dictionary."""
    return tomllib.loads(Path(root, DATA).read_text(encoding="utf-8"))


# How long it takes


def count(tree):
    """Return ``(words, displays)`` of a part of a page.

    Words are those of the running text, of lists, tables and captions; a formula in the text is one word. Displays are
    the equations, figures, tables and listings.
    """
    displays = sum(
        1
        for node in tree.findall()
        if isinstance(node, nodes.math_block | nodes.figure | nodes.table | nodes.literal_block)
    )
    words = 0
    for text in tree.findall(nodes.Text):
        parents, node = set(), text
        while node is not tree:
            node = node.parent
            parents.add(type(node))
        if nodes.math in parents:
            words += 1
        elif not parents & {nodes.literal_block, nodes.math_block, nodes.raw, nodes.comment}:
            words += len(WORD.findall(text.astext()))
    return words, displays


def reading_minutes(words, displays, rates):
    """Return the minutes that words and displays take at the rates of book/teaching.toml."""
    return words / rates["words_per_minute"] + displays * rates["minutes_per_display"]


def say_minutes(minutes):
    """Return minutes to the nearest five, or, below ten, to the nearest one."""
    return f"{round(minutes) if minutes < 10 else 5 * round(minutes / 5)}{NO_BREAK_SPACE}min"


def say_hours(minutes):
    """Return minutes as hours, to the nearest half."""
    whole, half = divmod(max(1, round(minutes / 30)), 2)
    return f"{whole or ''}{'½' if half else ''}{NO_BREAK_SPACE}h"


def say_numbers(numbers):
    """Return whole numbers in order, with runs of three and more drawn together.

    >>> say_numbers([1, 2, 3, 5, 6, 9])
    '1–3, 5, 6, 9'
    """
    runs = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    parts = []
    for run in runs:
        parts += [f"{run[0]}–{run[-1]}"] if len(run) > 2 else map(str, run)
    return ", ".join(parts)


# What the book has


@dataclass
class Book:
    """The built book, as far as a course needs it; `env` is Sphinx's environment after it has read all pages."""

    env: object

    @property
    def root(self):
        return Path(self.env.srcdir)

    def slugs(self):
        """The chapters, ``NN-slug``, in their order."""
        return chapter_slugs(self.env)

    def title(self, slug):
        return self.env.titles[f"book/{slug}"].astext()

    def sections(self, slug):
        """The sections of a chapter: ``(title, number, anchor, node)``."""
        document = self.env.get_doctree(f"book/{slug}")
        numbers = self.env.toc_secnumbers.get(f"book/{slug}", {})
        found = []
        for section in document.findall(nodes.section):
            if section.parent is not document and section.parent.parent is document:
                anchor = "#" + section["ids"][0]
                number = ".".join(map(str, numbers.get(anchor, ())))
                found.append((section.next_node(nodes.title).astext(), number, anchor, section))
        return found

    def part(self, text):
        """Read ``SLUG`` or ``SLUG: first title ... last title``; return ``(label, slug, anchor, nodes)``."""
        match = RANGE.match(text)
        slug = match["slug"] if match else text
        if slug not in self.slugs():
            raise TeachingError(f"{DATA}: no chapter {slug!r}; there are {self.slugs()}")
        number = int(slug[:2])
        if not match["first"]:
            whole = self.env.get_doctree(f"book/{slug}")
            return f"{number} {self.title(slug)}", slug, "", [whole]
        sections = self.sections(slug)
        titles = [section[0] for section in sections]
        for title in (match["first"], match["last"] or match["first"]):
            if title not in titles:
                raise TeachingError(f"{DATA}: chapter {slug} has no section {title!r}: {titles}")
        first = titles.index(match["first"])
        last = titles.index(match["last"]) if match["last"] else first
        if last < first:
            raise TeachingError(f"{DATA}: in {text!r} the last section stands before the first")
        chosen = sections[first : last + 1]
        label = chosen[0][1] if last == first else f"{chosen[0][1]}–{chosen[-1][1]}"
        return label, slug, chosen[0][2] if first else "", [section[3] for section in chosen]

    def notebooks(self, slug):
        """The names of a chapter's notebooks."""
        return sorted(path.stem for path in self.root.glob(f"notebooks/{slug}*.ipynb"))

    def running_minutes(self, names):
        """The sum of the shortest times of notebooks, in minutes, or None if one was not measured yet."""
        path = self.root / "book/results.json"
        results = json.loads(path.read_text(encoding="utf-8"))["notebooks"] if path.exists() else {}
        for name in names:
            if not (self.root / f"notebooks/{name}.ipynb").is_file():
                raise TeachingError(f"{DATA}: no notebook {name!r}")
        if not all(name in results for name in names):
            return None
        return sum(min(results[name]["seconds"]) for name in names) / 60

    def exercises(self, slug):
        """The points of a chapter's exercises, in their order."""
        path = self.root / f"notebooks/exercises/{slug}/{slug}.ipynb"
        return [points for _, points in read_exercises(path)] if path.is_file() else []

    def chosen_points(self, slug, chosen):
        """The numbers and points of the exercises that a week asks for: a list of numbers, or "all"."""
        points = self.exercises(slug)
        numbers = range(1, len(points) + 1) if chosen == "all" else chosen
        for number in numbers:
            if not 1 <= number <= len(points):
                raise TeachingError(f"{DATA}: chapter {slug} has no exercise {number}")
        return list(numbers), sum(points[number - 1] for number in numbers)


def chapter_slugs(env):
    """Return the chapters that the book has, ``NN-slug``, in their order."""
    return sorted(name[5:] for name in env.found_docs if re.match(r"book/\d\d-", name))


# Tables


def link(book, docname, slug, anchor, text, folder="book"):
    """Return a link from the page `docname` to a place in a chapter or to a notebook."""
    address = book.env.app.builder.get_relative_uri(docname, f"{folder}/{slug}") + anchor
    return nodes.reference("", text, refuri=address, internal=True)


def joined(items, separator=", "):
    """Return the items with separators between them, as a list of nodes."""
    result = []
    for item in items:
        result += [nodes.Text(separator), item] if result else [item]
    return result


def make_table(title, header, rows, widths=None):
    """Return a table; a cell is a text or a list of nodes."""
    table = nodes.table("", nodes.title("", title), ids=[nodes.make_id(title)])
    group = nodes.tgroup("", cols=len(header))
    group += [nodes.colspec("", colwidth=width) for width in widths or [1] * len(header)]
    for kind, lines in ((nodes.thead, [header]), (nodes.tbody, rows)):
        part = kind("")
        for cells in lines:
            row = nodes.row("")
            for cell in cells:
                content = [nodes.Text(cell)] if isinstance(cell, str) else cell
                row += nodes.entry("", nodes.paragraph("", "", *content))
            part += row
        group += part
    table += group
    return table


def workload_table(book, docname):
    """Return the table of all chapters."""
    rates = read_data(book.root)["rates"]
    header = [
        "chapter",
        "words",
        "to read",
        "to run",
        "exercises",
        "points",
        "to solve",
        "together",
    ]
    rows, total = [], [0, 0, 0, 0, 0, 0]
    for slug in book.slugs():
        words, displays = count(book.env.get_doctree(f"book/{slug}"))
        read = reading_minutes(words, displays, rates)
        run = book.running_minutes(book.notebooks(slug))
        points = book.exercises(slug)
        solve = sum(points) * rates["minutes_per_point"]
        measured = [words, read, run or 0, len(points), sum(points), solve]
        total = [old + new for old, new in zip(total, measured)]
        name = link(book, docname, slug, "", f"{int(slug[:2])} {book.title(slug)}")
        rows.append([[name], *_measures(measured, run)])
    rows.append(["all", *_measures(total, total[2])])
    return make_table("What the chapters ask for", header, rows, [6, 2, 2, 2, 2, 2, 2, 2])


def _measures(measured, run):
    words, read, _, exercises, points, solve = measured
    long = say_hours if read > 300 else say_minutes
    return [
        f"{round(words, -2):,}",
        long(read),
        "not measured yet" if run is None else say_minutes(run),
        str(exercises or "–"),
        f"{points:g}" if points else "–",
        say_hours(solve) if exercises else "–",
        say_hours(read + (run or 0) + solve),
    ]


def syllabus_table(book, docname, weeks):
    """Return the table of the course of so many weeks."""
    data = read_data(book.root)
    courses = {course["weeks"]: course for course in data["course"]}
    if weeks not in courses:
        raise TeachingError(f"{DATA}: no course of {weeks} weeks; there are {sorted(courses)}")
    course = courses[weeks]
    if len(course["week"]) != weeks:
        raise TeachingError(f"{DATA}: {len(course['week'])} weeks in the course of {weeks}")
    rates, rows, total = data["rates"], [], 0
    for number, week in enumerate(course["week"], start=1):
        minutes, read, solve = 0, [], []
        for text in week.get("read", []):
            label, slug, anchor, parts = book.part(text)
            read.append(link(book, docname, slug, anchor, label))
            minutes += sum(reading_minutes(*count(part), rates) for part in parts)
        for slug, chosen in week.get("solve", {}).items():
            numbers, points = book.chosen_points(slug, chosen)
            solve.append(nodes.Text(f"chapter {int(slug[:2])}: {say_numbers(numbers)}"))
            minutes += points * rates["minutes_per_point"]
        names = week.get("run", [])
        minutes += book.running_minutes(names) or 0
        run = [link(book, docname, name, "", name, folder="notebooks") for name in names]
        minutes += 60 * week.get("hours", 0)
        cells = [joined(items, "; ") if items else "–" for items in (read, run, solve)]
        rows.append([str(number), week["topic"], *cells, say_hours(minutes)])
        total += minutes
    header = ["week", "topic", "read", "run", "solve exercises", "time"]
    title = f"{course['title']}: about {round(total / 60)} hours in all"
    return make_table(title, header, rows, [1, 5, 5, 5, 5, 2])


# What needs what

WIDTH, HEIGHT, ACROSS, DOWN = 172, 44, 196, 84  # of a box, and from one to the next, in pixels

STYLE = (
    ".prerequisites rect, .prerequisites path {fill: none; stroke: var(--pst-color-text-base)} "
    ".prerequisites path.helps {stroke-dasharray: 5 4} "
    ".prerequisites path.head {fill: var(--pst-color-text-base)} "
    ".prerequisites text {fill: var(--pst-color-text-base); font-size: 14px; text-anchor: middle}"
)


def check_prerequisites(chapters, slugs):
    """Raise TeachingError unless the chapters of book/teaching.toml are those of the book and build on earlier ones."""
    if list(chapters) != slugs:
        raise TeachingError(f"{DATA} has the chapters {list(chapters)}, the book has {slugs}")
    for slug, facts in chapters.items():
        for other in facts.get("needs", []) + facts.get("helps", []):
            if other not in slugs or other >= slug:
                raise TeachingError(f"{DATA}: {slug} cannot build on {other!r}")


def rows_of(chapters):
    """Return the row of each chapter in the drawing: below everything that it builds on."""
    rows = {}
    for slug, facts in chapters.items():
        below = [rows[other] + 1 for other in facts.get("needs", []) + facts.get("helps", [])]
        rows[slug] = max(below, default=0)
    return rows


def arrow(start, end, down):
    """Return the path from one box to another, `down` rows below: straight, or through the gap between two columns."""
    (u, v), (x, y) = start, end
    if down == 1 or u == x:
        lean = (x - u) / 6
        return f"M{u + WIDTH / 2 + lean:g} {v + HEIGHT}L{x + WIDTH / 2 - lean:g} {y - 2}"
    out, back = (u + WIDTH, x - 2) if x > u else (u, x + WIDTH + 2)
    gap = out + (ACROSS - WIDTH) / 2 * (1 if x > u else -1)
    return f"M{out} {v + HEIGHT / 2:g}H{gap:g}V{y + HEIGHT / 2:g}H{back:g}"


def draw(chapters, titles):
    """Return the drawing as SVG. Its colours are those of the page, by day and by night."""
    rows = rows_of(chapters)
    place = {
        slug: (ACROSS * facts["column"] + 4, DOWN * rows[slug] + 4)
        for slug, facts in chapters.items()
    }
    width = max(x for x, _ in place.values()) + WIDTH + 4
    height = max(y for _, y in place.values()) + HEIGHT + 4
    lines, boxes = [], []
    for slug, facts in chapters.items():
        for kind in ("needs", "helps"):
            for other in facts.get(kind, []):
                path = arrow(place[other], place[slug], rows[slug] - rows[other])
                lines.append(f'<path class="{kind}" d="{path}" marker-end="url(#arrow)"/>')
        x, y = place[slug]
        boxes.append(
            f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="6"/>'
            f'<text x="{x + WIDTH / 2:g}" y="{y + HEIGHT / 2 + 5:g}">{titles[slug]}</text>'
        )
    return (
        f'<svg class="prerequisites" viewBox="0 0 {width:g} {height:g}" style="max-width: {width:g}px" role="img" '
        f'aria-label="{describe(chapters)}">'
        f"<style>{STYLE}</style>"
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" '
        'orient="auto"><path class="head" d="M0 0 8 4 0 8z"/></marker></defs>'
        + "".join(lines + boxes)
        + "</svg>"
    )


def draw_for_latex(chapters, titles):
    """Return the drawing as TikZ code, in which a pixel is 0.6 points."""
    rows = rows_of(chapters)
    lines = [
        r"\begin{tikzpicture}[x=0.6pt, y=-0.6pt, font=\sffamily\scriptsize, >={Latex[length=4pt]}]",
        rf"\tikzstyle{{every node}}=[draw, rounded corners=3pt, align=center, "
        rf"minimum width={0.6 * WIDTH:g}pt, minimum height={0.6 * HEIGHT:g}pt]",
    ]
    for slug, facts in chapters.items():
        place = f"({ACROSS * facts['column']}, {DOWN * rows[slug]})"
        lines.append(rf"\node (c{slug[:2]}) at {place} {{{escape(titles[slug])}}};")
    for slug, facts in chapters.items():
        for kind, style in (("needs", "->"), ("helps", "->, dashed")):
            for other in facts.get(kind, []):
                lines.append(tikz_arrow(chapters, rows, style, other, slug))
    return "\n".join([r"\begin{center}", *lines, r"\end{tikzpicture}", r"\end{center}"])


def tikz_arrow(chapters, rows, style, start, end):
    """Return the TikZ path from one box to another, along the same ways as those of `arrow`."""
    here, there = chapters[start]["column"], chapters[end]["column"]
    if rows[end] - rows[start] == 1 or here == there:
        lean = 90 - 20 * (there - here)
        return rf"\draw[{style}] (c{start[:2]}.{lean - 180}) -- (c{end[:2]}.{180 - lean});"
    out, back, gap = ("east", "west", 1) if there > here else ("west", "east", -1)
    gap *= (ACROSS - WIDTH) / 2
    return rf"\draw[{style}] (c{start[:2]}.{out}) -- ++({gap:g}, 0) |- (c{end[:2]}.{back});"


def describe(chapters):
    """Return in words what the drawing shows."""
    sentences = []
    for slug, facts in chapters.items():
        needs = say_numbers(int(other[:2]) for other in facts.get("needs", []))
        helps = say_numbers(int(other[:2]) for other in facts.get("helps", []))
        parts = [f"needs {needs}"] * bool(needs) + [f"is helped by {helps}"] * bool(helps)
        sentences.append(f"{int(slug[:2])} {' and '.join(parts) or 'needs no other'}")
    return "Chapters and what they build on: " + "; ".join(sentences) + "."


def prerequisites_nodes(book, docname):
    """Return the drawing and the table of what each chapter needs."""
    chapters = read_data(book.root)["chapter"]
    check_prerequisites(chapters, book.slugs())
    titles = {
        slug: f"{int(slug[:2])} {facts.get('short') or book.title(slug)}"
        for slug, facts in chapters.items()
    }
    rows = []
    for slug, facts in chapters.items():
        cells = [
            joined([link(book, docname, other, "", str(int(other[:2]))) for other in others]) or "–"
            for others in (facts.get("needs", []), facts.get("helps", []))
        ]
        name = link(book, docname, slug, "", f"{int(slug[:2])} {book.title(slug)}")
        rows.append([[name], *cells, facts["from"]])
    header = ["chapter", "needs", "is helped by", "what it takes from them"]
    table = make_table("What each chapter builds on", header, rows, [5, 2, 2, 8])
    return [
        nodes.raw("", draw(chapters, titles), format="html"),
        nodes.raw("", draw_for_latex(chapters, titles), format="latex"),
        table,
    ]


# The head of a chapter


def glance(book, docname, conditions):
    """Return what stands below a chapter's title; `conditions` are the paragraphs that say what else one needs."""
    slug = docname.removeprefix("book/")
    if slug not in book.slugs():
        raise TeachingError(f"{docname}: {{at-a-glance}} belongs on the page of a chapter")
    data = read_data(book.root)
    slugs, points = book.slugs(), book.exercises(slug)
    read = reading_minutes(*count(book.env.get_doctree(docname)), data["rates"])
    in_order = book.env.toctree_includes.get(docname, [])
    names = sorted(
        book.notebooks(slug),
        key=lambda name: [*in_order, f"notebooks/{name}"].index(f"notebooks/{name}"),
    )
    run = book.running_minutes(names)

    links = [
        link(book, docname, name, "", notebook_label(book, name), folder="notebooks")
        for name in names
    ]
    time = "not measured yet" if run is None else say_minutes(run)
    fields = [
        ("Read", [nodes.Text(say_long(read))]),
        ("Run", [nodes.Text(f"{time}: "), *joined(links, "; ")] if links else [nodes.Text("–")]),
        (
            "Solve",
            [nodes.Text(f"{say_hours(sum(points) * data['rates']['minutes_per_point'])} for ")]
            + [nodes.reference("", f"{len(points)} exercises", refuri="#exercises", internal=True)]
            if points
            else [nodes.Text("–")],
        ),
    ]
    check_prerequisites(data["chapter"], slugs)
    facts = data["chapter"][slug]
    for name, others in (("Builds on", facts.get("needs")), ("Helped by", facts.get("helps"))):
        if others:
            chapters = [
                link(book, docname, other, "", f"{int(other[:2])} {book.title(other)}")
                for other in others
            ]
            fields.append((name, joined(chapters)))
    field_list = nodes.field_list(classes=["at-a-glance"])
    for name, content in fields:
        body = nodes.field_body("", nodes.paragraph("", "", *content))
        field_list += nodes.field("", nodes.field_name("", name), body)
    field_list += nodes.field(
        "", nodes.field_name("", "You need"), nodes.field_body("", *conditions)
    )
    share = 100 * (slugs.index(slug) + 1) / len(slugs)
    place = (
        f'<p class="chapter-place">Chapter {int(slug[:2])} of {len(slugs)}'
        f'<span style="--share: {share:.0f}%"></span></p>'
    )
    return [nodes.raw("", place, format="html"), field_list]


def notebook_label(book, name):
    """Return what comes after the colon or question mark in a notebook's title, or, where there is none, "notebook"."""
    title = book.env.titles[f"notebooks/{name}"].astext()
    _, _, rest = re.sub("[?] ", ": ", title, count=1).partition(": ")
    # A capital that is not the first of an abbreviation is that of a sentence.
    return (rest[0].lower() + rest[1:] if rest[1:2].islower() else rest) or "notebook"


def say_long(minutes):
    """Return minutes as minutes, or, from an hour on, as hours to the nearest quarter."""
    hours, quarters = divmod(round(minutes / 15), 4)
    if hours == 0:
        return say_minutes(minutes)
    return f"{hours}{' ¼½¾'[quarters].strip()}{NO_BREAK_SPACE}h"


# Directives: each leaves a mark, which is replaced when all pages have been read.


class Mark(nodes.General, nodes.Element):
    """The place of a table that can be made only when all pages have been read."""


class Teaching(SphinxDirective):
    """What the three directives share."""

    def mark(self, **facts):
        for name in (DATA, "book/results.json"):
            self.env.note_dependency(name)
        for slug in chapter_slugs(self.env):
            self.env.note_dependency(f"book/{slug}.md")
            self.env.note_dependency(f"notebooks/exercises/{slug}/{slug}.ipynb")
        return [Mark("", kind=self.name, **facts)]

    def run(self):
        return self.mark()


class AtAGlance(Teaching):
    """The head of a chapter; the content says what one needs besides other chapters."""

    has_content = True

    def run(self):
        if not self.content:
            raise self.error("{at-a-glance} needs a content: what readers need to know")
        [mark] = self.mark()
        self.state.nested_parse(self.content, self.content_offset, mark)
        return [mark]


class Syllabus(Teaching):
    """The table of one course."""

    required_arguments = 1

    def run(self):
        if not self.arguments[0].isdigit():
            raise self.error(f"write {{syllabus}} WEEKS, not {self.arguments[0]!r}")
        return self.mark(weeks=int(self.arguments[0]))


def page_of(node, docname):
    """Return the page on which a node stands: `docname`, or that of which it is a part where all are one document."""
    while node is not None:
        if "docname" in getattr(
            node, "attributes", {}
        ):  # Sphinx gives it to sections of such a document
            return node["docname"]
        node = node.parent
    return docname


def fill(app, doctree, docname):
    """Put the tables into the places that the directives have marked."""
    for mark in list(doctree.findall(Mark)):
        book = Book(app.env)
        if mark["kind"] == "workload":
            new = [workload_table(book, docname)]
        elif mark["kind"] == "syllabus":
            new = [syllabus_table(book, docname, mark["weeks"])]
        elif mark["kind"] == "at-a-glance":
            new = glance(book, page_of(mark, docname), mark.children)
        else:
            new = prerequisites_nodes(book, docname)
        mark.replace_self(new)


def setup(app):
    """Register the directives with Sphinx."""
    app.add_node(Mark)
    app.add_directive("at-a-glance", AtAGlance)
    app.add_directive("workload", Teaching)
    app.add_directive("prerequisites", Teaching)
    app.add_directive("syllabus", Syllabus)
    app.connect("doctree-resolved", fill)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
