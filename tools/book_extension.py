"""The book's own Sphinx extension.

- ``{glue:figure} ../notebooks/NAME.ipynb::KEY`` quotes a figure that is stored in a notebook (MyST-NB's own
  directive finds figures of the same page only).
- ``{exercises} SLUG`` lists the exercises of a chapter and links the students' notebook.
- ``{history}`` renders the dates of ``src/dlbook/datasets/history.csv`` as a table with their sources.
- ``{results}`` renders ``book/results.json`` as tables.
- A figure that is a drawing gets a class, by which the pages show it light on dark at night.
- Every image of a notebook gets the text that ``dlbook.figure(..., alt=...)`` stored with it; one without a text
  is a warning, and `make book` treats warnings as errors.
- Chapter ``03-...`` has the number 3, also while chapters 1 and 2 are unwritten.
- The Colab button is switched on where the repository is known.
- The pages are mended for readers who hear them.
- The Chinese characters of the pages come from a font that is served with them.
"""

import hashlib
import json
import re
import shutil
from base64 import b64decode
from functools import cache
from io import BytesIO
from pathlib import Path
from statistics import mean, stdev

from bundle_data import FONT, WIDE, font_bytes, subset_font, wide_characters
from colab import SITE_BRANCH, find_repository
from dlbook import data
from docutils import nodes
from fontTools.ttLib import TTFont
from myst_nb.ext.glue.utils import PendingGlueReference
from PIL import Image
from sphinx.directives.patches import Figure
from sphinx.errors import ConfigError
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

logger = logging.getLogger(__name__)
NO_BREAK_SPACE = "\N{NO-BREAK SPACE}"


# Figures of notebooks


def stored_images(path):
    """Yield ``(cell number, figure name, alt, file name, bytes, size)`` of each PNG image stored in a notebook.

    The file name is the one that MyST-NB gives to the image.
    """
    notebook = json.loads(Path(path).read_text(encoding="utf-8"))
    for number, cell in enumerate(notebook["cells"], start=1):
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                metadata = output["metadata"]
                content = b64decode("".join(output["data"]["image/png"]))
                file_name = hashlib.sha256(content).hexdigest() + ".png"
                figure_name = metadata.get("scrapbook", {}).get("name")
                yield (
                    number,
                    figure_name,
                    metadata.get("alt", ""),
                    file_name,
                    content,
                    metadata.get("image/png", {}),
                )


def is_drawing(png):
    """Return whether less than 15 % of an image is darker than its paper.

    Curves, points and labels are; photographs and grids of digits are not. At night the pages change the lightness of
    drawings only, because a negative of a photograph is another image.
    """
    with Image.open(BytesIO(png)) as image:
        counts = image.convert("L").histogram()
    return sum(counts[:235]) < 0.15 * sum(counts)


def describe_notebook_images(app, doctree):
    """Give each image of a notebook page its stored text, and warn of one without."""
    path = app.env.doc2path(app.env.docname)
    if not path.endswith(".ipynb"):
        return
    alts, drawings = {}, set()
    for number, figure_name, alt, file_name, content, _ in stored_images(path):
        alts[file_name] = alt
        if is_drawing(content):
            drawings.add(file_name)
        if not alt.strip():
            logger.warning(
                "%s: figure %r in cell %d has no alt text; show it with dlbook.figure(name, figure, alt=...)",
                app.env.docname,
                figure_name,
                number,
                location=app.env.docname,
            )
    for image in doctree.findall(nodes.image):
        image["alt"] = image.get("alt") or alts.get(Path(image["uri"]).name, "")
        if Path(image["uri"]).name in drawings:
            image["classes"].append("drawing")


class GlueFigure(Figure):
    """A numbered figure whose image and alternative text are stored in a notebook."""

    def run(self):
        path, separator, name = self.arguments[0].partition("::")
        if not separator:
            raise self.error(
                f"write {{glue:figure}} ../notebooks/NAME.ipynb::KEY, not {self.arguments[0]!r}"
            )
        env = self.state.document.settings.env
        relative_path, full_path = env.relfn2path(path, env.docname)
        if not Path(full_path).is_file():
            raise self.error(f"no notebook {relative_path}")
        env.note_dependency(relative_path)
        images = {image[1]: image for image in stored_images(full_path)}
        if name not in images:
            raise self.error(
                f"no figure {name!r} in {relative_path}; it has {sorted(filter(None, images))}"
            )
        _, _, alt, file_name, content, size = images[name]
        folder = (
            Path(env.app.outdir).parent / "jupyter_execute"
        )  # where MyST-NB writes the same image
        folder.mkdir(exist_ok=True)
        (folder / file_name).write_bytes(content)
        self.arguments[0] = "/" + (folder / file_name).relative_to(env.srcdir).as_posix()
        self.options.setdefault("alt", alt)
        if "width" in size:
            self.options.setdefault("width", str(size["width"]))
        if is_drawing(content):
            self.options["class"] = [*self.options.get("class", []), "drawing"]
        return super().run()


