"""Run XeLaTeX on what Sphinx has written to _build/latex, and read its log.

`make pdf` runs this. It stops with the offending lines where a character is in no font, a reference leads nowhere, a
font was replaced by another, or a line is more than 10 points too wide. With --check it only looks whether all is installed that it needs.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "_build/latex"
NAME = "deep-learning-with-python"
PACKAGES = (
    "texlive-xetex texlive-latex-extra texlive-fonts-recommended texlive-plain-generic "
    "fonts-texgyre fonts-texgyre-math fonts-dejavu-core"
)
FONTS = ["texgyrepagella-regular.otf", "texgyrepagella-math.otf", "pzdr.tfm"]
TOO_WIDE = 10  # points
RUNS = 5  # the table of contents, the references and the widths of long tables need three

OVERFULL = re.compile(
    r"^Overfull \\hbox \((?P<points>[\d.]+)pt too wide\) .*?(?:lines? (?P<line>\d+).*)?$"
)
PROBLEMS = [
    (re.compile(r"^(?:! |\S+\.(?:tex|sty|aux|toc|out):\d+: )"), "error"),
    (re.compile(r"^Missing character: (?!There is no   \(U\+0020\))"), "no glyph"),
    (
        re.compile(r"^LaTeX Warning: (?:Hyper reference|Reference|Citation) .* undefined"),
        "unresolved",
    ),
    (re.compile(r"^LaTeX Warning: Label .* multiply defined"), "label given twice"),
    (re.compile(r"^LaTeX Font Warning: (?!Size substitutions)"), "font replaced"),
    (re.compile(r"^xdvipdfmx:warning: Object @\S+ not defined"), "link to nowhere"),
]


def find_missing():
    """Return what `make pdf` needs and this computer has not."""
    missing = [program for program in ("xelatex", "kpsewhich") if not shutil.which(program)]
    if not missing:
        found = subprocess.run(["kpsewhich", *FONTS], capture_output=True, text=True).stdout
        missing = [font for font in FONTS if font not in found]
    return missing


def read_log(log, source=""):
    """Return what is wrong in a log whose lines were not broken, as a list of lines.

    `source` is the text that LaTeX read; it tells in which page of the book a line that is too wide stands.
    """
    pages = pages_of_lines(source)
    found = []
    for line in log.splitlines():
        overfull = OVERFULL.match(line)
        if overfull and float(overfull["points"]) > TOO_WIDE:
            number = int(overfull["line"] or 0)
            page = pages[min(number, len(pages)) - 1] if number and pages else ""
            found.append(f"too wide: {page or 'unknown page'}: {line}")
        for pattern, name in PROBLEMS:
            if pattern.search(line):
                found.append(f"{name}: {line}")
    return list(dict.fromkeys(found))


def pages_of_lines(source):
    """Return for each line of Sphinx's LaTeX the page of the book that it comes from."""
    page, pages = "", []
    for line in source.splitlines():
        label = re.search(r"\\label\{\\detokenize\{((?:book|notebooks)/[\w-]+)", line)
        page = label[1] if label else page
        pages.append(page)
    return pages


def run_latex():
    """Run XeLaTeX, and makeindex, until nothing changes any more; return the log and what XeLaTeX said besides."""
    # Without this TeX breaks the lines of its log in the middle of words.
    environment = os.environ | {"max_print_line": "100000"}
    command = ["xelatex", "-interaction=nonstopmode", "-file-line-error", f"{NAME}.tex"]
    notes = None
    for _ in range(RUNS):
        if notes:
            index = ["makeindex", "-q", "-s", "python.ist", f"{NAME}.idx"]
            subprocess.run(index, cwd=FOLDER, check=True)
        before = notes
        said = subprocess.run(
            command, cwd=FOLDER, env=environment, capture_output=True, text=True, errors="replace"
        )
        notes = [
            path.read_bytes()
            for path in sorted(FOLDER.glob(f"{NAME}.*"))
            if path.suffix in (".aux", ".toc", ".out", ".idx")
        ]
        if notes == before:
            break
    log = (FOLDER / f"{NAME}.log").read_text(encoding="utf-8", errors="replace")
    return log, said.stdout + said.stderr


def main():
    missing = find_missing()
    if missing:
        sys.exit(
            f"make pdf needs {', '.join(missing)}, which is not installed. On Debian or Ubuntu:\n"
            f"    apt-get install --no-install-recommends {PACKAGES}"
        )
    if sys.argv[1:] == ["--check"]:
        return
    source = FOLDER / f"{NAME}.tex"
    if not source.is_file():
        sys.exit(f"{source.relative_to(ROOT)} is missing; run `make pdf`, which writes it")
    log, said = run_latex()
    warnings = "\n".join(line for line in said.splitlines() if line.startswith("xdvipdfmx:"))
    problems = read_log(log + "\n" + warnings, source.read_text(encoding="utf-8"))
    if problems:
        sys.exit("\n".join([*problems, f"make pdf: {len(problems)} problems"]))
    target = ROOT / "_build" / f"{NAME}.pdf"
    shutil.copyfile(FOLDER / f"{NAME}.pdf", target)
    pages = re.search(r"Output written on .* \((\d+) pages", log)
    size = target.stat().st_size / 1e6
    print(f"The book is at file://{target}: {pages[1]} pages, {size:.1f} MB")


if __name__ == "__main__":
    main()
