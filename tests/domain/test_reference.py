"""The reference page is what the reader does."""

from pathlib import Path

from reconciler.domain.reference import page

PAGE = Path(__file__).parents[2] / "docs/reference/domain-file.md"


def test_the_page_is_made_from_the_tables():
    assert PAGE.read_text() == page(), "python -m reconciler.domain.reference > " + PAGE.name