def note_quoted_notebooks(app, doctree):
    """Build a page anew when a notebook changes whose numbers it quotes."""
    for reference in doctree.findall(PendingGlueReference):
        app.env.note_dependency(app.env.doc2path(reference.refdoc, base=False))


# Exercises


def read_exercises(path):
    """Return ``(title, points)`` of each exercise of a source notebook."""
    exercises = []
    for cell in json.loads(Path(path).read_text(encoding="utf-8"))["cells"]:
        heading = re.search(r"^## Exercise \d+: (.+)$", "".join(cell["source"]), flags=re.MULTILINE)
        if cell["cell_type"] == "markdown" and heading:
            exercises.append([heading[1].strip(), 0])
        nbgrader = cell["metadata"].get("nbgrader", {})
        if nbgrader.get("grade"):
            if not exercises:
                raise ValueError(
                    f"{path}: a graded cell stands before the first '## Exercise N: title'"
                )
            exercises[-1][1] += nbgrader["points"]
    return exercises


class Exercises(SphinxDirective):
    """The list of a chapter's exercises, and the notebook to solve them in."""

    required_arguments = 1

    def run(self):
        slug = self.arguments[0]
        root = Path(self.env.srcdir)
        source = f"notebooks/exercises/{slug}/{slug}.ipynb"
        student = f"_build/assignments/{slug}/{slug}.ipynb"
        if not (root / source).is_file():
            raise self.error(f"no exercises {source}")
        if not (root / student).is_file():
            raise self.error(f"no students' notebook {student}: run `make assignments`")
        self.env.note_dependency(source)

        exercises = read_exercises(root / source)
        if not exercises:
            raise self.error(f"no heading '## Exercise N: title' in {source}")
        lines = [
            f"{n}. {title} ({points:g} {'point' if points == 1 else 'points'})"
            for n, (title, points) in enumerate(exercises, start=1)
        ]

        link_target = f"exercises/{slug}.ipynb"  # copy_student_notebooks puts it there
        to_site_root = "../" * self.env.docname.count("/")
        links = nodes.paragraph(classes=["site-only"])  # a file beside the pages
        links += nodes.reference(
            "", "Download the exercise notebook", refuri=to_site_root + link_target
        )
        if self.config.book_repository:
            address = colab_address(self.config.book_repository, link_target)
            links += nodes.Text(" or ")
            links += nodes.reference("", "open it in Colab", refuri=address)
        links += nodes.Text(".")
        found = self.parse_text_to_nodes("\n".join(lines))
        for item, (title, _) in zip(found[0], exercises):
            item["ids"].append(nodes.make_id(f"exercise-{title}"))
        return [*found, links]


def copy_student_notebooks(app, exception):
    """Put the students' notebooks into the site, as exercises/SLUG.ipynb."""
    if exception is None:
        folder = Path(app.outdir, "exercises")
        folder.mkdir(exist_ok=True)
        for path in Path(app.srcdir).glob("_build/assignments/*/*.ipynb"):
            shutil.copyfile(path, folder / path.name)


# The table of dates


class History(SphinxDirective):
    """The dates of chapter 1 as a table, each with its source."""

    def run(self):
        self.env.note_dependency("src/dlbook/datasets/history.csv")
        rows = [
            f"| {event.date} | {event.event} | {event.people} | {{cite}}`{event.reference}` |"
            for event in data.load("history").events
        ]
        head = ["| date | event | people | source |", "|---|---|---|---|"]
        return self.parse_text_to_nodes("\n".join(head + rows))


# Results


