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
no buttons, as on paper, the explanations stand below their options.
"""

from string import ascii_uppercase

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

VERDICTS = {True: "Right.", False: "No."}


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
            button = f'<input type="{kind}" name="{name}" id="{identity}" autocomplete="off">'
            verdict = nodes.strong("", VERDICTS[marked])
            explanation.insert(0, [verdict, nodes.Text(" ")])
            classes = ["quiz-answer", "quiz-right" if marked else "quiz-wrong"]
            answer = nodes.container("", explanation, classes=classes)
            opening = f'<div class="quiz-option">{button}<label for="{identity}">'
            found += [
                nodes.raw("", opening, format="html"),
                # The letter is for talking about an option, and for tools that see no text in a formula.
                nodes.inline("", "", nodes.Text(letter), *label.children),
                nodes.raw("", '</label><div role="status">', format="html"),
                answer,
                nodes.raw("", "</div></div>", format="html"),
            ]
        return [*found, nodes.raw("", "</div>", format="html")]

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


def words(node):
    """The text of a node without the box that stands for [ ] or [x]."""
    texts = (text for text in node.findall(nodes.Text) if not isinstance(text.parent, nodes.raw))
    return "".join(texts).strip()[:60]


def setup(app):
    app.add_directive("question", Question)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
