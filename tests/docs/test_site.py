"""The site: its reference names what is public, and its sections every page."""

import re
from pathlib import Path

import importstats

DOCS = Path(__file__).parents[2] / "docs"
SECTIONS = sorted((DOCS / "site").glob("*.md"))


def entries(page):
    """The pages that a page's tables of contents name."""
    [block] = re.findall(r"```{toctree}\n(.*?)```", page.read_text(), re.DOTALL)
    lines = [line.strip() for line in block.splitlines() if line and line[0] != ":"]
    return {(page.parent / re.sub(r".*<(.*)>", r"\1", line)).resolve() for line in lines}


def test_the_reference_lists_every_public_name_once():
    blocks = re.findall(r"autosummary::(.*?)```", (DOCS / "api.md").read_text(), re.DOTALL)
    listed = [name for block in blocks for name in re.findall(r"^   (\w+)$", block, re.M)]
    assert sorted(listed) == sorted(importstats.__all__)


def test_each_page_stands_in_one_section():
    listed = [entry for section in SECTIONS for entry in entries(section)]
    pages = {path.with_suffix("") for path in DOCS.glob("*.md")} - {DOCS / "index"}
    pages |= {path.with_suffix("") for path in (DOCS.parent / "notebooks").glob("*.ipynb")}
    assert len(listed) == len(set(listed))
    assert pages <= set(listed)


def test_the_first_page_leads_to_every_section():
    readme = DOCS.parent / "README"
    sections = {path.with_suffix("") for path in SECTIONS}
    assert entries(DOCS / "index.md") == {readme, *sections}
