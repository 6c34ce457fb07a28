"""Nothing of a DTD is parsed, in whatever encoding it is written."""

import pytest

from reconciler.domain.model import InvalidDomain
from reconciler.domain.prolog import problem_of
from reconciler.domain.xml import identity_in, parse

DTD = "<!DOCTYPE domain [<!ATTLIST domain a CDATA ''>]><domain/>"
PLAIN = "<domain/>"


@pytest.mark.parametrize("before", [
    "", " \n", "<?xml version='1.0'?>", "<?xml version='1.0' encoding='utf-8'?>\n<!-- x -->\n",
    "<!-- <domain> -->", "<?pi <domain> ?>", "<!--a--><!--b-->\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_a_dtd_is_found_before_the_root_and_nowhere_else(before, encoding):
    if encoding in ("utf-16-le", "utf-16-be"):
        before = before.lstrip()  # without a mark, only `<` at the beginning shows the encoding
    if "utf-8'" in before and "16" in encoding:
        before = before.replace("utf-8", "utf-16")
    assert "DTD" in problem_of((before + DTD).encode(encoding))
    assert problem_of((before + PLAIN).encode(encoding)) == ""
    assert problem_of((before + "<domain><!-- <!DOCTYPE --></domain>").encode(encoding)) == ""


@pytest.mark.parametrize("data", [
    b"<?xml version='1.0' encoding='UTF-7'?>+ADwAIQ-DOCTYPE domain><domain/>",
    b'<?xml version="1.0" encoding="cp037"?><domain/>',
    b"<?xml version='1.0'   encoding = 'EBCDIC-CP-US'?><domain/>",
    "<?xml version='1.0'?><domain/>".encode("cp037"),
    DTD.encode("utf-32"), DTD.encode("utf-32-le"), DTD.encode("utf-32-be"),
    "<?xml version='1.0' encoding='utf-7'?><domain/>".encode("utf-16")])
def test_encodings_that_could_hide_one_are_refused(data):
    assert "accepted: UTF-8" in problem_of(data)
    with pytest.raises(InvalidDomain):
        parse(data, "a.xml")


@pytest.mark.parametrize("name", ["utf-8", "UTF-8", "us-ascii", "ISO-8859-1", "windows-1252"])
def test_other_encodings_are_read(name):
    text = f"<?xml version='1.0' encoding='{name}'?><domain/>"
    assert problem_of(text.encode()) == ""
    assert parse(text.encode(), "a.xml").tag == "domain"


def test_rule_8_the_declarations_of_a_dtd_take_no_time():
    """libxml2 needs minutes for these: the test would not end."""
    names = (f"a{number} CDATA ''" for number in range(76_000))
    data = f"<!DOCTYPE domain [<!ATTLIST domain {' '.join(names)}>]><domain/>".encode()[:1 << 20]
    with pytest.raises(InvalidDomain, match="a DTD is not allowed"):
        parse(data, "a.xml")
    assert identity_in(data) == (None, None)


@pytest.mark.parametrize(("text", "found"), [
    ("<domain><name> web1 </name><uuid>ABCDEF00-2222-5333-8444-555555555555</uuid><vcpuu/>",
     ("web1", "abcdef00-2222-5333-8444-555555555555")),
    ("<domain><name>web1</name><uuid>x</uuid><memory", ("web1", None)),
    ("<domain><name>web 1{index}</name><memory", (None, None)),
    ("<domain><!-- <name>web1</name> --><x>", (None, None)),
    ("<domain><![CDATA[<name>web1</name>]]><x>", (None, None)),
    ("<domain a='<name>web1</name>'><x>", (None, None)),
    ("<domain><devices><name>web1</name></devices><x>", (None, None)),
    ("<notes><name>web1</name></notes>", (None, None)),
    ("name: <name>web1</name>", (None, None)), ("", (None, None)),
    ("<<<<<<< HEAD\n<domain><name>web1</name></domain>", (None, None))])
def test_rule_3_whose_a_refused_file_is_only_its_markup_says(text, found):
    assert identity_in(text.encode()) == found
