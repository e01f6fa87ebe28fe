"""Find a Chromium for the tests of the site, or install one."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

COMMANDS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ADVICE = """\
The tests of the site need Chromium and none was found or could be installed. Get one in any of these ways:
  Debian:         apt-get install chromium libatomic1
  elsewhere:      python -m playwright install --with-deps chromium
  already there:  set CHROMIUM to the path of the program (Chromium, Chrome or Edge)"""


def installed_chromium():
    """Return the path of a Chromium that is there, or None."""
    named = os.environ.get("CHROMIUM")
    if named:
        if not shutil.which(named):
            raise FileNotFoundError(f"CHROMIUM is {named!r}, which is not a program")
        return shutil.which(named)
    for command in COMMANDS:
        if shutil.which(command):
            return shutil.which(command)
    return playwright_chromium()


def playwright_chromium():
    """Return the path of the Chromium that Playwright has installed for itself, or None."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if Path(path).is_file() else None


def install_chromium():
    """Try to install Chromium, with Playwright and, as root on Debian or Ubuntu, with apt-get."""
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    # Installing the system libraries that the browser needs asks for root.
    attempts = [
        [
            sys.executable,
            "-m",
            "playwright",
            "install",
            *(["--with-deps"] if root else []),
            "chromium",
        ]
    ]
    if root and shutil.which("apt-get"):
        attempts += [["apt-get", "update"], ["apt-get", "install", "-y", "chromium"]]
    for command in attempts:
        print("Chromium is missing; trying:", " ".join(command), file=sys.stderr, flush=True)
        if subprocess.run(command, stdout=sys.stderr).returncode == 0 and installed_chromium():
            return


def find_chromium():
    """Return the path of a Chromium, installing one if need be.

    Raises FileNotFoundError, saying how to get one, if there is none and none can be installed.
    """
    path = installed_chromium()
    if path is None:
        install_chromium()
        path = installed_chromium()
    if path is None:
        raise FileNotFoundError(ADVICE)
    return path


if __name__ == "__main__":
    print(find_chromium())
