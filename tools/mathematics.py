"""Sphinx extension: formulas become MathML while the book is built, so that a page needs no script for them.

math-core converts the LaTeX.
A formula that it cannot convert, or with a character that the font of the formulas has not, is a warning with its
place, and `make book` treats warnings as errors.

``python tools/mathematics.py --font FOLDER`` makes that font, book/_static/fonts/dlbook-math.woff2, from the one that
`npm pack @fontsource/stix-two-math` fetched, unpacked below FOLDER: the letters and signs named here, and what the pages
in _build/html use beside. The same input gives the same bytes.
"""

import html
import re
import sys
import unicodedata
from functools import cache
from pathlib import Path

from bundle_data import find, font_bytes
from docutils import nodes
from fontTools import subset
from fontTools.pens.recordingPen import DecomposingRecordingPen
from fontTools.pens.transformPen import TransformPen
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib import TTFont
from fontTools.ttLib.tables import otTables
from math_core import LatexError, LatexToMathML
from sphinx.locale import _
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number

ROOT = Path(__file__).resolve().parents[1]
FONT = ROOT / "book/_static/fonts/dlbook-math.woff2"
FONT_FAMILY = "dlbook Math"

logger = logging.getLogger(__name__)
# Without colours, which a log would show as codes.
converter = LatexToMathML(fancy_error=False)


# Formulas


@cache
def to_mathml(latex, display):
    """Return the MathML of a formula; ValueError says what of it is not understood."""
    numbered = re.search(r"\\begin\{(align|alignat|equation|gather|multline)\}", latex)
    if numbered:
        raise ValueError(
            f"{numbered[0]} would count for itself; write \\begin{{{numbered[1]}*}}, or $$ ... $$ (label)"
        )
    if display:
        latex = one_formula(latex)
    try:
        mathml = converter.convert_with_local_state(latex, displaystyle=display)
    except LatexError as problem:
        raise ValueError(str(problem)) from problem
    # The font's brackets are hardly lower than that, and a browser would take the next size.
    mathml = mathml.replace('minsize="1.2em" maxsize="1.2em"', 'minsize="1.18em" maxsize="1.18em"')
    # In Chromium, a bracket of a set size keeps it as the base of an exponent only inside of a row.
    mathml = re.sub(
        r"(<msu[bp](?:sup)?>)(<mo [^<>]*minsize[^<>]*>[^<>]*</mo>)", r"\1<mrow>\2</mrow>", mathml
    )
    # One number, and a sign that is no difference, also where they are spoken.
    mathml = re.sub(r'(?<=\d)</mn><mo rspace="0">,</mo><mn>(?=\d{3}\b)', ",", mathml)
    mathml = re.sub(r"(<mo[^<>]*>,</mo>)<mo>−</mo>", r'\1<mo form="prefix">−</mo>', mathml)
    # An EPUB knows no names of characters but those of XML.
    return re.sub(r"&(?!amp;|lt;|gt;|quot;)\w+;", lambda name: html.unescape(name[0]), mathml)


def one_formula(latex):
    """Lines without an environment become one, as Sphinx does it for LaTeX: `\\\\` ends a line, an empty one as well."""
    parts = [part.strip() for part in re.split(r"\n\s*\n", latex) if part.strip()]
    lines = r" \\ ".join(parts)
    if r"\\" in re.sub(r"\\begin\{(\w+\*?)\}.*?\\end\{\1\}", "", lines, flags=re.DOTALL):
        return rf"\begin{{aligned}}{lines}\end{{aligned}}"
    return lines


def characters(mathml):
    """The characters that a browser draws for a formula, as a set."""
    drawn = set()
    for tag, attributes, text in re.findall(r"<(\w+)([^<>]*)>([^<>]+)<", mathml):
        text = html.unescape(text).strip()
        # One letter alone is a variable: browsers take its italic form from the mathematical alphabets.
        italic = tag == "mi" and len(text) == 1 and "mathvariant" not in attributes
        drawn |= {italics(text)} if italic else set(text)
    # Spaces and marks without a shape need no glyph.
    return {c for c in drawn if unicodedata.category(c) not in {"Cf", "Zs", "Mn"} or c == "\u0332"}


def italics(letter):
    """The italic form of a letter, or the character itself where Unicode has none."""
    if letter == "h":
        return "\N{PLANCK CONSTANT}"  # where the italic alphabet has a gap
    return ITALIC.get(letter, letter)


