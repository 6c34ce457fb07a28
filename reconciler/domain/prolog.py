"""What stands before the root element of a file, looked at before libxml2 parses it.

libxml2 takes quadratic time for the declarations of a DTD, so that one is refused unread. To see
it, the bytes have to be understood as libxml2 understands them: encodings in which `<` may be
written in another way (UTF-7, EBCDIC) are refused, too.
"""

from __future__ import annotations

import codecs
import re

_SKIPPED = re.compile(r"\s+|<\?.*?\?>|<!--.*?-->", re.DOTALL)
_DECLARED = re.compile(rb"""<\?xml\s[^>]{0,200}?encoding\s*=\s*["']([^"']{0,40})["']""")
_WIDE = ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"),
         (b"<\0", "utf-16-le"), (b"\0<", "utf-16-be"))
# Every character of markup is one byte in these, and the same one as in ASCII.
_ASCII_LIKE = re.compile(r"utf-?8|us-ascii|ascii|iso-?8859-?\d+|latin-?\d+|windows-125\d|cp125\d",
                         re.IGNORECASE)
_UTF16 = re.compile(r"utf-?16(le|be)?", re.IGNORECASE)


def problem_of(data: bytes) -> str:
    """Why the file is not parsed; empty if it may be."""
    if data.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)) or b"\0\0" in data[:4]:
        return "found UTF-32; accepted: UTF-8"
    wide = next((name for mark, name in _WIDE if data.startswith(mark)), None)
    text = data.decode(wide or "latin-1", "replace")
    declared = _DECLARED.match(text[:300].lstrip("\ufeff\xef\xbb\xbf").encode("ascii", "replace"))
    if declared is not None:
        name = declared[1].decode("ascii")
        if not (_UTF16 if wide else _ASCII_LIKE).fullmatch(name):
            return f"encoding '{name}'; accepted: UTF-8"
    elif wide is None and data[:4] == b"\x4c\x6f\xa7\x94":
        return "found EBCDIC; accepted: UTF-8"
    if _rest(text.lstrip("\ufeff\xef\xbb\xbf")).startswith("<!DOCTYPE"):
        return "a DTD is not allowed; accepted: a file without <!DOCTYPE …>"
    return ""


def _rest(text: str) -> str:
    """The text from the first thing on that is neither space, comment nor instruction."""
    at = 0
    while (found := _SKIPPED.match(text, at)) is not None:
        at = found.end()
    return text[at:at + 20]
