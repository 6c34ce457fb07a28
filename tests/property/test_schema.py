"""The schema and the reader say the same of every file, as far as one value or name can show it."""

from __future__ import annotations

from pathlib import Path

from hypothesis import event, example, given
from hypothesis import strategies as st
from lxml import etree

from reconciler.domain import value_schema
from reconciler.domain.metadata import RULE
from reconciler.domain.rules import Element, RowVerdict, Type
from reconciler.domain.schema import compiled, grammar
from reconciler.domain.schema_crosscheck import disagreement, structure
from reconciler.domain.table import DOMAIN
from reconciler.domain.xml import parse
from tests.domain.making import URN
from tests.domain.test_schema import types
from tests.examples import examples
from tests.fuzz.values import HUGE, POOL, SPLITTING, accepts
from tests.fuzz.values import right as right_values

GOLDEN = Path(__file__).parent.parent / "golden"
VALID = [file.with_suffix(".xml").read_bytes() for file in sorted(GOLDEN.glob("*.expected"))]
SCHEMA = compiled()
quick = examples(150)
# What XML lets into a text: the rest never gets as far as a table.
LETTERS = st.characters(min_codepoint=32, exclude_categories=("Cs",),
                        exclude_characters="\ufffe\uffff") | st.sampled_from(
                            "\t\n\r \x7f\u00a0K-,=")
NAMES = sorted({rule for root in (DOMAIN, RULE) for rule in (*root.by_name, *root.by_attribute)})
WORDS = st.sampled_from([
    "", " ", "0", "1", "7", "8", "31", "32", "255", "256", "1000000", "-1", "+1", "0x0", "0x1f",
    "0xfg", "١", "yes", "no", "on", "off", "a,b", "a=b", "-a", "a\nb", "a\x7fb", "\u00a0a", "/a b",
    "10s", "10 s", "\u00a010s", "2h", "2026-12-24T18:00:00Z", "2026-02-30T18:00:00Z",
    "2026-12-24T24:00:00Z", "2026-12-24T18:00:00", "2026-12-24 18:00:00Z", "KiB", "kb", "ib",
    "\u212aiB", "Kbyte", "52:54:00:12:34:56", "vda", "vdaaaa", "é", "٣"])


def values(kind: Type | None) -> st.SearchStrategy[str]:
    """Texts near to what a type accepts: right ones, some too long, wrong ones, with space."""
    known = [] if kind is None else [
        *([st.sampled_from(kind.words)] if kind.words else []),
        *(st.from_regex(schema.pattern, fullmatch=True) for schema in kind.schemas)]
    numbers = [] if kind is None else [
        st.sampled_from([schema.low - 1, schema.low, schema.high, schema.high + 1]).map(str)
        for schema in kind.schemas if schema.low is not None]
    near = [st.tuples(st.one_of(*known), st.integers(0, 70), st.integers(-2, 3)).map(
        lambda found: twisted(*found))] if known else []
    space = st.sampled_from(["", "", "", " ", "\n\t ", "\r", "\u00a0"])
    text = st.one_of(*known, *near, *numbers, WORDS, st.text(LETTERS, max_size=12))
    return st.tuples(space, text, space).map("".join).filter(writable)


def twisted(text: str, at: int, by: int) -> str:
    """With some letters twice, or missing."""
    return text[:at] + text[max(0, at - by):]


def writable(text: str) -> bool:
    try:
        etree.Element("a").text = text
    except ValueError:
        return False
    return True


@st.composite
def made(draw: st.DrawFn, rule: Element, depth: int = 4) -> etree._Element:
    """An element of a row, mostly right: some of its attributes, its text or its children."""
    element = etree.Element(rule.name)
    if rule.verdict is not RowVerdict.ACCEPT:
        return element
    for name in draw(st.lists(st.sampled_from(sorted(rule.by_attribute)), max_size=3, unique=True)
                     if rule.by_attribute else st.just([])):
        element.set(name, draw(right(rule.by_attribute[name].type)))
    if rule.text is not None:
        element.text = draw(right(rule.text))
    elif rule.children and depth:
        allowed = [row for row in sorted(rule.by_name)
                   if rule.by_name[row].verdict in (RowVerdict.ACCEPT, RowVerdict.IGNORE,
                                                    RowVerdict.WARN)]
        for name in draw(st.lists(st.sampled_from(allowed), max_size=4)):
            if rule.by_name[name].many or element.find(name) is None:
                element.append(draw(made(rule.by_name[name], depth - 1)))
        if rule is DOMAIN and draw(st.booleans()):
            etree.SubElement(element, "metadata").append(draw(made(RULE)))
    return element


def right(kind: Type) -> st.SearchStrategy[str]:
    """Texts that a type accepts."""
    fits = [*([st.sampled_from(kind.words)] if kind.words else []),
            *(st.from_regex(schema.pattern, fullmatch=True) for schema in kind.schemas
              if schema.low is None and schema.datatype == "string"
              and schema is not value_schema.FREE),
            *(st.integers(schema.low, schema.high).map(str) for schema in kind.schemas
              if schema.low is not None)]
    return st.one_of(*fits or [st.just("1")]).filter(writable)