def alphabet(name):
    """The mathematical letters, Latin and Greek, whose Unicode names begin so, by the plain letter."""
    letters = {}
    for character in map(chr, range(0x1D400, 0x1D7CC)):
        kind = rf"MATHEMATICAL {name} (SMALL|CAPITAL|NABLA|PARTIAL|\w+ SYMBOL)"
        if re.match(kind, unicodedata.name(character, "")):
            _, plain = unicodedata.decomposition(character).split()
            letters[chr(int(plain, 16))] = character
    return letters


ITALIC = alphabet("ITALIC")


@cache
def font_characters():
    """Those of the font of the formulas, as a set."""
    with TTFont(FONT) as font:
        return set(map(chr, font.getBestCmap()))


def render(node, display):
    """Return the MathML of a node, and warn of what is wrong with it."""
    latex = node.astext().strip()
    try:
        mathml = to_mathml(latex, display)
    except ValueError as problem:
        logger.warning("formula %r: %s", latex, problem, location=node)
        return ""
    missing = characters(mathml) - font_characters()
    if missing:
        logger.warning(
            "formula %r: the font has no %s; write another sign, or make the font anew (see tools/mathematics.py)",
            latex,
            " ".join(f"{character} (U+{ord(character):04X})" for character in sorted(missing)),
            location=node,
        )
    return mathml


def visit_inline(self, node):
    self.body.append(self.starttag(node, "span", "", CLASS="math notranslate nohighlight"))
    self.body.append(render(node, display=False) + "</span>")
    raise nodes.SkipNode


def visit_display(self, node):
    self.body.append(self.starttag(node, "div", CLASS="math notranslate nohighlight"))
    number, name = "", "Formula"
    if node["number"]:
        number = get_node_equation_number(self, node)
        name += f" ({number})"
    # A formula wider than the page is scrolled, with the keyboard as well: hence the tabindex.
    self.body.append(f'<div class="formula" role="group" aria-label="{name}" tabindex="0">')
    self.body.append(render(node, display=True) + "</div>")
    if number:
        self.body.append(f'<span class="eqno">({number})')
        self.add_permalink_ref(node, _("Link to this equation"))
        self.body.append("</span>")
    self.body.append("</div>\n")
    raise nodes.SkipNode


def keep_punctuation(app, pagename, templatename, context, doctree):
    """Keep a bracket before a formula, and the comma or full stop after it, in the line of the formula."""
    if "body" in context:
        context["body"] = re.sub(
            r'([(“]*)(<span class="math[^"]*"><math.*?</math></span>)([)”’,.;:?]*)',
            lambda found: (
                f'<span class="unbroken">{found[0]}</span>' if found[1] or found[3] else found[0]
            ),
            context["body"],
            flags=re.DOTALL,
        )


def setup(app):
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_display, None))
    app.connect("html-page-context", keep_punctuation)
    app.add_css_file("mathematics.css")
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


# The font

ASCII = "".join(map(chr, range(0x20, 0x7F)))
GREEK = "".join(
    map(
        chr, [*range(0x391, 0x3A2), *range(0x3A3, 0x3AA), *range(0x3B1, 0x3CA), 0x3D1, 0x3D5, 0x3F5]
    )
)
SIGNS = "ℓℝℕℤ∂∇′″…⋯⋮⋱·±×÷−∓∗∘⋅⊙⊕⊗⊤⊥†∈∉∋⊂⊆⊃⊇∪∩∖∅∀∃¬∧∨∞∝≈≠≡≤≥≪≫∼≃≅≜≔→←↔⇒⇐⇔⟹⟺↦↑↓∣∥‖⟨⟩⌈⌉⌊⌋∑∏∫√ˆ˜¯ˇ˙¨→⏞⏟■\u0332\u2061\u2062\u2063"
SCRIPT = "𝒜ℬ𝒞𝒟ℰℱ𝒢ℋℐ𝒥𝒦ℒℳ𝒩𝒪𝒫𝒬ℛ𝒮𝒯𝒰𝒱𝒲𝒳𝒴𝒵"
DIGITS = "𝟎𝟏𝟙𝔼ℙ"


