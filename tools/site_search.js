/* The search of the book: tools/site_search.py says what it looks through, and puts this file into language_data.js.

   A query is split into words, and a word is looked for in the text itself: at the beginning of a word, or, if it is
   Chinese or a symbol, anywhere. Entries with all words are shown, the best first; if there are none, those with some. */
"use strict";

const BookSearch = (() => {
  const CHINESE = "\\u3400-\\u9fff\\u{20000}-\\u{323af}";
  const LETTER = "[\\p{L}\\p{N}]";
  const SHOWN = 25; // entries, until the reader asks for more

  const escape = (text) => text.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&");

  // The same text for what a reader takes for the same, and of the same length, so that a place in one is a place in the
  // other: case, accents, dashes, variants of Greek letters, and British and American spelling of -ise.
  const FOLDED = { "ß": "s", "ø": "o", "ł": "l", "æ": "a", "’": "'", "‘": "'", "\u00a0": " ", "µ": "μ", "ϕ": "φ", "ϵ": "ε",
                   "ϑ": "θ", "ς": "σ", "ϱ": "ρ", "ϖ": "π", "–": "-", "—": "-", "‐": "-", "‑": "-", "−": "-" };
  const fold = (text) =>
    text.toLowerCase()
      .replace(/[\u00a0\u00b5\u00c0-\u024f\u1e00-\u1eff\u2010-\u2019\u2212ϕϵϑςϱϖ]/g,
               (letter) => FOLDED[letter] ?? letter.normalize("NFD")[0])
      .replace(/(?<=[a-z]{3})is(?=(?:e|ed|er|ers|es|ing|ation|ations)(?![a-z]))/g, "iz");

  const stemmer = new Stemmer();
  const stems = new Map();
  const stem = (word) => {
    if (!stems.has(word)) stems.set(word, stemmer.stemWord(word.replace(/our/g, "or")));
    return stems.get(word);
  };

  const stemAll = (text) => text.split(" ").map(stem).join(" ");

  // The words of a query. What stands in quotation marks is one.
  const split = (query) => {
    const words = [];
    const form = new RegExp(`"([^"]+)"|([${CHINESE}]+)|([^\\s"${CHINESE}]+)`, "gu");
    for (const [, quoted, chinese, word] of query.replace(/[“”„]/g, '"').matchAll(form)) {
      const found = quoted ?? chinese ?? word.replace(/^[$'‘’,;:!?.()[\]{}<>]+|[$'‘’,;:!?.()[\]{}<>]+$/g, "");
      if (found.trim()) words.push(found.trim());
    }
    const meaning = words.filter((word) => word.includes(" ") || !stopwords.includes(word.toLowerCase()));
    return [...new Set(meaning.length ? meaning : words)];
  };

  // A function that yields [start, end, quality] of each place of a word in a folded text.
  const finder = (word, anywhere = false) => {
    if (/^\\[a-z]+$/i.test(word)) word = SYMBOLS.symbols[word.slice(1)] ?? word.slice(1);
    const folded = fold(word);
    const isWord = /^[a-z]{3,}$/.test(folded);
    const long = folded.length > 2;
    const typed = new RegExp(`^[a-z0-9À-ɏ]`, "u").test(folded);
    // Of an English word, the part that its forms share.
    let shared = folded;
    if (isWord) while (shared.length > 3 && !stem(folded).startsWith(shared)) shared = shared.slice(0, -1);
    let pattern = escape(shared).replace(/ou?r/g, "ou?r");
    if (typed) pattern = (anywhere ? "" : `(?<!${LETTER})`) + pattern;
    if (/[a-z0-9]$/.test(folded)) pattern += `${LETTER}*`;
    const symbol = SYMBOLS.words[folded];
    if (symbol) pattern += `|${symbol}`;
    const regexp = new RegExp(pattern, "gu");

    return function* (text) {
      for (const match of text.matchAll(regexp)) {
        const found = match[0];
        let quality = 0;
        if (found === folded || found === symbol || !typed) quality = 1;
        else if (isWord && stem(found) === stem(folded)) quality = 0.9;
        else if (long && found.startsWith(folded)) quality = 0.3;
        else if (anywhere) quality = 0.2;
        if (quality) yield [match.index, match.index + found.length, quality];
      }
    };
  };

  let entries = null;
  const load = () => {
    entries = [];
    for (const [page, { title: pageTitle, weight, entries: list }] of Object.entries(Search._index.pages))
      for (const [anchor, title, text] of list)
        entries.push({ page, pageTitle, weight, anchor, title, text, foldedTitle: fold(title), foldedText: fold(text) });
  };

  // How well an entry fits the words, and where.
  const rate = (entry, finders, whole, written) => {
    const hits = [];
    let score = 0;
    let met = 0;
    finders.forEach(({ find, rarity }, number) => {
      const inTitle = [...find(entry.foldedTitle)];
      const inText = [...find(entry.foldedText)];
      if (!inTitle.length && !inText.length) return;
      met += 1;
      hits.push(...inText.map(([start, end]) => ({ start, end, number })));
      const sum = inText.reduce((total, [, , quality]) => total + quality, 0);
      const best = Math.max(0, ...inTitle.map(([, , quality]) => quality));
      // Often in a short text says more than often in a long one (BM25's saturation).
      score += rarity * (2 * sum / (sum + 0.4 + entry.text.length / 1500) + 3 * best);
    });
    if (!met) return null;
    // The entry that the query names: a heading, a term of the glossary or its Chinese name.
    const names = entry.foldedTitle.split(/, | \(|\)|: /).map((name) => name.trim());
    if (names.includes(whole)) score += names[0] === whole ? 35 : 30;
    else if (names.some((name) => stemAll(name) === stemAll(whole))) score += 20;
    else if (entry.foldedTitle.startsWith(whole)) score += 6;
    if (entry.title.includes(written)) score += 3; // in the same case: Σ is not σ
    if (finders.length > 1 && entry.foldedText.includes(whole)) score += 4;
    return { entry, hits, met, score: score * entry.weight };
  };

  const search = (query) => {
    if (!entries) load();
    let words = split(query);
    const named = words.length === 1 && /^\\[a-z]+$/i.test(words[0]) && SYMBOLS.symbols[words[0].slice(1)];
    const written = named || SYMBOLS.words[query.trim()] || words.join(" ");
    const whole = fold(written);
    const results = (anywhere) => {
      const finders = words.map((word) => {
        const find = finder(word, anywhere);
        const count = entries.filter((e) => !find(e.foldedText).next().done || !find(e.foldedTitle).next().done).length;
        return { find, rarity: Math.log(1 + entries.length / (1 + count)) };
      });
      return entries.map((entry) => rate(entry, finders, whole, written)).filter((result) => result);
    };
    let found = results(false);
    if (!found.length) {
      // A part of a word, such as Tape of GradientTape; of a run of Chinese, pairs of characters.
      const pairs = (word) => [...word].slice(1).map((character, i) => [...word][i] + character);
      words = words.flatMap((word) => (new RegExp(`^[${CHINESE}]{3,}$`, "u").test(word) ? pairs(word) : [word]));
      found = results(true);
    }
    const complete = found.filter((result) => result.met === words.length);
    if (!complete.length) found.sort((a, b) => b.met - a.met || b.score - a.score);
    else found = complete.sort((a, b) => b.score - a.score);
    return { words, found, complete: complete.length > 0 };
  };

  // Append a text with the places between marks, and say what is Chinese.
  const appendText = (parent, text, marks = []) => {
    let at = 0;
    const put = (piece, element) => {
      for (const part of piece.split(new RegExp(`([${CHINESE}]+)`, "u"))) {
        if (!part) continue;
        const chinese = new RegExp(`^[${CHINESE}]`, "u").test(part);
        const target = chinese ? element.appendChild(document.createElement("span")) : element;
        if (chinese) target.lang = "zh";
        target.append(part);
      }
    };
    for (const { start, end } of marks) {
      if (start < at) continue;
      put(text.slice(at, start), parent);
      put(text.slice(start, end), parent.appendChild(document.createElement("mark")));
      at = end;
    }
    put(text.slice(at), parent);
  };

  // The part of the text with the most words of the query.
  const excerpt = ({ entry, hits }) => {
    hits.sort((a, b) => a.start - b.start);
    const kinds = (from) =>
      new Set(hits.filter((hit) => hit.start >= from && hit.end <= from + 180).map((hit) => hit.number)).size;
    let best = hits[0]?.start ?? 0;
    let most = hits.length ? kinds(best) : 0;
    for (const { start } of hits) if (kinds(start) > most) [best, most] = [start, kinds(start)];
    let from = Math.max(0, best - 60);
    let to = Math.min(entry.text.length, from + 240);
    if (from > 0) from = entry.text.indexOf(" ", from) + 1 || from;
    if (from > best) from = best;
    if (to < entry.text.length) to = Math.max(entry.text.lastIndexOf(" ", to), from + 120);
    const marks = hits.filter((hit) => hit.start >= from && hit.end <= to)
      .map((hit) => ({ start: hit.start - from, end: hit.end - from }));
    return { text: entry.text.slice(from, to), marks, cutFront: from > 0, cutEnd: to < entry.text.length };
  };

  const show = (result) => {
    const { entry } = result;
    const item = document.createElement("li");
    const link = item.appendChild(document.createElement("a"));
    const address = document.documentElement.dataset.content_root + entry.page + DOCUMENTATION_OPTIONS.LINK_SUFFIX;
    link.href = address + (entry.anchor ? `#${entry.anchor}` : "");
    const own = entry.title && entry.anchor;
    appendText(link, own ? entry.title : entry.pageTitle);
    if (own) appendText(item.appendChild(Object.assign(document.createElement("span"), { className: "search-page" })), entry.pageTitle);
    const { text, marks, cutFront, cutEnd } = excerpt(result);
    if (text) {
      const paragraph = item.appendChild(Object.assign(document.createElement("p"), { className: "context" }));
      if (cutFront) paragraph.append("… ");
      appendText(paragraph, text, marks);
      if (cutEnd) paragraph.append(" …");
    }
    return item;
  };

  const run = (query) => {
    const { words, found, complete } = search(query);
    const count = found.length === 1 ? "1 place" : `${found.length} places`;
    Search.stopPulse();
    Search.title.textContent = "Search Results";
    Search.status.setAttribute("role", "status");
    Search.output.replaceChildren();
    const rest = [...found];
    const more = document.createElement("button");
    more.className = "btn search-more";
    const showSome = () => {
      const items = rest.splice(0, SHOWN).map(show);
      Search.output.append(...items);
      more.textContent = `Show ${Math.min(rest.length, SHOWN)} more of ${rest.length}`;
      if (!rest.length) more.remove();
      return items[0];
    };
    more.addEventListener("click", () => showSome().querySelector("a").focus());
    Search.output.after(more);
    showSome();
    if (!found.length) Search.status.textContent = `Nothing has “${query}”.`;
    else if (complete) Search.status.textContent = `Found in ${count}.`;
    else Search.status.textContent = `Nothing has all of ${words.join(", ")}; ${count} with some of them.`;
  };

  return { fold, split, finder, search, run };
})();

if (typeof Search !== "undefined") Search.query = BookSearch.run;
