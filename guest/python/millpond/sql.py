"""What this package must know about SQL text: where statements end, and what they begin with."""

import re
from collections.abc import Callable, Iterator

_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n\f]+ | --[^\n]* | /\*.*?(?:\*/|\Z))
      | (?P<quoted>'(?:[^']|'')*(?:'|\Z) | "(?:[^"]|"")*(?:"|\Z) | `(?:[^`]|``)*(?:`|\Z) | \[[^\]]*(?:\]|\Z))
      | (?P<parameter>\?\d* | [:@$][\w$]+)
      | (?P<word>[^\W\d][\w$]*)
      | (?P<end>;)
      | (?P<other>.)""",
    re.DOTALL | re.VERBOSE,
)


def _tokens(sql: str) -> Iterator[tuple[str, str]]:
    for match in _TOKEN.finditer(sql):
        yield match.lastgroup or "", match.group()


def keyword(sql: str) -> str:
    """The first word, in upper case; `""` if the text begins with something else."""
    for kind, text in _tokens(sql):
        if kind != "space":
            return text.upper() if kind == "word" else ""
    return ""


def is_empty(sql: str) -> bool:
    """Whether the text holds no statement: only space, comments and semicolons."""
    return all(kind in ("space", "end") for kind, _ in _tokens(sql))


def _scan(sql: str) -> tuple[bool, bool]:
    """Whether the text ends with a complete statement, and whether more follows the first one."""
    words: list[str] = []
    trigger = complete = False
    for kind, text in _tokens(sql):
        if kind == "space":
            continue
        if complete and kind != "end":
            return sql.rstrip().endswith(";"), True
        if kind == "end":
            complete = bool(words) and (not trigger or words[-1] == "END")
            words.append(";")
            continue
        words.append(text.upper())
        if len(words) <= 4 and words[-1] == "TRIGGER" and "CREATE" in words[:2]:
            trigger = True
    return complete, False


def complete_statement(statement: str) -> bool:
    """Whether the text ends with a complete statement, and so with a semicolon."""
    if not isinstance(statement, str):
        raise TypeError("complete_statement() argument must be str")
    return _scan(statement)[0]


def has_more(sql: str) -> bool:
    """Whether another statement, or anything else, follows the first statement."""
    return _scan(sql)[1]


def replace_parameters(sql: str, literal: Callable[[str], str]) -> str:
    """The text with each parameter, such as `?` or `:id`, replaced by what `literal` gives."""
    return "".join(literal(text) if kind == "parameter" else text for kind, text in _tokens(sql))


def quote(name: str) -> str:
    """A name as an identifier."""
    return '"' + name.replace('"', '""') + '"'
