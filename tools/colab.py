"""Write the Colab copies of the notebooks into the built site.

`make book` runs this after Jupyter Book. It puts into _build/html/colab/ the wheel of the package dlbook and a copy of
each notebook, in which a first code cell installs that wheel. The address of the wheel follows from the repository:
the site is published on its branch gh-pages. Two environment variables decide:

BOOK_REPOSITORY   owner/name on GitHub; without it the git remote "origin" is used if it is on GitHub.
                  Set but empty, it says that no repository is known.
BOOK_SITE         the address under which the site is served, instead of the GitHub one (for tests)
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[1]
SITE_BRANCH = "gh-pages"

INSTALL_CELL = """\
# In Colab, this installs the book's helper package; elsewhere it does nothing.
# Colab keeps the versions of NumPy, Keras and TensorFlow that it has.
import sys

if "google.colab" in sys.modules:
    %pip install --quiet {wheel}"""


def find_repository(root=ROOT):
    """Return the book's GitHub repository as ``owner/name``, or None where none is known.

    Raises ValueError if BOOK_REPOSITORY is set to something else than ``owner/name``.
    """
    name = os.environ.get("BOOK_REPOSITORY")
    if name is not None:
        if name and not re.fullmatch(r"[A-Za-z0-9-]+/[A-Za-z0-9._-]+", name):
            raise ValueError(
                f"BOOK_REPOSITORY must be owner/name of a GitHub repository, not {name!r}"
            )
        return name or None
    try:
        remote = subprocess.run(
            ["git", "-C", root, "remote", "get-url", "origin"], capture_output=True, text=True
        )
    except FileNotFoundError:  # git is not installed
        return None
    match = re.fullmatch(
        r"(?:https://|(?:ssh://)?git@)github\.com[/:]([^/]+/[^/]+?)(?:\.git)?/?",
        remote.stdout.strip(),
    )
    return match[1] if match else None


def site_address():
    """Return the address of the published site, without a slash at the end, or None where it is not known."""
    site = os.environ.get("BOOK_SITE")
    if site:
        return site.rstrip("/")
    repository = find_repository()
    return f"https://raw.githubusercontent.com/{repository}/{SITE_BRANCH}" if repository else None


def build_wheel(folder):
    """Build the wheel of dlbook into `folder`, offline, and return its path."""
    with tempfile.TemporaryDirectory() as copy:
        # From a copy: setuptools keeps what it finds in an old build folder, also files that are gone.
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, copy)
        shutil.copytree(
            ROOT / "src",
            Path(copy, "src"),
            ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"),
        )
        command = [
            sys.executable,
            "-m",
            "pip",
            "--disable-pip-version-check",
            "wheel",
            "--quiet",
            "--no-deps",
            "--no-build-isolation",
            "--no-index",
            "--wheel-dir",
            str(folder),
            copy,
        ]
        subprocess.run(command, check=True)
    (wheel,) = folder.glob("dlbook-*.whl")
    return wheel


def with_install_cell(notebook, wheel):
    """Return a notebook with the install cell before its first code cell; `wheel` is what pip installs."""
    cell = nbformat.v4.new_code_cell(INSTALL_CELL.format(wheel=wheel), id="install-dlbook")
    if notebook.nbformat_minor < 5:
        del cell["id"]
    kinds = [cell.cell_type for cell in notebook.cells]
    notebook.cells.insert(kinds.index("code") if "code" in kinds else len(kinds), cell)
    return notebook


def main():
    """Write the wheel and the copies, or say why not."""
    try:
        site = site_address()
    except ValueError as problem:
        sys.exit(str(problem))
    colab = ROOT / "_build/html/colab"
    shutil.rmtree(colab, ignore_errors=True)
    if site is None:
        print(
            "No Colab copies: set BOOK_REPOSITORY=owner/name, or give the clone an origin on GitHub."
        )
        return
    (colab / "notebooks").mkdir(parents=True)
    (colab / "exercises").mkdir()
    wheel_address = f"{site}/colab/{build_wheel(colab).name}"
    sources = {path: colab / "notebooks" / path.name for path in ROOT.glob("notebooks/*.ipynb")}
    sources |= {
        path: colab / "exercises" / path.name for path in ROOT.glob("_build/assignments/*/*.ipynb")
    }
    for source, copy in sources.items():
        # Chapter 8 uses libraries that Colab does not have.
        extra = source.parent.name == "notebooks" and source.name.startswith("08-")
        wheel = f'"dlbook[chapter8] @ {wheel_address}"' if extra else wheel_address
        nbformat.write(with_install_cell(nbformat.read(source, as_version=4), wheel), copy)
    print(f"Colab copies: {len(sources)} notebooks and the wheel {wheel_address}")


if __name__ == "__main__":
    main()