def results_table(slug, result, stored):
    """Return the Markdown table of one notebook; `stored` maps names to the values in the notebook."""
    seconds = result["seconds"]
    rows = []
    for name, number in result["numbers"].items():
        if not number.get("about"):
            continue
        if name not in stored:
            raise ValueError(
                f"book/results.json has {name!r}, but notebooks/{slug}.ipynb does not record it; "
                f"run `make reseed`"
            )

        form = number.get("show", ".3g")
        show = f"{{:{form.replace('d', '.0f')}}}".format
        # The mean of whole numbers need not be one.
        average = f"{{:{form.replace('d', '.1f')}}}".format
        values = number["values"]
        baseline = number.get("baseline")
        if baseline:
            other = result["numbers"][baseline]
            about = f" ({other['about']})" if other.get("about") else ""
            baseline = average(mean(other["values"])) + about
        spread = f" ± {average(stdev(values))}" if len(values) > 1 else ""
        measured = [
            show(stored[name]),
            average(mean(values)) + spread,
            f"{show(min(values))} – {show(max(values))}",
        ]
        row = [
            number["about"],
            *(cell.replace(" ", NO_BREAK_SPACE) for cell in measured),
            baseline or "–",
        ]
        rows.append([cell.replace("|", r"\|") for cell in row])
    count = len(result["seeds"])
    header = [
        "quantity",
        "stored value",
        f"mean ± sd, {count} seeds",
        "smallest – largest",
        "baseline",
    ]
    time = (
        f"{min(seconds):.0f}"
        if round(min(seconds)) == round(max(seconds))
        else f"{min(seconds):.0f}–{max(seconds):.0f}"
    )
    table = [header, ["---"] * len(header), *rows]
    return "\n".join(
        [
            f":::{{table}} {{doc}}`/notebooks/{slug}`: {count} seeds, {time} s for a run",
            f":name: results-{slug}",
            "",
            *("| " + " | ".join(cells) + " |" for cells in table),
            ":::",
        ]
    )


class Results(SphinxDirective):
    """The tables of all recorded numbers."""

    def run(self):
        root = Path(self.env.srcdir)
        source = root / "book/results.json"
        if not source.is_file():
            raise self.error("no book/results.json: run `make reseed`")
        self.env.note_dependency("book/results.json")
        tables = []
        for slug, result in json.loads(source.read_text(encoding="utf-8"))["notebooks"].items():
            self.env.note_dependency(f"notebooks/{slug}.ipynb")
            if not any(number.get("about") for number in result["numbers"].values()):
                continue
            try:
                tables.append(
                    results_table(slug, result, stored_numbers(root / f"notebooks/{slug}.ipynb"))
                )
            except ValueError as problem:
                raise self.error(str(problem)) from problem
        return self.parse_text_to_nodes("\n\n".join(tables))


def stored_numbers(path):
    """Return the numbers that a notebook records, by name."""
    numbers = {}
    for cell in json.loads(Path(path).read_text(encoding="utf-8"))["cells"]:
        for output in cell.get("outputs", []):
            scrapbook = output.get("metadata", {}).get("scrapbook")
            text = output.get("data", {}).get("application/papermill.record/text/plain")
            if scrapbook and text:
                numbers[scrapbook["name"]] = float("".join(text))
    return numbers


# Numbers of chapters


def number_chapters_by_file_name(app, env):
    """Make the chapter number in section, figure and equation numbers that of the file name, ``NN-slug``."""
    for docname, sections in env.toc_secnumbers.items():
        match = re.search(r"/(\d\d)-", docname)
        if not match:
            continue
        if docname.startswith("notebooks/"):  # not a section of the chapter: it has no number
            sections.clear()
            for node in [env.titles[docname], *env.tocs[docname].findall(nodes.reference)]:
                node.attributes.pop("secnumber", None)
        chapter = int(match[1])
        for anchor, number in sections.items():
            if number:
                sections[anchor] = (chapter, *number[1:])
        for node in [env.titles[docname], *env.tocs[docname].findall(nodes.reference)]:
            if node.get("secnumber"):
                node["secnumber"] = [chapter, *node["secnumber"][1:]]
        for numbers in env.toc_fignumbers.get(docname, {}).values():
            for key, number in numbers.items():
                numbers[key] = (chapter, *number[1:])
    return []


# Colab


def colab_address(repository, path):
    """Return the address under which Colab opens a notebook of the published site."""
    return f"https://colab.research.google.com/github/{repository}/blob/{SITE_BRANCH}/colab/{path}"


def show_colab_button(app, config):
    """Let the theme's launch button lead to the copies that tools/colab.py writes into the site."""
    try:
        repository = find_repository()
    except ValueError as problem:
        raise ConfigError(str(problem)) from problem
    config.book_repository = repository
    if repository:
        config.html_theme_options |= {
            "repository_url": f"https://github.com/{repository}",
            "repository_branch": SITE_BRANCH,
            "path_to_docs": "colab",
            "launch_buttons": {"colab_url": "https://colab.research.google.com"},
        }


