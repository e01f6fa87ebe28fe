"""Measure pages of the built book with Lighthouse: its mobile preset, on a host that compresses as a static host does.

    .venv/bin/python tools/audit.py                              # every page
    .venv/bin/python tools/audit.py book/index.html              # one page

It prints a table and exits with 1 if a page misses a limit. Lighthouse lies in .venv/lighthouse, where `make` puts it.

The performance of a page is computed by Lighthouse for a slow telephone ("simulated throttling"), but from what
the page takes on this computer, so it falls while the computer does something else. A page that misses its limit is
therefore measured twice more, and the median counts.
"""

import argparse
import functools
import gzip
import http.server
import json
import os
import re
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from statistics import median

from chromium import find_chromium

ROOT = Path(__file__).resolve().parents[1]
HTML = ROOT / "_build/html"
BIN = ROOT / ".venv/bin"
LIGHTHOUSE = ROOT / ".venv/lighthouse/node_modules/lighthouse/cli/index.js"
CATEGORIES = ("performance", "accessibility", "best-practices", "seo")
COMPRESSED = (".html", ".css", ".js", ".json", ".svg", ".txt", ".xml")  # others are already
MANY_FIGURES = 5  # a notebook page with at least so many may be a little slower


class StaticHost(http.server.SimpleHTTPRequestHandler):
    """Serves files as GitHub Pages and its like do: compressed with gzip, over connections that stay open."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or the end of an answer would wait for 40 ms
    wbufsize = -1

    def do_GET(self):
        path = Path(self.translate_path(self.path))
        if path.is_dir():
            path /= "index.html"
        if not path.is_file():
            return self.send_error(404)
        content, packed = packed_file(path, path.stat().st_mtime_ns)
        self.send_response(200)
        self.send_header("Content-Type", self.guess_type(path))
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "max-age=600")
        self.send_header("Last-Modified", self.date_time_string(path.stat().st_mtime))
        self.send_header("Vary", "Accept-Encoding")
        if packed:
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments):
        pass


@functools.cache
def packed_file(path, changed):
    """Return the bytes that are sent for a file, and whether they are compressed; `changed` keeps the cache true."""
    content = path.read_bytes()
    if path.suffix in COMPRESSED:
        return gzip.compress(content, 6), True
    return content, False


@contextmanager
def serve(folder=HTML):
    """Serve a folder, and yield the address."""
    handler = functools.partial(StaticHost, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def book_pages():
    """Return the paths of the pages of the book, from the folder of the site; chapters and notebooks are among them."""
    pages = sorted(
        path.relative_to(HTML).as_posix()
        for folder in ("book", "notebooks")
        for path in HTML.glob(f"{folder}/*.html")
    )
    if not pages:
        raise FileNotFoundError(f"no page in {HTML}: run `make book` first")
    return pages


@dataclass
class Measure:
    """What Lighthouse says of a page; `weight` is in KiB, compressed, of everything but images."""

    performance: float
    accessibility: float
    best_practices: float
    seo: float
    shift: float
    weight: float


def run_lighthouse(address, chromium):
    """Run Lighthouse once on an address and return its report as a dictionary."""
    if not LIGHTHOUSE.is_file():
        raise FileNotFoundError(f"no {LIGHTHOUSE}: run `make .venv/lighthouse/installed`")
    command = [
        BIN / "node",
        LIGHTHOUSE,
        address,
        "--output=json",
        "--quiet",
        "--no-enable-error-reporting",
        "--disable-full-page-screenshot",  # which is for the eye
        f"--only-categories={','.join(CATEGORIES)}",
        "--chrome-flags=--headless=new --no-sandbox",  # the sandbox does not work for root
    ]
    run = subprocess.run(
        command, env=os.environ | {"CHROME_PATH": chromium}, capture_output=True, text=True
    )
    if run.returncode != 0:
        raise RuntimeError(f"Lighthouse failed on {address}:\n{run.stderr[-2000:]}")
    report = json.loads(run.stdout)
    if report.get("runtimeError"):
        raise RuntimeError(f"Lighthouse failed on {address}: {report['runtimeError']['message']}")
    return report


def read_report(report):
    """Return the Measure in a report."""
    audits = report["audits"]
    requests = audits["network-requests"]["details"]["items"]
    weight = sum(item["transferSize"] for item in requests if item["resourceType"] != "Image")
    return Measure(
        *(report["categories"][name]["score"] for name in CATEGORIES),
        shift=audits["cumulative-layout-shift"]["numericValue"],
        weight=weight / 1024,
    )


def limits(path):
    """Return the Measure of a page that just passes: scores at least so high, shift and weight at most."""
    text = (HTML / path).read_text(encoding="utf-8")
    many_figures = path.startswith("notebooks/") and text.count("<img") >= MANY_FIGURES
    # The weight is promised for chapters only.
    weight = 200 if re.match(r"book/\d\d-", path) else float("inf")
    return Measure(0.90 if many_figures else 0.95, 1, 1, 0.95, 0.02, weight)


def misses(measure, limit):
    """Return a sentence for each limit that is missed."""
    names = {"shift": "layout shift", "weight": "weight without images (KiB)"}
    found = []
    for name, bound in vars(limit).items():
        value = getattr(measure, name)
        if value > bound if name in names else value < bound:
            relation = "at most" if name in names else "at least"
            found.append(f"{names.get(name, name)} is {value:.3g}, expected {relation} {bound:g}")
    return found


def audit_page(path, address, chromium, keep=None):
    """Measure a page: once, and twice more if it misses a limit; the medians count.

    `keep`, if given, is a folder for the reports of the first run, which https://googlechrome.github.io/lighthouse/viewer
    shows.
    """
    limit = limits(path)
    runs = []
    while len(runs) < 3:
        report = run_lighthouse(address + path, chromium)
        if keep and not runs:
            Path(keep, path.replace("/", "-") + ".json").write_text(json.dumps(report))
        runs.append(astuple(read_report(report)))
        if len(runs) == 1 and not misses(Measure(*runs[0]), limit):
            break
    return Measure(*map(median, zip(*runs)))


HEAD = f"{'page':44}  perf  acc.  best   SEO  shift   KiB"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("pages", nargs="*", help="such as book/index.html; every page if none")
    parser.add_argument("--keep", help="a folder for Lighthouse's reports")
    arguments = parser.parse_args()
    known = book_pages()
    for path in arguments.pages:
        if not (HTML / path).is_file():
            parser.error(f"no page {path!r} in {HTML}; there is, for example, {known[0]!r}")
    if arguments.keep:
        Path(arguments.keep).mkdir(parents=True, exist_ok=True)
    chromium = find_chromium()
    failed = 0
    print(HEAD, flush=True)
    with serve() as address:
        for path in arguments.pages or known:
            measure = audit_page(path, address, chromium, arguments.keep)
            scores = "".join(f"{score:6.2f}" for score in astuple(measure)[:4])
            print(f"{path:44}{scores}{measure.shift:7.3f}{measure.weight:6.0f}", flush=True)
            for miss in misses(measure, limits(path)):
                failed += 1
                print(f"    {miss}", flush=True)
    print(f"{failed or 'no'} limit{'s' * (failed != 1)} missed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