def row_of(element: etree._Element) -> Element | None:
    """The row that an element stands in, if it stands in one."""
    if element.tag == RULE.name:
        return RULE
    parent = element.getparent()
    if parent is None:
        return DOMAIN if element.tag == "domain" else None
    above = row_of(parent)
    return above.by_name.get(str(element.tag)) if above is not None else None


def mutate(draw: st.DrawFn, root: etree._Element) -> str:
    """Change one thing: a value, a name, how many, what is refused; returns what it was."""
    element = draw(st.sampled_from(list(root.iter(etree.Element))))
    rule = row_of(element)
    kind = draw(st.sampled_from(["text", "value", "attribute", "child", "twice", "name", "tail",
                                 "namespace", "ours", "order", "comment"]))
    if kind == "text" and len(element) == 0:
        element.text = draw(values(rule.text if rule is not None else None))
    elif kind == "value" and element.attrib:
        name = draw(st.sampled_from(sorted(element.attrib)))
        row = rule.by_attribute.get(str(name)) if rule is not None else None
        element.set(name, draw(values(row.type if row is not None else None)))
    elif kind == "attribute":
        known = sorted(rule.by_attribute) if rule is not None else []
        name = draw(st.sampled_from([*known, "unknown", "type", "{urn:a}type"]))
        row = rule.by_attribute.get(name) if rule is not None else None
        element.set(name, draw(values(row.type if row is not None else None)))
    elif kind == "child":
        known = [st.sampled_from(sorted(rule.by_name))] if rule is not None and rule.by_name else []
        name = draw(st.one_of(*known, st.sampled_from(
            [*NAMES, "unknown", f"{{{URN}}}stop", "{urn:a}name"])))
        element.insert(draw(st.integers(0, len(element))), etree.Element(name))
    elif kind == "twice" and element.getparent() is not None:
        copy = etree.fromstring(etree.tostring(element, with_tail=False))
        element.getparent().append(copy)
    elif kind == "name" and element.getparent() is not None:
        element.tag = draw(st.sampled_from([*NAMES, f"{element.tag}s"]))
    elif kind == "tail" and element.getparent() is not None:
        element.tail = draw(st.sampled_from(["\n ", "a", "\u00a0", "\r"]))
    elif kind == "namespace" and element.getparent() is not None:
        local = str(element.tag).rpartition("}")[2]
        element.tag = draw(st.sampled_from([f"{{urn:a}}{local}", f"{{{URN}}}{local}", local]))
    elif kind == "ours":
        metadata = etree.SubElement(root, "metadata")
        for name in draw(st.lists(st.sampled_from([RULE.name, "{urn:a}b", "b", f"{{{URN}}}stop"]),
                                  max_size=3)):
            etree.SubElement(metadata, name)
    elif kind == "order":
        for child in draw(st.permutations(list(element))):
            element.append(child)
    elif kind == "comment":
        element.insert(0, etree.Comment(" of many "))
    return kind


@st.composite
def files(draw: st.DrawFn) -> bytes:
    root = draw(st.one_of(st.sampled_from(VALID).map(etree.fromstring), made(DOMAIN)))
    for _ in range(draw(st.integers(0, 3))):
        event(f"changed: {mutate(draw, root)}")
    return etree.tostring(root)


@quick
@given(files())
@example(b"<domain>\xc2\xa0</domain>")
@example(b"<domain><name>\xc2\xa0a</name></domain>")
@example("<domain><memory unit='\u212aiB'>1</memory></domain>".encode())
@example(f"<domain><metadata><r:reconcile xmlns:r='{URN}'><r:stop timeout='\u00a010s'/>"
         "</r:reconcile></metadata></domain>".encode())
@example(b"<domain><title>a&#13;b</title></domain>")
def test_the_schema_and_the_reader_agree(data):
    accepted = structure(parse(data, "a.xml"), "a.xml") is None
    event("accepted" if accepted else "refused")
    assert disagreement(data, "a.xml", SCHEMA) is None


@quick
@given(st.data())
def test_each_type_and_its_forms_agree(data):
    kind = data.draw(st.sampled_from([kind for kind in types() if kind.exact]))
    words = data.draw(values(kind))
    trimmed = words.strip(" \t\r\n")
    try:
        kind.parse(trimmed)
    except ValueError:
        read = False
    else:
        read = True
    event(f"{'right' if read else 'wrong'}: {kind.name[:30]}")
    rule = Element("domain", text=kind)
    assert alone(kind, rule).validate(written(words)) is read, (kind.name, words)


def test_each_type_and_its_schemas_agree_on_known_values():
    for kind in types():
        if kind.exact:
            schema = alone(kind, Element("domain", text=kind))
            for text in {*POOL, *SPLITTING, *HUGE, *kind.words, *right_values(kind)}:
                if writable(text):
                    assert schema.validate(written(text)) is accepts(kind, text.strip(" \t\r\n")), (
                        kind.name, text)


def written(words: str) -> etree._Element:
    """As it comes out of a file, where a carriage return can stand by its number only."""
    element = etree.Element("domain")
    element.text = words
    return etree.fromstring(etree.tostring(element))


def alone(kind: Type, rule: Element, known: dict[Type, etree.RelaxNG] = {}) -> etree.RelaxNG:  # noqa: B006  # compiled once a type
    if kind not in known:
        known[kind] = etree.RelaxNG(grammar(rule))
    return known[kind]