def math_font(path):
    """The part of a font which the formulas need, with the sizes of its brackets, sums and roots."""
    font = TTFont(path, recalcTimestamp=False)
    wanted = set(ASCII + GREEK + SIGNS + SCRIPT + DIGITS + "\N{PLANCK CONSTANT}\N{NO-BREAK SPACE}")
    for name in ("ITALIC", "BOLD", "BOLD ITALIC"):
        wanted |= set(alphabet(name).values())
    for page in (ROOT / "_build/html").rglob("*.html"):
        for formula in re.findall(r"<math.*?</math>", page.read_text(encoding="utf-8"), re.DOTALL):
            wanted |= characters(formula)
    missing = wanted - set(map(chr, font.getBestCmap()))
    if missing:
        sys.exit(
            f"{path} has no {' '.join(sorted(missing))}, which a formula uses; write it otherwise"
        )

    options = subset.Options(hinting=False, layout_features=[], glyph_names=False)
    options.name_IDs = [0, 1, 2, 3, 4, 5, 6, 13, 14]  # with copyright and licence
    options.drop_tables += "GSUB GPOS GDEF".split()
    subsetter = subset.Subsetter(options)
    subsetter.populate(text="".join(sorted(wanted)))
    subsetter.subset(font)
    mend_for_chromium(font)
    # A changed font has a name of its own.
    postscript_name = FONT_FAMILY.replace(" ", "") + "-Regular"
    new_names = {1: FONT_FAMILY, 4: FONT_FAMILY, 6: postscript_name}
    new_names[3] = f"{font['name'].getDebugName(5)};{postscript_name}"
    for name in font["name"].names:
        name.string = new_names.get(name.nameID, str(name))
    return font


def mend_for_chromium(font):
    """Change glyphs whose places in a formula are wrong in Chromium, which has not all that OpenType has."""
    glyphs = font.getBestCmap()
    widths = font["hmtx"]
    # It knows no feature ssty, which would give an exponent a prime that is larger, and near the line.
    for character in "′″":
        glyph = glyphs[ord(character)]
        advance, _ = widths[glyph]
        shift = 90 - 1.5 * font["glyf"][glyph].yMin
        redraw(font, glyph, (1.5, 0, 0, 1.5, 0, shift), round(1.5 * advance))
    variants = font["MATH"].table.MathVariants
    sizes = dict(zip(variants.VertGlyphCoverage.glyphs, variants.VertGlyphConstruction))
    # It makes a bar either of one piece or of two, and so of twice the length: here are the lengths between.
    for character in "|‖":
        glyph = glyphs[ord(character)]
        height = font["glyf"][glyph].yMax - font["glyf"][glyph].yMin
        for power in range(1, 18):
            record = otTables.MathGlyphVariantRecord()
            record.VariantGlyph = f"{glyph}.{power}"
            record.AdvanceMeasurement = round(height * 1.1**power)
            sizes[glyph].MathGlyphVariantRecord.append(record)
            redraw(font, record.VariantGlyph, (1, 0, 0, 1.1**power, 0, 0), widths[glyph][0], glyph)
        sizes[glyph].VariantCount = len(sizes[glyph].MathGlyphVariantRecord)
    # It leaves as much room for a bracket or a root as the widest one of its sizes takes, so they become alike.
    for character, factor in {**dict.fromkeys("()[]{}⌈⌉⌊⌋⟨⟩", 1.25), "√": 1.1}.items():
        glyph = glyphs[ord(character)]
        widest = round(factor * widths[glyph][0])
        larger = {record.VariantGlyph for record in sizes[glyph].MathGlyphVariantRecord}
        if sizes[glyph].GlyphAssembly:
            larger |= {part.glyph for part in sizes[glyph].GlyphAssembly.PartRecords}
        for other in sorted(larger):
            advance, _ = widths[other]
            if advance <= widest:
                continue
            if character == "√":  # its bar begins where it ends
                redraw(font, other, (widest / advance, 0, 0, 1, 0, 0), widest)
            else:
                redraw(font, other, (1, 0, 0, 1, (widest - advance) / 2, 0), widest)


def redraw(font, glyph, transformation, advance, source=None):
    """Give a glyph the outline of a source, or its own, affinely mapped, and a width."""
    simple, outline = DecomposingRecordingPen(font.getGlyphSet()), TTGlyphPen(None)
    font.getGlyphSet()[source or glyph].draw(simple)
    simple.replay(TransformPen(outline, transformation))
    font["glyf"][glyph] = outline.glyph(round)
    font["glyf"][glyph].recalcBounds(font["glyf"])
    font["hmtx"][glyph] = (advance, font["glyf"][glyph].xMin)


def make_font(folder):
    font = math_font(find("stix-two-math-latin-400-normal.woff2", folder))
    font.flavor = "woff2"
    FONT.parent.mkdir(exist_ok=True)
    FONT.write_bytes(font_bytes(font))
    print(
        f"{FONT.relative_to(ROOT)}: {FONT.stat().st_size} bytes, {len(font.getGlyphOrder())} glyphs"
    )


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--font", folder]:
            make_font(folder)
        case _:
            sys.exit(__doc__)
