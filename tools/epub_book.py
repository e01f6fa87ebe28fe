"""Sphinx extension: the book as an EPUB, a file for reading devices.

Sphinx's own builder writes it; here is what that leaves open. A page takes the style sheets that are made for an EPUB and
no script, what only a site has is left out, and formulas and the cover are declared as what they are.

``python tools/epub_book.py`` puts the built file through epubcheck, where that is installed, and says where it is.
"""

import os
import posixpath
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree

import book_extension
from docutils import nodes
from sphinx.builders.epub3 import Epub3Builder
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx_design.dropdown import dropdown_main

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "_build/epub"
COVER = ROOT / "book/epub/cover.png"
STYLES = ["pygments.css", "mathematics.css", "dlbook-epub.css"]
# What a reading device needs of the folder _static, which has the site's scripts and pictures as well.
KEPT = re.compile(rf"{'|'.join(STYLES)}|dlbook-han\.woff|fonts/[\w-]+\.woff2|{COVER.name}")
NAMESPACES = {
    "math": "http://www.w3.org/1998/Math/MathML",
    "svg": "http://www.w3.org/2000/svg",
}
OPF = "http://www.idpf.org/2007/opf"


class BookEpub(Epub3Builder):
    """An EPUB without what belongs to a site."""

    html_tag = Epub3Builder.html_tag.replace(">", ' lang="en" xml:lang="en">')
    media_types = Epub3Builder.media_types | {".woff": "font/woff", ".woff2": "font/woff2"}

    def init(self):
        self.config.templates_path = []  # those of the site
        self.config.pygments_style = "a11y-high-contrast-light"  # that of the site
        self.config.version = version("dlbook")
        self.config.epub_cover = (f"_static/{COVER.name}", "epub-cover.html")
        super().init()

    def add_css_file(self, filename, **attributes):
        if filename in STYLES:
            super().add_css_file(filename, **attributes)

    def add_js_file(self, filename, **attributes):
        """Leave a script out."""

    def get_toc(self):
        super().get_toc()
        for page in self.refnodes:  # Sphinx writes book/../notebooks/NAME
            page["refuri"] = posixpath.normpath(page["refuri"])

    def build_toc(self):
        super().build_toc()
        path = Path(self.outdir, "toc.ncx")
        ncx = path.read_text(encoding="utf-8")
        uid, identifier = self.config.epub_uid, self.config.epub_identifier
        # Sphinx writes where the identifier stands instead of the identifier.
        path.write_text(ncx.replace(f'content="{uid}"', f'content="{identifier}"'), "utf-8")

    def handle_finish(self):
        book_extension.write_page_font(self.app, None)
        static = Path(self.outdir, "_static")
        for path in static.rglob("*"):
            if path.is_file() and not KEPT.fullmatch(path.relative_to(static).as_posix()):
                path.unlink()
        shutil.copy(COVER, static)
        super().handle_finish()

    def build_content(self):
        """Write the list of the files, and say which have formulas or drawings, and which is the cover."""
        super().build_content()
        path = Path(self.outdir, "content.opf")
        ElementTree.register_namespace("", OPF)
        ElementTree.register_namespace("dc", "http://purl.org/dc/elements/1.1/")
        package = ElementTree.parse(path)
        metadata = package.find(f"{{{OPF}}}metadata")
        for element in list(metadata):  # Sphinx writes what nobody has said as well
            if not (element.text or element.get("content")):
                metadata.remove(element)
        for item in package.iter(f"{{{OPF}}}item"):
            properties = item.get("properties", "").split()
            if item.get("href").endswith(".xhtml") and item.get("id") != "nav":
                page = Path(self.outdir, item.get("href")).read_text(encoding="utf-8")
                marks = {"mathml": "<math", "svg": "<svg"}
                properties += [name for name, mark in marks.items() if mark in page]
            elif item.get("href") == f"_static/{COVER.name}":
                properties.append("cover-image")
            if properties:
                item.set("properties", " ".join(properties))
        package.write(path, encoding="utf-8", xml_declaration=True)


class LeaveOutSite(SphinxPostTransform):
    """Take away what only a site has, and open what is closed there."""

    builders = ("epub",)
    default_priority = 300  # after sphinx-design has made its boxes

    def run(self, **kwargs):
        for node in list(self.document.findall(nodes.Element)):
            if "site-only" in node.get("classes", []) and node.parent:
                node.parent.remove(node)
        for dropdown in self.document.findall(dropdown_main):
            dropdown["opened"] = True


def make_xhtml(app, pagename, templatename, context, doctree):
    """Write formulas and drawings as XML wants them."""
    if app.builder.name == "epub" and "body" in context:
        body = re.sub("<math.*?</math>", older_mathml, context["body"], flags=re.DOTALL)
        for tag, namespace in NAMESPACES.items():
            opening = re.compile(rf"<{tag}(?![^>]*xmlns)(?=[\s>])")
            body = opening.sub(f'<{tag} xmlns="{namespace}"', body)
        context["body"] = body


def older_mathml(formula):
    """Write a formula in MathML 3, which EPUB asks for: the size of a fraction is said around it."""
    tree = ElementTree.fromstring(formula[0])
    for parent in list(tree.iter()):
        for place, child in enumerate(parent):
            if child.tag == "mtable":
                child.attrib.pop("scriptlevel", None)
            elif child.tag == "mfrac" and "displaystyle" in child.attrib:
                parent[place] = style = ElementTree.Element("mstyle", child.attrib)
                child.attrib = {}
                style.append(child)
    return ElementTree.tostring(tree, encoding="unicode")


def setup(app):
    app.connect("html-page-context", make_xhtml, priority=950)
    app.add_builder(BookEpub, override=True)
    app.add_post_transform(LeaveOutSite)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def check(path):
    """Put an EPUB through epubcheck; return whether it is without fault, or None where there is no epubcheck."""
    program = shutil.which("epubcheck")
    if program is None:
        return None
    # Debian's command is a Java archive, which not every system starts.
    command = ["java", "-jar", program] if zipfile.is_zipfile(program) else [program]
    done = subprocess.run([*command, "--failonwarnings", str(path)], env=os.environ)
    return done.returncode == 0


if __name__ == "__main__":
    (book,) = FOLDER.glob("*.epub")
    clean = check(book)
    if clean is None:
        print("NOT checked: epubcheck is not installed (on Debian: apt install epubcheck).")
    elif not clean:
        sys.exit(f"{book} has the faults that stand above")
    print(f"The book is at file://{book} ({book.stat().st_size / 1e6:.1f} MB)")
