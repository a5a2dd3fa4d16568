"""The body of a method, taken out of an answer that no grammar held: behind thinking, within a fence, below a signature of its own.

Pure functions of text from a model, which may be anything: each step looks at it once, and what is left goes to the audit like every draft.
"""

import re
import textwrap
from typing import Final

THOUGHT: Final = 32_768
"""Characters of the longest thought that is taken off; an answer with a longer one is no draft."""
_OPENED: Final = re.compile(r"\s*<(think|thinking)>")
_CLOSED: Final = re.compile(r"</(?:think|thinking)>")
_FENCE: Final = re.compile(r"^[ \t]*```[^\n]*\n(.*?)(?:^[ \t]*```|\Z)", re.DOTALL | re.MULTILINE)
_HEADER: Final = re.compile(r"^([ \t]*)def[ \t]+\w+[ \t]*\([^\n]{0,500}\)[ \t]*(?:->[^\n:]{0,100})?:[ \t]*([^\n]*)", re.MULTILINE)
"""A signature on one line. Its length is bounded, so that no line of a hostile answer is gone through again and again."""
_INDENT: Final = "    "


def written(signature: str, text: str) -> tuple[str, str]:
    """The source of the method, and why it is none: '' where it is one. A signature without a body passes no audit."""
    said, why = without_thought(text)
    if why:
        return f"{signature}\n", why
    fence = _FENCE.search(said)
    body = _body(fence[1] if fence is not None else said)
    if not body:
        return f"{signature}\n", "the answer has no body of a method"
    return f"{signature}\n{body}\n", ""


def without_thought(text: str) -> tuple[str, str]:
    """An answer without the thinking before it, and why it is none. Some templates begin the thought: then only its end is there."""
    opened, closed = _OPENED.match(text), _CLOSED.search(text)
    if closed is None:
        return ("", "the thinking before the body has no end") if opened is not None else (text, "")
    if closed.start() > THOUGHT:
        return "", f"the thinking before the body has more than {THOUGHT:,} characters"
    return text[closed.end() :], ""


def _body(text: str) -> str:
    """The lines of a body, each indented: those below a signature, as far as they are indented more than it, or all there are."""
    header = _HEADER.search(text)
    if header is None:
        lines = text.strip("\n").rstrip().expandtabs(4)
        # The first line goes on after the signature, whatever its indent is; the others keep theirs to it.
        return textwrap.indent(textwrap.dedent(lines), _INDENT) if lines.strip() else ""
    if header[2].strip() and not header[2].lstrip().startswith("#"):
        return _INDENT + header[2].strip()
    outer = len(header[1].expandtabs(4))
    kept: list[str] = []
    for line in text[header.end() :].expandtabs(4).split("\n")[1:]:
        if line.strip() and len(line) - len(line.lstrip()) <= outer:
            break
        kept.append(line)
    lines = "\n".join(kept).rstrip()
    return textwrap.indent(textwrap.dedent(lines).strip("\n"), _INDENT) if lines.strip() else ""
