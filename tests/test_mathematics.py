"""Formulas: whether LaTeX becomes the right MathML, mistakes are warnings, and the font has what formulas need."""

import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import mathematics
import pytest
from fontTools.ttLib import TTFont

ROOT = Path(__file__).resolve().parents[1]


def tree(latex, display=False):
    return ElementTree.fromstring(mathematics.to_mathml(latex, display))


def text(element):
    """What is seen: without spaces, and without signs that have no shape."""
    return re.sub(r"[\s\u2061-\u2064\ufe00]", "", "".join(element.itertext()))


@pytest.mark.parametrize(
    ("latex", "seen"),
    [
        (r"w_1 x_1 + b \ge 0", "w1x1+b≥0"),
        (r"\mathbf{x}^\top\boldsymbol{\mu}", "𝐱⊤𝝁"),
        (r"\mathcal{L} = -\frac1N \sum_{i=1}^N \ln P_i", "ℒ=−1N∑i=1NlnPi"),
        (r"\mathbb{E}\bigl[x\mid y\bigr]", "𝔼[x∣y]"),
        (r"10{,}000 \times \text{two words}", "10,000×twowords"),
        (r"a < b \,\&\, c > d", "a<b&c>d"),
    ],
)
def test_text_of_a_formula(latex, seen):
    assert text(tree(latex)) == seen


def test_structure_of_a_formula():
    fraction = tree(r"\frac{\partial u}{\partial w}").find("mfrac")
    assert [text(part) for part in fraction] == ["∂u", "∂w"]
    root = tree(r"\sqrt{v + \epsilon}").find("msqrt")
    assert text(root) == "v+ϵ"
    brace = tree(r"\underbrace{\mathbf{Z}}_{N\times n}", display=True).find("munder")
    assert [text(part) for part in brace] == ["𝐙⏟", "N×n"]
    limits = tree(r"\sum_{i=1}^N x_i", display=True)
    assert limits.get("display") == "block"
    assert [text(part) for part in limits.find("munderover")] == ["∑", "i=1", "N"]
    assert tree("x").get("display") != "block"


@pytest.mark.parametrize(
    ("latex", "rows"),
    [
        (r"\begin{aligned} a &= b \\ &= c \end{aligned}", [["a", "=b"], ["", "=c"]]),
        (r"a &= b \\ &= c", [["a", "=b"], ["", "=c"]]),
        ("a = b\n\nc = d", [["a=b"], ["c=d"]]),
        (r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}", [["1", "2"], ["3", "4"]]),
    ],
)
def test_lines_of_a_formula(latex, rows):
    (table,) = tree(latex, display=True).iter("mtable")
    assert [[text(cell) for cell in row] for row in table] == rows


def test_bracket_of_a_set_size_keeps_it_below_an_exponent():
    (power,) = tree(r"\Bigl(\frac ab\Bigr)^2").iter("msup")
    assert [part.tag for part in power] == ["mrow", "mn"]
    assert float(power.find("mrow/mo").get("minsize").removesuffix("em")) > 1.5


def test_formulas_are_xml_without_names_of_characters():
    mathml = mathematics.to_mathml(r"\operatorname{softmax}(x) < \ln 2", False)
    ElementTree.fromstring(mathml)
    assert set(re.findall(r"&(\w+);", mathml)) <= {"lt", "gt", "amp", "quot"}


def test_punctuation_stays_with_its_formula():
    span = '<span class="math notranslate nohighlight"><math><mi>x</mi></math></span>'
    context = {"body": f"<p>Let {span}, as ({span}) says, be {span} or so.</p>"}
    mathematics.keep_punctuation(None, "page", "page.html", context, None)
    assert context["body"] == (
        f'<p>Let <span class="unbroken">{span},</span> as <span class="unbroken">({span})</span> says, be {span} or so.</p>'
    )


@pytest.mark.parametrize(
    ("latex", "message"),
    [
        (r"\begin{smallmatrix}1\end{smallmatrix}", "smallmatrix"),
        (r"\nosuchcommand x", "nosuchcommand"),
        (r"\frac{1", "."),
        (r"\begin{align}a&=b\end{align}", r"align\*"),
    ],
)
def test_what_is_not_understood_is_said(latex, message):
    with pytest.raises(ValueError, match=message):
        mathematics.to_mathml(latex, True)


def test_characters_are_those_that_a_browser_draws():
    # The CSS property text-transform: math-auto, in the MathML Core specification.
    assert mathematics.characters("<math><mi>x</mi><mi>θ</mi><mi>h</mi></math>") == set("𝑥𝜃ℎ")
    assert mathematics.characters("<mi>ϕ</mi><mi>ϵ</mi><mi>∂</mi><mi>Φ</mi>") == set("𝜙𝜖𝜕𝛷")
    assert mathematics.characters('<mi mathvariant="normal">x</mi>') == {"x"}
    assert mathematics.characters("<mi>max</mi><mo>&lt;</mo><mn>0</mn>") == set("max<0")
    assert mathematics.characters("<mi>𝐱</mi><mo>\u2061</mo><mo>\xa0</mo>") == {"𝐱"}


