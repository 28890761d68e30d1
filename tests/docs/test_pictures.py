"""The concepts' pictures: a page has one, and who cannot see it is told what is on it."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from test_docs import DOCS

CONCEPTS = DOCS / "docs" / "concepts"
PICTURES = sorted(CONCEPTS.glob("img/*.svg"))
PAGES = sorted(CONCEPTS.glob("*.md"))
SVG = "{http://www.w3.org/2000/svg}"


def words(text: str | None) -> int:
    return len((text or "").split())


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.name)
def test_a_picture_says_what_is_on_it_and_asks_for_nothing(path: Path) -> None:
    root = ElementTree.parse(path).getroot()
    assert root.tag == f"{SVG}svg" and root.get("role") == "img"
    title, desc = root.find(f"{SVG}title"), root.find(f"{SVG}desc")
    assert title is not None and desc is not None
    assert root.get("aria-labelledby") == f"{title.get('id')} {desc.get('id')}"
    assert words(title.text) >= 3 and words(desc.text) >= 12
    assert list(root.iter(f"{SVG}text")), "words are text, which can be found and read aloud"
    tags = {each.tag.removeprefix(SVG) for each in root.iter()}
    assert not tags & {"image", "script", "style", "use", "foreignObject"}
    for each in root.iter():
        for name, value in each.attrib.items():
            assert "href" not in name and "http" not in value, (each.tag, name, value)


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.name)
def test_a_picture_is_readable_on_any_background(path: Path) -> None:
    root = ElementTree.parse(path).getroot()
    drawn = [each for each in root if each.tag not in (f"{SVG}title", f"{SVG}desc", f"{SVG}defs")]
    ground = drawn[0]
    _, _, width, height = (float(each) for each in root.attrib["viewBox"].split())
    assert ground.tag == f"{SVG}rect" and ground.get("fill") == "#ffffff"
    assert float(ground.attrib["width"]) >= width - 1
    assert float(ground.attrib["height"]) >= height - 1
    for each in root.iter(f"{SVG}text"):
        assert 0 < float(each.attrib["x"]) < width and 0 < float(each.attrib["y"]) < height
        assert luminance(each.attrib["fill"]) < 0.15, "dark enough on white, and on the boxes"


def luminance(colour: str) -> float:
    """Of a colour ``#rrggbb``, relative, as WCAG has it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        each / 12.92 if each <= 0.03928 else ((each + 0.055) / 1.055) ** 2.4 for each in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_each_concept_has_a_picture_and_each_picture_a_page() -> None:
    assert len(PAGES) == 11, "ten concepts, and how they hang together"
    shown: list[str] = []
    for path in PAGES:
        found = re.findall(r"^!\[(.+)\]\((img/\S+\.svg)\)$", path.read_text("utf-8"), re.MULTILINE)
        assert len(found) == 1, path.name
        assert words(found[0][0]) >= 4, "said in words, too"
        shown.append(found[0][1])
    assert sorted(shown) == [f"img/{path.name}" for path in PICTURES]
