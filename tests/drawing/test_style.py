"""Figures on their way out: what is in the files and in the SVG for a page, and what is left alone."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import pytest
from matplotlib.figure import Figure

from tinyclsf.drawing.style import INK, PLAIN, RIGHT, as_svg, check_path, look, new_figure, save_figure, shortened, text_width
from tinyclsf.errors import ConfigurationError, StorageError

NAMES = ["小猫 고양이 🐱", "$cat_ \\frac", "<b>&amp;", f'style="fill: {INK}"', 'href="#m0"']
SVG = "{http://www.w3.org/2000/svg}"
LOOK = """
import sys
from pathlib import Path
import numpy as np
from tinyclsf.drawing.figures import draw_samples, save_figure

print(sorted({"torch", "matplotlib"} & set(sys.modules)))
save_figure(draw_samples(np.zeros((1, 2, 2)), ["a"], columns=1), Path(sys.argv[1]))
print(sorted({"torch", "matplotlib", "matplotlib.pyplot"} & set(sys.modules)))
"""


def make_figure(label: str = "a line") -> Figure:
    with look():
        figure = new_figure(4, 3, label=label)
        ax = figure.subplots()
        ax.plot([0, 1, 2], [1, 2, 3], "o--", color=RIGHT)
        for at, name in enumerate(NAMES):
            ax.text(0.1, 1 + at / 3, name, **PLAIN)
    return figure


@pytest.mark.parametrize(("ending", "start"), [("png", b"\x89PNG"), ("SVG", b"<?xml")])
def test_the_ending_names_the_format_and_a_figure_gives_the_same_bytes(tmp_path: Path, ending: str, start: bytes) -> None:
    paths = tmp_path / f"a.{ending}", tmp_path / f"b.{ending}"
    for path in paths:
        assert save_figure(make_figure(), path) == path
    first, second = (path.read_bytes() for path in paths)
    assert first.startswith(start)
    assert first == second
    assert sorted(tmp_path.iterdir()) == sorted(paths)


def test_a_pdf_has_no_date_either(tmp_path: Path) -> None:
    content = save_figure(make_figure(), tmp_path / "a.pdf").read_bytes()
    assert content.startswith(b"%PDF")
    assert b"CreationDate" not in content


def test_a_file_that_cannot_be_is_an_error(tmp_path: Path) -> None:
    for name in ("a.gif", "a", ".png"):
        with pytest.raises(ConfigurationError) as error:
            save_figure(make_figure(), tmp_path / name)
        assert (
            str(error.value)
            == f"a figure cannot be written to {tmp_path / name}; wanted a name that ends in .png, .svg or .pdf"
        )
    path = tmp_path / "no" / "a.png"
    with pytest.raises(StorageError) as missing:
        check_path(path)
    assert (
        str(missing.value) == f"cannot write {path}: No such file or directory; give a name in a folder that can be written to"
    )
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(StorageError, match=r"^cannot write .*/folder\.png: it is a folder; "):
        save_figure(make_figure(), tmp_path / "folder.png")
    assert [path.name for path in tmp_path.iterdir()] == ["folder.png"]


def test_neither_settings_of_a_person_nor_those_of_the_process_change(tmp_path: Path) -> None:
    save_figure(make_figure(), tmp_path / "a.png")
    before = dict(matplotlib.rcParams)
    own = {"figure.facecolor": "black", "text.usetex": True, "font.size": 30, "savefig.bbox": "tight", "axes.facecolor": "red"}
    with matplotlib.rc_context(own):  # type: ignore[arg-type]
        save_figure(make_figure(), tmp_path / "b.png")
    assert dict(matplotlib.rcParams) == before
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_an_svg_for_a_page_has_nothing_that_reaches_beyond_it() -> None:
    text, other = as_svg(make_figure()), as_svg(new_figure(2, 2, label='"<other>"'))
    assert text == as_svg(make_figure())
    root = ElementTree.fromstring(text)
    assert (root.get("width"), root.get("height"), root.get("viewBox")) == ("100%", None, "0 0 288 216")
    assert (root.get("role"), root.get("aria-label")) == ("img", "a line")
    assert ElementTree.fromstring(other).get("aria-label") == '"<other>"'
    assert not {element.tag for element in root.iter()} & {f"{SVG}style", f"{SVG}metadata"}
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    referred = set(re.findall(r'(?:href="|url\()#([^")]+)', re.sub(r">[^<]*<", "><", text)))
    assert set(ids) == referred
    assert len(ids) == len(set(ids)) > 1
    moved = make_figure()
    moved.axes[0].set_xlim(-1, 4)
    assert not set(ids) & set(re.findall(r' id="([^"]+)"', as_svg(moved)))


def test_an_svg_for_a_page_takes_its_colour_and_font() -> None:
    root = ElementTree.fromstring(as_svg(make_figure()))
    styles = [element.get("style", "") for element in root.iter()]
    assert not any(INK in style for style in styles)
    assert any(f"stroke: {RIGHT}" in style for style in styles)
    texts = list(root.iter(f"{SVG}text"))
    assert [element.text for element in texts if element.text in NAMES] == NAMES
    for element in texts:
        style = element.get("style", "")
        assert "font-family: inherit" in style
        assert "fill: currentColor" in style
    assert not any("fill: #ffffff" in style for style in styles)  # no ground


def test_text_is_measured_as_it_is_drawn() -> None:
    with look():
        figure = new_figure(9, 1, label="")
        figure.dpi = 1000  # as few pixels leave their marks on the widths of letters
        drawn = figure.text(0, 0, "Chesapeake Bay retriever", fontsize=9).get_window_extent().width / figure.dpi
    assert text_width("Chesapeake Bay retriever") == pytest.approx(drawn, rel=0.005)
    assert text_width("Chesapeake Bay retriever", 18) == pytest.approx(2 * drawn, rel=0.005)


def test_a_long_name_is_cut_where_it_has_to_be() -> None:
    name = "Neufchâtel-Hardelot-Plage"
    assert shortened(name, text_width(name)) == name
    cut = shortened(name, 1.0)
    assert cut.endswith("…")
    assert name.startswith(cut[:-1])
    assert text_width(cut) <= 1.0 < text_width(name[: len(cut)] + "…")
    assert shortened("Bay retriever", text_width("Bay …")) == "Bay…"
    assert shortened(name, 0) == "…"
    assert shortened("a\nb\0\udcff", 9) == "a\N{REPLACEMENT CHARACTER}b" + 2 * "\N{REPLACEMENT CHARACTER}"


def test_libraries_are_imported_where_something_is_drawn(tmp_path: Path) -> None:
    found = subprocess.run([sys.executable, "-c", LOOK, tmp_path / "a.png"], capture_output=True, text=True, check=False)
    assert (found.stdout, found.stderr) == ("[]\n['matplotlib']\n", "")