# Links that are shared


def name_site(app, pagename, templatename, context, doctree):
    """Tell the template under which address GitHub publishes the site, which cards of shared links need."""
    repository = app.config.book_repository
    if repository:
        owner, name = repository.split("/")
        context["site_address"] = f"https://{owner.lower()}.github.io/{name}/"


# Accessibility


def make_accessible(app, pagename, templatename, context, doctree):
    """Mend what axe-core finds wrong in the HTML that docutils, pandas and the theme write."""
    if "body" in context:
        # docutils gives the entries of a bibliography a role that ARIA has withdrawn; they stand in a role="list".
        context["body"] = context["body"].replace('role="doc-biblioentry"', 'role="listitem"')
        # The corner of a pandas table is not the heading of anything.
        context["body"] = context["body"].replace("<th></th>", "<td></td>")

    if "generate_toctree_html" not in context:
        return  # an EPUB has no sidebar
        context["body"] = re.sub(
            r"<thead.*?</thead>",
            lambda head: re.sub(r"<th(?=[ >])(?![^>]*scope=)", '<th scope="col"', head[0]),
            context["body"],
            flags=re.DOTALL,
        )

    # The arrows that open a chapter in the sidebar have no name.
    write_toctree = context["generate_toctree_html"]

    def write_named_toctree(*arguments, **options):
        html = str(write_toctree(*arguments, **options))
        return re.sub(
            r"(?s)>([^<>]+)</a>(\s*<details[^>]*>\s*)<summary>",
            r'>\1</a>\2<summary aria-label="Notebooks of \1">',
            html,
        )

    context["generate_toctree_html"] = write_named_toctree


# Chinese characters


@cache
def font_characters():
    """Return the characters that the bundled font has, as a set."""
    with TTFont(FONT) as font:
        return set(map(chr, font.getBestCmap()))


def mark_chinese(app, pagename, templatename, context, doctree):
    """Say of the Chinese in code and its output, where an author cannot, that it is; warn of what would be a box."""
    body = context.get("body", "")
    missing = wide_characters(body) - font_characters()
    if missing:
        logger.warning(
            "%s: the bundled font has no %s; CONTRIBUTING.md says how to add characters",
            pagename,
            " ".join(f"{character} (U+{ord(character):04X})" for character in sorted(missing)),
            location=pagename,
        )
    if "body" in context:
        context["body"] = re.sub(
            r"<pre.*?</pre>|<table border.*?</table>",  # pandas writes such tables
            lambda block: re.sub(f"[{WIDE}]+", r'<span lang="zh">\g<0></span>', block[0]),
            body,
            flags=re.DOTALL,
        )


def write_page_font(app, exception):
    """Write the font of the pages, _static/dlbook-han.woff: the characters of all pages of the site, and no others.

    The pages are read from the site, because a build that finds some of them unchanged does not write them again.
    """
    if exception is not None or app.builder.format != "html":
        return
    texts = (path.read_text(encoding="utf-8") for path in Path(app.outdir).rglob("*.*html"))
    characters = set().union(*map(wide_characters, texts))
    if not characters:
        return  # no page will ask for it
    with TTFont(FONT, recalcTimestamp=False) as font:
        subset_font(font, characters).flavor = "woff"
        content = font_bytes(font)
    path = Path(app.outdir, "_static/dlbook-han.woff")
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)


def setup(app):
    """Register everything with Sphinx."""
    app.setup_extension("myst_nb")
    app.add_directive_to_domain("glue", "figure", GlueFigure, override=True)
    app.add_directive("exercises", Exercises)
    app.add_directive("history", History)
    app.add_directive("results", Results)
    app.add_config_value(
        "book_repository", None, "env"
    )  # "env": read all pages again when it changes
    app.connect("config-inited", show_colab_button)
    app.connect("build-finished", copy_student_notebooks)
    app.connect("build-finished", write_page_font)
    app.connect("doctree-read", describe_notebook_images)
    app.connect("doctree-read", note_quoted_notebooks)
    # Later than Sphinx's and the theme's own handlers, which have the default priority, 500.
    app.connect("html-page-context", name_site)
    app.connect("html-page-context", make_accessible, priority=900)
    app.connect("html-page-context", mark_chinese, priority=900)
    app.connect("env-get-updated", number_chapters_by_file_name, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
