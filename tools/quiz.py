"""Sphinx extension: questions with explained answers.

    :::{question}
    How many parameters has a dense layer of 3 units on 4 inputs?

    - [ ] 12

      The biases are missing.
    - [x] 15

      $4\\cdot3$ weights and 3 biases.
    :::

becomes a group of buttons, each of which shows its explanation when it is chosen: round ones if one option is right,
square ones if several are. It works without a script and with the keyboard, since the browser does it; where there are
no buttons, as on paper, the explanations stand below their options. In a PDF or an EPUB the questions of a section are
numbered lists, and the answers stand after the last one.
"""

from html import escape
from string import ascii_uppercase

from docutils import nodes
from site_search import math_text
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.docutils import SphinxDirective

VERDICTS = {True: "Right.", False: "No."}
SITES = {"html", "dirhtml", "singlehtml"}  # the builders whose pages have buttons


class Quiz(nodes.General, nodes.Element):
    """One question, as a site shows it."""


class Question(SphinxDirective):
    """A question, and a list of options that begin with ``[ ]`` or ``[x]``, each with a paragraph that explains it."""

    has_content = True

    def run(self):
        content = nodes.Element()
        self.state.nested_parse(self.content, self.content_offset, content)
        if len(content) < 2 or not isinstance(content[-1], nodes.bullet_list):
            raise self.error("a question needs a text and, below it, a list of options")
        options = [self.option(item) for item in content[-1]]
        right = sum(marked for marked, _, _ in options)
        if not 0 < right < len(options):
            raise self.error(
                f"a question needs right and wrong options; this one has {right} right of {len(options)}"
            )
        kind = "radio" if right == 1 else "checkbox"
        # From the text, so that a link to a question stays when another one is put before it.
        slug = nodes.make_id(content[0].astext())[:60].rpartition("-")[0]
        name = f"question-{slug}"
        text = nodes.container("", *content[:-1], classes=["quiz-question"], ids=[f"{name}-text"])
        start = f'<div class="quiz" role="group" aria-labelledby="{name}-text">'
        found = [nodes.raw("", start, format="html"), text]
        if right > 1:
            text += nodes.paragraph("", "Choose all that are right.", classes=["quiz-several"])
        for letter, (marked, label, explanation) in zip(ascii_uppercase, options):
            identity = f"{name}-{letter}"
            named = ""
            if any(
                label.findall(nodes.math)
            ):  # of which a browser makes nothing when it names a button
                named = f' aria-label="{escape(f"{letter}. {spoken(label).strip()}")}"'
            button = (
                f'<input type="{kind}" name="{name}" id="{identity}" autocomplete="off"{named}>'
            )
            verdict = nodes.strong("", VERDICTS[marked])
            explanation.insert(0, [verdict, nodes.Text(" ")])
            classes = ["quiz-answer", "quiz-right" if marked else "quiz-wrong"]
            answer = nodes.container("", explanation, classes=classes)
            opening = f'<div class="quiz-option">{button}<label for="{identity}">'
            found += [
                nodes.raw("", opening, format="html"),
                # The letter is for talking about an option.
                nodes.inline(
                    "",
                    "",
                    nodes.inline("", letter, classes=["quiz-letter"]),
                    *label.children,
                ),
                nodes.raw("", '</label><div role="status">', format="html"),
                answer,
                nodes.raw("", "</div></div>", format="html"),
            ]
        return [Quiz("", *found, nodes.raw("", "</div>", format="html"))]

    def option(self, item):
        """Whether an item of the list is right, its text, and its explanation."""
        if len(item) != 2 or not all(isinstance(part, nodes.paragraph) for part in item):
            raise self.error(
                f"an option is a paragraph and, indented below it, one that explains it; "
                f"this is not: {words(item)!r}"
            )
        label, explanation = item
        # MyST's task lists make a box of the mark.
        box = label[0] if label.children else None
        if not (isinstance(box, nodes.raw) and 'type="checkbox"' in box.astext()):
            raise self.error(
                f"an option begins with [ ] or [x]; this one does not: {words(label)!r}"
            )
        label.remove(box)
        return "checked" in box.astext(), label, explanation


def spoken(node):
    """The text of a node, with formulas as text."""
    if isinstance(node, nodes.math):
        return math_text(node.astext())
    return "".join(map(spoken, node.children)) if node.children else node.astext()


def words(node):
    """The text of a node without the box that stands for [ ] or [x]."""
    texts = (text for text in node.findall(nodes.Text) if not isinstance(text.parent, nodes.raw))
    return "".join(texts).strip()[:60]


def letters(*items):
    """A list A, B, C."""
    return nodes.enumerated_list("", *items, enumtype="upperalpha", prefix="", suffix=".")


def numbered(number, *content):
    """A list of one item with this number."""
    item = nodes.list_item("", *content)
    return nodes.enumerated_list(
        "", item, enumtype="arabic", prefix="", suffix=".", start=number, classes=["quiz-number"]
    )


class PlainQuestions(SphinxPostTransform):
    """Write the questions of a section as lists, and their answers after the last one, where there are no buttons."""

    default_priority = 4  # before whatever looks at lists

    def is_supported(self):
        return self.app.builder.name not in SITES

    def run(self, **kwargs):
        sections = {}  # in the order of the document; a node is no key
        for quiz in list(self.document.findall(Quiz)):
            sections.setdefault(id(quiz.parent), (quiz.parent, []))[1].append(quiz)
        for section, quizzes in sections.values():
            answers = nodes.container("", classes=["quiz-answers"])
            for number, quiz in enumerate(quizzes, start=1):
                text, *parts = (part for part in quiz if not isinstance(part, nodes.raw))
                options, explanations = parts[::2], parts[1::2]
                # Without the letter, which the list has.
                labels = [nodes.paragraph("", "", *option.children[1:]) for option in options]
                question = [*text.children, letters(*(nodes.list_item("", p) for p in labels))]
                found = (nodes.list_item("", *explanation.children) for explanation in explanations)
                last = numbered(number, *question)
                quiz.replace_self(last)
                answers += numbered(number, letters(*found))
            # Not at the end of the section, where the name of the next one may stand.
            place = section.index(last) + 1
            section[place:place] = [nodes.rubric("", "Answers"), answers]


def leave(translator, node):
    """Write nothing but what the node contains."""


def setup(app):
    app.add_node(Quiz, html=(leave, leave))
    app.add_directive("question", Question)
    app.add_post_transform(PlainQuestions)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
