"""Reads and writes JSON like StratoVirt's library (serde_json), with its error messages.

The standard module costs start time and memory, and has other messages.
"""

from collections.abc import Callable

from .refusal import Refusal

Value = object
_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_BLANK = " \t\r\n"
Look = Callable[[str, Value], "str | None"]


class _Reader:
    """A text and the position in it."""

    def __init__(self, text: str, look: Look | None) -> None:
        self.text = text
        self.at = 0
        self.depth = 0
        self.look = look

    def wrong(self, message: str, at: int | None = None) -> Refusal:
        """An error with line and column: of the current character, or of the text up to `at`."""
        read = self.text[: self.at + 1 if at is None else at]
        line, column = read.count("\n") + 1, len(read[read.rfind("\n") + 1 :].encode())
        return Refusal(f"{message} at line {line} column {column}")

    def blank(self) -> str:
        """Skip white space; returns the next character, or an empty string at the end."""
        while self.at < len(self.text) and self.text[self.at] in _BLANK:
            self.at += 1
        return self.text[self.at : self.at + 1]

    def value(self) -> Value:
        """Any JSON value."""
        first = self.blank()
        if not first:
            raise self.wrong("EOF while parsing a value")
        if first == "{":
            return self.mapping()
        if first == "[":
            return self.sequence()
        if first == '"':
            return self.string()
        if first in "-0123456789":
            return self.number()
        for word, meaning in (("true", True), ("false", False), ("null", None)):
            if first == word[0]:
                for offset, letter in enumerate(word):
                    if self.text[self.at + offset : self.at + offset + 1] != letter:
                        short = self.at + offset >= len(self.text)
                        message = "EOF while parsing a value" if short else "expected ident"
                        raise self.wrong(message, self.at + offset + 1)
                self.at += len(word)
                return meaning
        raise self.wrong("expected value")

    def mapping(self) -> dict[str, Value]:
        """An object, with its keys in order."""
        found: dict[str, Value] = {}
        self.depth += 1
        self.at += 1
        following = self.blank()
        while following != "}":
            if not following:
                raise self.wrong("EOF while parsing an object")
            if following != '"':
                raise self.wrong("key must be a string")
            key = self.string()
            following = self.blank()
            if following != ":":
                missing = "EOF while parsing an object" if not following else "expected `:`"
                raise self.wrong(missing)
            self.at += 1
            found[key] = self.value()
            if self.depth == 1 and self.look:
                complaint = self.look(key, found[key])
                if complaint:
                    raise self.wrong(complaint, self.at)
            following = self.blank()
            if following == ",":
                self.at += 1
                following = self.blank()
                if following == "}":
                    raise self.wrong("trailing comma")
            elif following and following != "}":
                raise self.wrong("expected `,` or `}`")
        self.at += 1
        self.depth -= 1
        return found

    def sequence(self) -> list[Value]:
        """An array."""
        found: list[Value] = []
        self.at += 1
        following = self.blank()
        while following != "]":
            if not following:
                raise self.wrong("EOF while parsing a list")
            found.append(self.value())
            following = self.blank()
            if following == ",":
                self.at += 1
                following = self.blank()
                if following == "]":
                    raise self.wrong("trailing comma")
            elif following and following != "]":
                raise self.wrong("expected `,` or `]`")
        self.at += 1
        return found

    def string(self) -> str:
        """A string."""
        self.at += 1
        pieces: list[str] = []
        while True:
            letter = self.text[self.at : self.at + 1]
            if not letter:
                raise self.wrong("EOF while parsing a string")
            if letter < " ":
                raise self.wrong("control character (\\u0000-\\u001F) found while parsing a string")
            self.at += 1
            if letter == '"':
                return "".join(pieces)
            if letter == "\\":
                letter = self.escape()
            pieces.append(letter)

    def escape(self) -> str:
        """The character after a backslash; surrogate pairs are joined."""
        letter = self.text[self.at : self.at + 1]
        if not letter:
            raise self.wrong("EOF while parsing a string")
        self.at += 1
        if letter != "u":
            if letter not in _ESCAPES:
                raise self.wrong("invalid escape", self.at)
            return _ESCAPES[letter]
        code = self.code()
        if 0xD800 <= code < 0xDC00 and self.text[self.at : self.at + 2] == "\\u":
            self.at += 2
            code = 0x10000 + ((code - 0xD800) << 10) + (self.code() - 0xDC00)
        return chr(code)

    def code(self) -> int:
        """Four hexadecimal digits."""
        digits = self.text[self.at : self.at + 4]
        try:
            code = int(digits, 16) if len(digits) == 4 else -1
        except ValueError:
            code = -1
        if code < 0:
            raise self.wrong("invalid escape", self.at + len(digits))
        self.at += 4
        return code

    def number(self) -> int | float:
        """An integer or a fraction."""
        start = self.at
        while self.at < len(self.text) and self.text[self.at] in "-+.0123456789eE":
            self.at += 1
        digits = self.text[start : self.at]
        try:
            return int(digits) if digits.lstrip("-").isdigit() else float(digits)
        except ValueError:
            raise self.wrong("invalid number", self.at) from None


def parse(text: str, look: Look | None = None) -> Value:
    """Read one JSON value; anything after it is an error.

    `look` is called for each field of the outermost object as it is read, and may return an error.
    """
    reader = _Reader(text, look)
    value = reader.value()
    if reader.blank():
        raise reader.wrong("trailing characters")
    return value


def _quoted(text: str) -> str:
    """A string with its quotes."""
    if text.isalnum():
        return f'"{text}"'
    out = []
    for letter in text:
        if letter in '"\\':
            out.append("\\" + letter)
        elif letter < " ":
            short = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"}
            out.append(short.get(letter) or f"\\u{ord(letter):04x}")
        else:
            out.append(letter)
    return '"' + "".join(out) + '"'


def dump(value: Value) -> str:
    """Write a value without white space, with keys in order."""
    if isinstance(value, str):
        return _quoted(value)
    if value is None or isinstance(value, bool):
        return "null" if value is None else "true" if value else "false"
    if isinstance(value, dict):
        return "{" + ",".join(f"{_quoted(k)}:{dump(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(dump, value)) + "]"
    return repr(value)


def kind(value: Value) -> str:
    """The library's description of an unexpected value."""
    if isinstance(value, str):
        return f"string {_quoted(value)}"
    if isinstance(value, bool):
        return f"boolean `{dump(value)}`"
    if isinstance(value, int):
        return f"integer `{value}`"
    if isinstance(value, float):
        return f"floating point `{value}`"
    return "map" if isinstance(value, dict) else "sequence" if isinstance(value, list) else "null"