PAGE = """\
Title
=====

Inline :math:`x_1 < 2` and a reference to :eq:`one`.

.. math:: a = \\frac12
   :label: one

.. math:: \\begin{gather*} p \\\\ q \\end{gather*}
   :nowrap:

Second
------

.. math:: b = 1 \\\\ c = 2
   :label: two
"""
WRONG = """\
:orphan:

Wrong
=====

Fine: :math:`x`.

An unknown command: :math:`\\nosuchcommand`.

.. math:: y = \\aleph

.. math:: \\frac{1
"""


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """A function that builds pages with Sphinx and returns what it said, and the folder of the site."""

    def build(**pages):
        source = tmp_path_factory.mktemp("source")
        for name, content in pages.items():
            (source / f"{name}.rst").write_text(content, encoding="utf-8")
        options = [
            "extensions=mathematics",
            "numfig=1",
            "math_numfig=1",
            "html_math_renderer=mathml",
        ]
        command = [sys.executable, "-m", "sphinx", "-q", "-C", str(source), str(source / "site")]
        for option in options:
            command += ["-D", option]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            cwd=ROOT / "tools",
            env={"PATH": "", "PYTHONPATH": "."},
        )
        return done.stdout + done.stderr, source / "site"

    return build


def test_page_with_formulas(build):
    said, site = build(index=PAGE)
    assert said == ""
    page = (site / "index.html").read_text(encoding="utf-8")
    formulas = re.findall("<math.*?</math>", page)
    seen = [text(ElementTree.fromstring(formula)) for formula in formulas]
    assert seen == ["x1<2", "a=12", "pq", "b=1c=2"]
    for label, number in (("one", "(1)"), ("two", "(2)")):
        (block,) = re.findall(
            rf'<div class="math[^>]*id="equation-{label}">.*?</div>\n', page, re.DOTALL
        )
        assert f'aria-label="Formula {number}"' in block and 'tabindex="0"' in block
        assert f'<span class="eqno">{number}' in block and f'href="#equation-{label}"' in block
    assert 'href="#equation-one">(1)</a>' in page
    assert "mathematics.css" in page and "MathJax" not in page


def test_mistakes_are_warnings_with_their_place(build):
    said, _ = build(index=WRONG.replace(":orphan:\n\n", ""))
    warnings = [line for line in said.splitlines() if "WARNING" in line]
    assert len(warnings) == 3
    for line, (number, part) in zip(
        warnings, [(6, "nosuchcommand"), (8, "U+2135"), (10, "frac{1")]
    ):
        assert re.search(rf"index\.rst:{number}: WARNING: formula", line) and part in line


# The font


@pytest.fixture(scope="module")
def font():
    with TTFont(mathematics.FONT) as font:
        yield font


def test_font_has_a_name_of_its_own_and_its_licence(font):
    names = {name.nameID: str(name) for name in font["name"].names}
    assert names[1] == mathematics.FONT_FAMILY
    assert not re.search("stix", names[1] + names[4] + names[6], flags=re.IGNORECASE)
    licence = (mathematics.FONT.parent / "OFL.txt").read_text(encoding="utf-8")
    assert names[0] in licence and "PERMISSION & CONDITIONS" in licence
    assert mathematics.FONT.name in licence
    style = (ROOT / "book/_static/mathematics.css").read_text(encoding="utf-8")
    assert f'font-family: "{mathematics.FONT_FAMILY}"' in style
    assert f'url("fonts/{mathematics.FONT.name}")' in style


def test_font_is_small_and_knows_mathematics(font):
    assert mathematics.FONT.stat().st_size < 60_000
    assert font.flavor == "woff2" and "MATH" in font
    characters = font.getBestCmap()
    variants = font["MATH"].table.MathVariants
    for coverage, constructions, signs in (
        (variants.VertGlyphCoverage, variants.VertGlyphConstruction, "()[]{}|‖⌈⌉⌊⌋√∑∏∫"),
        (variants.HorizGlyphCoverage, variants.HorizGlyphConstruction, "⏟\u0332"),
    ):
        found = dict(zip(coverage.glyphs, constructions))
        for sign in signs:
            sizes = found[characters[ord(sign)]].MathGlyphVariantRecord
            lengths = [size.AdvanceMeasurement for size in sizes]
            assert lengths == sorted(set(lengths)) and len(lengths) > 1, sign
            assert all(size.VariantGlyph in font.getGlyphOrder() for size in sizes)


def test_font_has_whole_alphabets(font):
    characters = set(map(chr, font.getBestCmap()))
    assert set(map(chr, range(0x1D44E, 0x1D468))) - {chr(0x1D455)} <= characters  # italic a to z
    assert "ℎ" in characters
    assert set(map(chr, range(0x1D6FC, 0x1D715))) <= characters  # italic α to ω
    assert set(map(chr, range(0x1D400, 0x1D434))) <= characters  # bold A to z
    assert set("ABCabc0123αωΓΩ+−=<>≤≥∈∇∂∑∫∞→′") <= characters
