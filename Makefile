# Each target calls a standard tool or a short script in tools/. `make help` lists the targets.
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help book epub pdf test lint audit read lab notebooks reseed bench assignments clean

BIN := .venv/bin
NB ?=
SEEDS ?= 5
PORT ?= 8000
WORKERS ?= 2
# In this order, because the browser's event loop would be in the way of tests that come after it.
TESTS := $(filter-out tests/test_site.py,$(wildcard tests/test_*.py)) notebooks tests/test_site.py

# The front page, one with much mathematics, and one with many figures.
AUDITED := book/index.html book/04-convolutional.html notebooks/02-concepts.html

book: .venv/installed assignments ## build the HTML book from the stored outputs of the notebooks
	@# From nothing, because Sphinx repeats no warning about a page that it finds unchanged.
	@rm -rf _build/html _build/.doctrees _build/jupyter_execute
	$(BIN)/jupyter-book build . -q -W -n --keep-going
	$(BIN)/python tools/colab.py
	@echo "The book is at file://$(CURDIR)/_build/html/index.html"

epub: .venv/installed assignments ## build the book as an EPUB, and check it with epubcheck
	@rm -rf _build/epub _build/.doctrees _build/jupyter_execute
	$(BIN)/jupyter-book build . -q -W -n --keep-going --builder custom --custom-builder epub
	$(BIN)/python tools/epub_book.py

pdf: .venv/installed assignments ## build the book as one PDF with XeLaTeX
	@$(BIN)/python tools/pdf.py --check
	@rm -rf _build/latex _build/.doctrees _build/jupyter_execute
	$(BIN)/jupyter-book build . -q -W -n --keep-going --builder custom --custom-builder latex
	$(BIN)/python tools/pdf.py

test: .venv/installed .venv/lighthouse/installed lint book ## check everything: lint, package, notebooks, book, site
	@# Alone, because what a page takes is measured.
	$(BIN)/python tools/audit.py $(AUDITED)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadscope --no-loadscope-reorder --nbval --nbval-current-env --nbval-cell-timeout=600 $(TESTS)

audit: .venv/lighthouse/installed book ## measure every page with Lighthouse, which takes a quarter of an hour
	$(BIN)/python tools/audit.py

lint: .venv/installed ## check the style of code and notebooks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

read: .venv/installed ## serve the book and open it in a browser (PORT=8000)
	@test -f _build/html/index.html || $(MAKE) book
	@(sleep 1; $(BIN)/python -m webbrowser http://127.0.0.1:$(PORT)/ >/dev/null) &
	$(BIN)/python -m http.server $(PORT) --bind 127.0.0.1 --directory _build/html

lab: .venv/installed ## open the notebooks in JupyterLab
	$(BIN)/jupyter lab --notebook-dir=notebooks --LabApp.news_url=None --LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate

notebooks: .venv/installed ## execute the notebooks from clean kernels and store their outputs (NB=03: one chapter)
	$(BIN)/python tools/notebooks.py store $(NB)

reseed: .venv/installed ## run the notebooks under several seeds and write book/results.json (SEEDS=5, NB=03)
	$(BIN)/python tools/notebooks.py reseed $(NB) --seeds $(SEEDS)

bench: .venv/installed ## measure the engine beside Keras
	$(BIN)/python tools/bench.py

assignments: .venv/installed ## write the students' version of the exercises to _build/assignments
	$(BIN)/python tools/assignments.py

clean: ## remove everything that was built, except the environment .venv
	rm -rf _build build src/*.egg-info .hypothesis .pytest_cache .ruff_cache

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv/installed: requirements.txt pyproject.toml tools/environment.sh
	sh tools/environment.sh

.venv/lighthouse/installed: tools/audit/package.json tools/audit/package-lock.json | .venv/installed
	rm -rf .venv/lighthouse
	mkdir .venv/lighthouse
	cp tools/audit/package.json tools/audit/package-lock.json .venv/lighthouse
	cd .venv/lighthouse && ../bin/npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	touch $@
