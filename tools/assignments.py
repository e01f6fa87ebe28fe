"""Write the student version of every exercise notebook: ``make assignments``.

The one source of an exercise is notebooks/exercises/SLUG/SLUG.ipynb, with solutions and hidden
tests. nbgrader's own ``generate_assignment`` makes the student version from it, in a temporary
course directory. This script then checks what nbgrader does not: that nothing of a solution or of
a hidden test is left anywhere in the file, and that every answer cell is a stub. A misspelt marker,
which nbgrader would hand to the students in silence, stops it here.

Either all notebooks are written to _build/assignments/SLUG/SLUG.ipynb or, with a message that names
the cell, none. The same sources give the same bytes.
"""

import argparse
import json
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

import nbformat
from nbgrader.apps.api import NbGraderAPI
from nbgrader.coursedir import CourseDirectory
from traitlets.config import Config

# nbgrader starts `alembic` by name: it has to be this environment's, activated or not.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ROOT / "notebooks" / "exercises"
STUBS = {"code": "raise NotImplementedError()", "markdown": "YOUR ANSWER HERE"}
BLOCKS = {"answer": "SOLUTION", "tests": "HIDDEN TESTS"}
BLOCK = re.compile(r"### BEGIN (SOLUTION|HIDDEN TESTS)\n(.*?)### END \1", re.DOTALL)
MARKER = re.compile(r"#\s*(BEGIN|END)\b|\bHIDDEN\s+TEST|\b(BEGIN|END)\s+SOLUTION", re.IGNORECASE)
SHORTEST_SECRET = 17  # characters: shorter lines, such as `assert_allclose(`, give nothing away


def nbgrader_api(course):
    """nbgrader's API for the course directory `course`; no configuration file is read."""
    config = Config()
    config.CourseDirectory.root = str(course)
    config.NbGraderAPI.log_level = "ERROR"
    return NbGraderAPI(CourseDirectory(config=config), config=config)


def generate(course, slug):
    """Make the student version of course/source/SLUG; return the path of its notebook."""
    result = nbgrader_api(course).generate_assignment(slug)
    if not result["success"]:
        raise ValueError(f"{slug}: nbgrader failed:\n{result.get('log') or result['error']}")
    return Path(course, "release", slug, f"{slug}.ipynb")


def role(cell):
    """What the cell is to nbgrader: "answer", "tests", or None (also if it is only locked)."""
    metadata = cell.metadata.get("nbgrader", {})
    return "answer" if metadata.get("solution") else "tests" if metadata.get("grade") else None


def secrets(cell):
    """The lines of a source cell that no student may see: its blocks; of an essay, all of it."""
    essay = role(cell) == "answer" and cell.cell_type == "markdown"
    text = cell.source if essay else "\n".join(block[2] for block in BLOCK.finditer(cell.source))
    return [line.strip() for line in text.splitlines() if line.strip()]


def check_source(cell):
    """Raise ValueError if an answer cell has no solution, or a test cell no hidden or visible test."""
    if role(cell) and not secrets(cell):
        name = BLOCKS[role(cell)]
        raise ValueError(f"the source has no block ### BEGIN {name} … ### END {name}")
    if role(cell) == "tests" and not BLOCK.sub("", cell.source).strip():
        raise ValueError("only hidden tests: the reader needs a visible test too")


def check_student(cell):
    """Raise ValueError if a student's cell has a marker, an output, or an answer for a stub."""
    if marker := MARKER.search(cell.source):
        raise ValueError(f"the student version has {marker[0]!r}; is a marker misspelt?")
    if role(cell) == "answer" and STUBS[cell.cell_type] not in cell.source:
        raise ValueError(f"the student version has no stub {STUBS[cell.cell_type]!r}")
    if cell.get("outputs") or cell.get("execution_count"):
        raise ValueError("the student version has stored outputs")


def check(source, student):
    """Raise ValueError, naming the cell, if the notebook at `student` gives anything away."""
    text = student.read_text(encoding="utf-8")
    for path, check_cell in ((source, check_source), (student, check_student)):
        for cell in nbformat.read(path, as_version=4).cells:
            try:
                check_cell(cell)
                for line in secrets(cell) if path == source else ():
                    as_stored = json.dumps(line, ensure_ascii=False)[1:-1]
                    if len(line) >= SHORTEST_SECRET and as_stored in text:
                        raise ValueError(f"a line of this block is in the student version: {line}")
            except ValueError as problem:
                name = cell.metadata.get("nbgrader", {}).get("grade_id", cell.id)
                raise ValueError(f"{source.name}, cell {name}: {problem}") from None


def build(sources, output):
    """Write the student version of all notebooks sources/SLUG/SLUG.ipynb below `output`, or none."""
    notebooks = sorted(sources.glob("*/*.ipynb"))
    for path in notebooks:
        if path.stem != path.parent.name:
            raise ValueError(f"{path} should be {path.with_stem(path.parent.name)}")
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".assignments-") as course:
        for path in notebooks:
            shutil.copytree(path.parent, Path(course, "source", path.stem))
            check(path, generate(course, path.stem))
        shutil.rmtree(output, ignore_errors=True)
        Path(course, "release").rename(output)
    return [output / path.stem / path.name for path in notebooks]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=ROOT / "_build" / "assignments")
    try:
        print(*build(SOURCES, parser.parse_args().output), sep="\n")
    except ValueError as problem:
        sys.exit(f"make assignments: {problem}")
