"""Does the map of a projection show, say and filter what its data says, offline and safely?

Unit tests of what map.py writes, and tests that open the page in headless Chromium. Pixels are only counted, never
compared; how the page looks is for people to judge.
"""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from datetime import date, datetime, timezone
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from lmsys_rs import map as lmap
from lmsys_rs.errors import InvalidInputError

XSS = '<img src=x onerror="window.pwned=1"></script><script>window.pwned=2</script><!--<script> \' " \u2028 \u2029'
UNICODE = "Grüße, 日本語のテキスト, текст, مرحبا, 👩‍👩‍👧 e\u0301"


def make(n: int = 400, **changes: Any) -> lmap.MapData:
    """Four round clusters of different sizes far apart, and noise; row 0 and 1 are in cluster 0."""
    random = np.random.default_rng(0)
    ids = np.array([0, 0, 0, 0, 1, 1, 2, 3, -1, -1], dtype=np.int32)[np.arange(n) % 10]
    centers = np.array([[-8, -5], [8, -5], [-8, 5], [8, 5], [0, 0]], dtype=np.float64)
    fields: dict[str, Any] = {
        "title": "A map",
        "xy": (centers[ids] + random.normal(size=(n, 2))).astype(np.float32),
        "cluster_ids": ids,
        "texts": pl.Series([f"text number {i} of cluster {c}" for i, c in enumerate(ids)], dtype=pl.String),
        "clusters": [
            lmap.MapCluster(cluster_id=0, title="Python questions", description="lists and dicts"),
            lmap.MapCluster(cluster_id=1, title="Recipes"),
            lmap.MapCluster(cluster_id=2, title="Poems"),
            lmap.MapCluster(cluster_id=3, title="旅行"),
        ],
        "models": pl.Series([("gpt-4", "vicuna-13b", None)[i % 3] for i in range(n)], dtype=pl.String),
        "languages": pl.Series([("English", "Deutsch")[i % 2] for i in range(n)], dtype=pl.String),
        "timestamps": pl.Series([datetime(2023, 1 + i % 12, 1, tzinfo=timezone.utc) for i in range(n)]),
        "weights": np.where(np.arange(n) == 0, 7, 1),
        "note": "run 1",
    }
    if n == 0:
        fields["timestamps"] = pl.Series([], dtype=pl.Datetime("us", "UTC"))
    return lmap.MapData(**{**fields, **changes})


def plain(n: int, **changes: Any) -> lmap.MapData:
    """Only what is required."""
    fields: dict[str, Any] = {"models": None, "languages": None, "timestamps": None, "weights": None, "note": ""}
    return make(n, **{**fields, **changes})


def block(page: str, name: str) -> bytes:
    found = re.search(rf'<script type="application/octet-stream" id="lmsys-{name}">([A-Za-z0-9+/=]*)</script>', page)
    assert found, name
    return zlib.decompress(base64.b64decode(found[1]))


# --- what is written --------------------------------------------------------------------------------------------------


def test_a_column_of_another_length_is_refused_by_name() -> None:
    with pytest.raises(InvalidInputError, match=r"xy must have one row per text: 3 != 4"):
        plain(4, xy=np.zeros((3, 2), np.float32))
    with pytest.raises(InvalidInputError, match=r"models must have one row per text: 1 != 4"):
        plain(4, models=pl.Series(["a"]))


def test_a_coordinate_that_is_not_finite_is_refused_by_row() -> None:
    xy = np.zeros((4, 2), np.float32)
    xy[2, 1] = np.nan
    with pytest.raises(InvalidInputError, match="row 2"):
        plain(4, xy=xy)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"xy": np.zeros((4, 3), np.float32)}, "shape"),
        ({"cluster_ids": np.zeros(4, np.float32)}, "integers"),
        ({"texts": pl.Series([1, 2, 3, 4])}, "texts must be strings"),
        ({"timestamps": pl.Series(["2023"] * 4)}, "timestamps must be"),
        ({"clusters": [lmap.MapCluster(cluster_id=1, title="a"), lmap.MapCluster(cluster_id=1, title="b")]}, "1 is"),
    ],
)
def test_a_wrong_type_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        plain(4, **changes)


def test_the_page_is_ascii_and_the_same_each_time(tmp_path: Path) -> None:
    path = lmap.write_html(make(), tmp_path / "map.html")
    assert path.read_bytes() == lmap.html(make()).encode("ascii")
    assert [p.name for p in tmp_path.iterdir()] == ["map.html"]


def test_the_page_names_no_host_and_its_policy_allows_no_network() -> None:
    page = lmap.html(make())
    code = re.sub(r"/\*(!| ?@license).*?\*/", "", page, flags=re.DOTALL)  # licences may say where they come from
    assert not re.search(r"https?://(?!www\.w3\.org/)", code)  # w3.org: names of XML namespaces
    assert not re.search(r"\beval\(|new Function\b", code)
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)
    assert policy
    assert policy[1].startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy[1]


@pytest.mark.parametrize(
    "package", ["d3-color", "d3-ease", "d3-selection", "d3-transition", "d3-zoom", "flatbush", "twgl.js"]
)
def test_the_page_holds_the_licence_of_each_package(package: str) -> None:
    notice = re.search(rf"/\*! {re.escape(package)} [\d.]+\n.*?\*/", lmap.html(plain(0)), flags=re.DOTALL)
    assert notice
    assert "Copyright" in notice[0]
    assert '"AS IS"' in notice[0]


def test_texts_never_appear_in_the_markup() -> None:
    page = lmap.html(make(4, texts=pl.Series([XSS] * 4), title=XSS, note=XSS))
    template = (Path(lmap.__file__).parent / "static" / "map.html").read_text("ascii")
    assert "onerror" not in page
    assert "pwned" not in page
    assert page.count("</script>") == template.count("</script>") + 8  # 7 columns and one block of texts


def test_long_texts_are_cut_by_characters_with_an_ellipsis() -> None:
    page = lmap.html(plain(2, texts=pl.Series(["é" * 1000, "short"])), max_chars=10)
    assert block(page, "text-0").decode() == "é" * 9 + "…\0short"
    with pytest.raises(InvalidInputError, match="max_chars"):
        lmap.html(plain(2), max_chars=0)


def test_nulls_and_nul_characters_keep_rows_apart() -> None:
    page = lmap.html(plain(3, texts=pl.Series(["a\0b", None, "c"])))
    assert block(page, "text-0").decode() == "a\ufffdb\0\0c"


def test_clusters_come_largest_first_and_unnamed_ones_get_a_title() -> None:
    clusters = [lmap.MapCluster(cluster_id=5, title="five"), lmap.MapCluster(cluster_id=9, title="empty", size=3)]
    ids = np.array([5, 2, 2, -1])
    meta = json.loads(block(lmap.html(plain(4, cluster_ids=ids, clusters=clusters)), "meta"))
    assert [(c["title"], c["size"], c["points"]) for c in meta["clusters"]] == [
        ("Cluster 2", 2, 2), ("five", 1, 1), ("empty", 3, 0),
    ]  # fmt: skip
    assert meta["noise"] == 1
    assert meta["clusters"][2]["x"] is None


def test_a_label_lies_on_a_point_of_its_cluster() -> None:
    angle = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    ring = np.column_stack([np.cos(angle), np.sin(angle)])
    meta = json.loads(block(lmap.html(plain(60, xy=ring, cluster_ids=np.zeros(60, np.int32))), "meta"))
    cluster = meta["clusters"][0]
    assert np.hypot(cluster["x"], cluster["y"]) == pytest.approx(1.0)


def test_neighbouring_clusters_get_different_colours() -> None:
    xy = np.column_stack([np.arange(40.0), np.zeros(40)])
    meta = json.loads(block(lmap.html(plain(40, xy=xy, cluster_ids=np.arange(40))), "meta"))
    colors = [c["color"] for c in sorted(meta["clusters"], key=lambda c: c["x"])]
    assert all(a != b for a, b in pairwise(colors))


def test_dates_are_accepted_as_timestamps() -> None:
    page = lmap.html(plain(2, timestamps=pl.Series([date(1970, 1, 2), None])))
    seconds = np.frombuffer(block(page, "time"), "<f8")
    assert seconds[0] == 86400
    assert np.isnan(seconds[1])


def test_an_iframe_holds_the_whole_page_as_one_attribute() -> None:
    frame = lmap.iframe(lmap.html(make()), height=500)
    assert frame.count('"') == 2 * frame.count('="')
    assert 'height="500"' in frame
    assert 'sandbox="allow-scripts"' in frame


@pytest.mark.parametrize("suffix", [".png", ".svg"])
@pytest.mark.parametrize("n", [0, 1, 400])
def test_a_plot_is_written(tmp_path: Path, suffix: str, n: int) -> None:
    pytest.importorskip("matplotlib")
    path = lmap.write_plot(make(n, title="Costs $5 and $6 旅行"), tmp_path / f"map{suffix}")
    again = lmap.write_plot(make(n, title="Costs $5 and $6 旅行"), tmp_path / f"again{suffix}")
    assert path.read_bytes() == again.read_bytes()
    if suffix == ".svg":
        assert path.read_text("utf-8").lstrip().startswith("<?xml")
    else:
        assert n == 0 or distinct_colors(path.read_bytes()) > 30


def test_a_plot_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"\.png or \.svg: got 'map\.pdf'"):
        lmap.write_plot(make(), tmp_path / "map.pdf")


# --- what the page does -----------------------------------------------------------------------------------------------


class MapPage:
    """A page open in the browser, with what it said and asked for."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.errors: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))

    def get(self, expression: str) -> Any:
        return self.page.evaluate(expression)

    def wait(self, expression: str, seconds: float = 30) -> None:
        # Not wait_for_function: that needs eval, which the page's policy rightly refuses.
        end = time.monotonic() + seconds
        while not self.get(expression):
            assert time.monotonic() < end, f"still not: {expression}; {self.errors}"
            time.sleep(0.03)

    def rest(self) -> None:
        """Until the picture is complete."""
        self.get("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))")
        self.wait("lmsysMap.drawing().drawn === lmsysMap.counts.points")
        self.wait("document.getAnimations().length === 0")  # labels fade in

    def at(self, row: int) -> tuple[float, float]:
        place = self.get(f"lmsysMap.screen({row})")
        return place["x"], place["y"]

    def hover(self, row: int) -> str:
        self.page.mouse.move(5, 400)
        self.page.mouse.move(*self.at(row))
        self.wait("!document.getElementById('tooltip').hidden")
        return str(self.page.inner_text("#tooltip"))

    def colors(self) -> int:
        self.rest()
        return distinct_colors(self.page.screenshot())


OpenMap = Callable[..., MapPage]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    def missing(reason: str) -> None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{reason}: in CI the map must be tested in a browser")
        pytest.skip(f"{reason}: the map page was not tested")

    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        missing("no chromium, chromium-browser or google-chrome on PATH")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("the Python package playwright is not installed")
    with sync_playwright() as playwright:
        flags = "--no-sandbox --disable-gpu --use-angle=swiftshader --enable-unsafe-swiftshader"
        quiet = "--disable-background-networking --no-first-run"
        started = playwright.chromium.launch(
            executable_path=program, headless=True, args=[*flags.split(), *quiet.split()]
        )
        yield started
        started.close()


@pytest.fixture
def open_map(browser: Any, tmp_path: Path) -> Iterator[OpenMap]:
    contexts: list[Any] = []

    def opened(
        data: lmap.MapData | Path, *, width: int = 1200, height: int = 760, scheme: str = "light", touch: bool = False
    ) -> MapPage:
        path = data if isinstance(data, Path) else lmap.write_html(data, tmp_path / "map.html")
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, has_touch=touch)
        contexts.append(context)
        page = MapPage(context.new_page())
        page.page.goto(path.as_uri())
        page.wait("!!(window.lmsysMap && lmsysMap.ready)", 60)
        page.rest()
        return page

    yield opened
    for context in contexts:
        context.close()


def distinct_colors(png: bytes) -> int:
    from PIL import Image

    with Image.open(io.BytesIO(png)) as image:
        pixels = np.asarray(image.convert("RGBA")).view(np.uint32)
    return len(np.unique(pixels))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_picture_is_not_blank_and_needs_no_network(open_map: OpenMap, scheme: str) -> None:
    page = open_map(make(), scheme=scheme)
    assert page.colors() > 200
    assert page.get("lmsysMap.counts") == {"points": 400, "clusters": 4, "noise": 80}
    assert page.page.inner_text("#title") == "A map"
    assert page.page.inner_text("#counts") == "400 texts · 4 clusters · 20% noise"
    assert [url for url in page.requests if not url.startswith(("file:", "data:"))] == []
    assert page.errors == []


def test_points_are_drawn_where_the_handle_says(open_map: OpenMap) -> None:
    from PIL import Image

    page = open_map(make(5, texts=pl.Series(["t"] * 5), clusters=[]))
    with Image.open(io.BytesIO(page.page.screenshot())) as image:
        background = image.convert("RGB").getpixel((20, 400))
        for row in range(5):
            x, y = page.at(row)
            pixels = [
                image.convert("RGB").getpixel((int(x) + dx, int(y) + dy)) for dx in (-1, 0, 1) for dy in (-1, 0, 1)
            ]
            assert any(pixel != background for pixel in pixels)


def test_hover_shows_the_text_and_its_facts(open_map: OpenMap) -> None:
    tip = open_map(make()).hover(0)
    for part in (
        "text number 0 of cluster 0",
        "Python questions",
        "gpt-4",
        "English",
        "2023-01-01 00:00 UTC",
        "7 times",
    ):
        assert part in tip


def test_a_click_filters_the_cluster_and_escape_clears(open_map: OpenMap) -> None:
    page = open_map(make())
    before = page.colors()
    page.page.mouse.click(*page.at(4))
    assert page.get("lmsysMap.selectedCluster()") == 1
    assert page.get("lmsysMap.emphasised()") == 80
    assert "80 of 400 texts" in page.page.inner_text("#filters")
    assert page.colors() != before
    page.page.keyboard.press("Escape")
    assert page.get("lmsysMap.selectedCluster()") is None
    assert page.get("lmsysMap.emphasised()") == 400


def test_the_clear_button_clears(open_map: OpenMap) -> None:
    page = open_map(make())
    page.page.mouse.click(*page.at(4))
    page.page.click("#clear")
    assert page.get("lmsysMap.selectedCluster()") is None


def test_a_click_on_a_label_or_in_the_list_filters(open_map: OpenMap) -> None:
    page = open_map(make())
    page.page.click(".label >> text=Recipes")
    assert page.get("lmsysMap.selectedCluster()") == 1
    page.page.click("#clusters .row >> text=旅行")
    assert page.get("lmsysMap.selectedCluster()") == 3
    page.page.click("#clusters .row >> text=Noise")
    assert page.get("lmsysMap.selectedCluster()") == -1


def test_the_cluster_list_is_sorted_by_size_and_filtered(open_map: OpenMap) -> None:
    page = open_map(make())
    names = page.page.locator("#clusters .row .name")
    assert names.all_text_contents() == ["Python questions", "Recipes", "Poems", "旅行", "Noise"]
    page.page.fill("#cluster-filter", "dicts")
    assert names.all_text_contents() == ["Python questions"]


def test_search_finds_all_words_in_any_case_and_flies_to_a_hit(open_map: OpenMap) -> None:
    texts = make().texts.to_list()
    texts[7], texts[11] = "The İstanbul GRÜSSE map of Zürich", "zürich without the other word"
    page = open_map(make(texts=pl.Series(texts)))
    page.page.keyboard.press("/")
    page.page.keyboard.type("zÜRICH map")
    page.wait("!document.getElementById('hits').hidden")
    assert page.get("lmsysMap.searchHits()") == [7]
    assert page.page.inner_text("#hit-count") == "1"
    page.page.click("#hits .hit")
    page.wait("!document.getElementById('tooltip').hidden")
    x, y = page.at(7)
    assert (x, y) == pytest.approx((446, 400), abs=30)  # the middle of what the panel leaves free
    assert page.get("lmsysMap.zoom()") > 4
    assert "GRÜSSE" in page.page.inner_text("#tooltip")
    page.page.fill("#search", "no such words")
    page.wait("lmsysMap.searchHits().length === 0")
    page.page.fill("#search", "")
    page.wait("lmsysMap.searchHits() === null")


def test_search_finds_exactly_the_rows_that_hold_the_words(open_map: OpenMap) -> None:
    n = 20_000  # three blocks of texts
    page = open_map(plain(n))
    page.page.fill("#search", "77 cluster 1")
    page.wait("!!lmsysMap.searchHits() && !document.getElementById('hit-count').textContent.endsWith('…')")
    texts = plain(n).texts.to_list()
    expected = [i for i, text in enumerate(texts) if all(word in text for word in ("77", "cluster", "1"))]
    page.wait(f"lmsysMap.searchHits().length === {len(expected)}")
    assert page.get("lmsysMap.searchHits()") == expected


def test_colour_by_each_column_and_filter_by_its_legend(open_map: OpenMap) -> None:
    page = open_map(make())
    assert page.page.locator("#color-by option").all_inner_texts() == ["Cluster", "Model", "Language", "Time"]
    pictures = {}
    for mode in ("cluster", "model", "language", "time"):
        page.page.select_option("#color-by", mode)
        page.rest()
        pictures[mode] = page.page.locator("#canvas").screenshot()
    assert len(set(pictures.values())) == 4
    assert page.page.locator(".time-bar").count() == 24
    page.page.select_option("#color-by", "model")
    assert page.page.locator("#legend .row").all_text_contents() == ["gpt-4134", "vicuna-13b133"]
    page.page.click("#legend .row >> text=vicuna-13b")
    assert page.get("lmsysMap.emphasised()") == 133
    page.page.mouse.click(*page.at(4))
    assert page.get("lmsysMap.emphasised()") == sum(i % 3 == 1 and i % 10 in (4, 5) for i in range(400))


def test_only_columns_that_exist_are_offered(open_map: OpenMap) -> None:
    page = open_map(plain(50))
    assert page.page.locator("#color-by option").all_inner_texts() == ["Cluster"]
    assert not page.page.is_visible("#legend")


def test_labels_appear_by_zoom(open_map: OpenMap) -> None:
    random = np.random.default_rng(1)
    ids = np.repeat(np.arange(300), 10)
    clusters = [lmap.MapCluster(cluster_id=i, title=f"Title of cluster {i}") for i in range(300)]
    spread = random.uniform(size=(300, 2))[ids] + random.normal(size=(3000, 2)) * 0.002
    page = open_map(plain(3000, xy=spread, cluster_ids=ids, clusters=clusters))
    first = page.get("lmsysMap.visibleLabels()")
    x, y = page.at(0)
    page.page.mouse.move(x, y)
    seen = set(first)
    for _ in range(12):
        page.page.mouse.wheel(0, -120)
        page.rest()
        seen |= set(page.get("lmsysMap.visibleLabels()"))
    assert 3 < len(first) < 100
    assert page.get("lmsysMap.zoom()") > 5
    assert len(seen - set(first)) > 3
    assert "Title of cluster 0" in page.get("lmsysMap.visibleLabels()")


def test_drag_pans_and_keys_move(open_map: OpenMap) -> None:
    page = open_map(make())
    x, y = page.at(0)
    page.page.mouse.move(450, 400)
    page.page.mouse.down()
    page.page.mouse.move(500, 430, steps=3)
    page.page.mouse.up()
    assert page.at(0) == pytest.approx((x + 50, y + 30), abs=1)
    assert page.get("lmsysMap.selectedCluster()") is None
    page.page.focus("#canvas")
    page.page.keyboard.press("ArrowLeft")
    page.page.keyboard.press("+")
    assert page.get("lmsysMap.zoom()") == pytest.approx(1.3, rel=1e-3)
    page.page.keyboard.press("0")
    page.wait("Math.abs(lmsysMap.zoom() - 1) < 1e-6")
    assert page.at(0) == pytest.approx((x, y), abs=1)


def test_the_zoom_buttons_zoom_and_fit(open_map: OpenMap) -> None:
    page = open_map(make())

    def path(button: str, zoom: float) -> list[float]:
        """The zoom in each frame from the click to its end."""
        page.get("void (window.path = [], window.watch = () => { path.push(lmsysMap.zoom());"
                 " requestAnimationFrame(watch); }, watch())")  # fmt: skip
        page.page.click(button)
        page.wait(f"Math.abs(lmsysMap.zoom() - {zoom}) < 1e-6")
        return list(page.get("(window.watch = () => {}, path)"))

    there = path("#zoom-in", 1.6)
    assert there == sorted(there)
    assert len(set(there)) > 2
    page.page.click("#zoom-out")
    page.wait("Math.abs(lmsysMap.zoom() - 1) < 1e-6")
    path("#zoom-out", 1 / 1.6)
    back = path("#fit", 1)
    assert back == sorted(back)
    assert len(set(back)) > 2
    assert page.get("lmsysMap.selectedCluster()") is None


def test_a_pinch_zooms(open_map: OpenMap) -> None:
    page = open_map(make(), touch=True)
    fingers = page.page.context.new_cdp_session(page.page)

    def touch(kind: str, *xs: int) -> None:
        points = [{"x": x, "y": 400, "id": i} for i, x in enumerate(xs)]
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", 400, 500)
    touch("touchMove", 350, 550)
    touch("touchEnd")
    assert page.get("lmsysMap.zoom()") == pytest.approx(2, rel=0.01)


def test_a_lost_graphics_context_comes_back(open_map: OpenMap) -> None:
    page = open_map(make())
    page.page.select_option("#color-by", "model")
    page.rest()
    points: Any = {"x": 0, "y": 120, "width": 860, "height": 560}  # without the panels, whose blur is not exact
    before = page.page.screenshot(clip=points)
    page.get("void (window.card = document.getElementById('canvas').getContext('webgl2')"
             ".getExtension('WEBGL_lose_context'), card.loseContext())")  # fmt: skip
    page.wait("!document.getElementById('message').hidden")
    page.page.select_option("#color-by", "cluster")
    page.get("card.restoreContext()")
    page.wait("document.getElementById('message').hidden")
    page.page.select_option("#color-by", "model")
    page.rest()
    assert page.page.screenshot(clip=points) == before
    assert page.errors == []


def test_a_hostile_text_is_inert_everywhere(open_map: OpenMap) -> None:
    n = 10
    hostile = pl.Series([XSS] * n)
    clusters = [lmap.MapCluster(cluster_id=i, title=XSS, description=XSS) for i in range(4)]
    page = open_map(make(n, texts=hostile, title=XSS, note=XSS, clusters=clusters, models=hostile, languages=hostile))
    assert "<img src=x onerror=" in page.hover(0)
    page.page.fill("#search", "<img")
    page.wait("!!lmsysMap.searchHits()")
    page.page.mouse.click(*page.at(0))
    page.page.select_option("#color-by", "model")
    page.page.click("#legend .row")
    page.rest()
    assert page.get("window.pwned") is None
    assert page.page.locator("img").count() == 0
    assert page.page.title().startswith("<img src=x")
    assert page.errors == []
    assert [url for url in page.requests if not url.startswith(("file:", "data:"))] == []


def test_text_in_every_script_arrives_unchanged(open_map: OpenMap) -> None:
    page = open_map(plain(1, texts=pl.Series([UNICODE])))
    page.hover(0)
    assert page.get("document.querySelector('.tip-text').textContent") == UNICODE
    page.page.fill("#search", "日本語")
    page.wait("lmsysMap.searchHits()?.length === 1")


@pytest.mark.parametrize("n", [0, 1, 30])
def test_degenerate_maps_behave(open_map: OpenMap, n: int) -> None:
    page = open_map(make(n, xy=np.ones((n, 2), np.float32)))  # one place for all
    assert page.errors == []
    if n == 0:
        assert "no texts" in page.page.inner_text("#message")
    else:
        assert "text number" in page.hover(0)
        page.page.mouse.click(*page.at(0))
        assert page.get("lmsysMap.selectedCluster()") == 0
    page.page.fill("#search", "text")
    page.wait(f"lmsysMap.searchHits()?.length === {n}")
    page.page.click("#fit")
    page.rest()
    assert page.errors == []


def test_only_noise_is_a_map_too(open_map: OpenMap) -> None:
    page = open_map(plain(50, cluster_ids=np.full(50, -1), clusters=[]))
    assert page.page.inner_text("#counts") == "50 texts · 0 clusters · 100% noise"
    assert "Noise" in page.hover(0)
    assert page.errors == []


def test_the_map_works_in_a_notebook_frame(browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "notebook.html"
    path.write_text(f"<!doctype html><meta charset=utf-8>{lmap.iframe(lmap.html(make()))}", "utf-8")
    page = MapPage(browser.new_page())
    page.page.goto(path.as_uri())
    frame = page.page.frame_locator("iframe")
    frame.locator(".label").first.wait_for()
    assert frame.locator("#title").inner_text() == "A map"
    assert page.errors == []
    page.page.close()


def test_a_narrow_window_hides_the_list_until_asked(open_map: OpenMap) -> None:
    page = open_map(make(), width=600, height=500)
    assert not page.page.is_visible("#panel")
    page.page.click("#panel-toggle")
    assert page.page.is_visible("#panel")


def test_without_webgl_the_page_says_so(browser: Any, tmp_path: Path) -> None:
    page = MapPage(browser.new_page())
    page.page.add_init_script("HTMLCanvasElement.prototype.getContext = () => null")
    page.page.goto(lmap.write_html(make(), tmp_path / "map.html").as_uri())
    page.wait("document.getElementById('message').textContent.includes('WebGL 2')")
    assert page.page.is_visible("#message")
    page.page.close()


@pytest.mark.slow
def test_a_million_points_stay_usable(open_map: OpenMap, tmp_path: Path) -> None:
    n = 1_000_000
    random = np.random.default_rng(0)
    ids = random.integers(-1, 500, n).astype(np.int32)
    xy = random.uniform(-50, 50, (501, 2))[ids] + random.normal(size=(n, 2))
    words = pl.Series(
        ["sort a list in python", "écrire une lettre", "解释 量子 力学", "translate this into French"] * 64
    )
    texts = words[random.integers(0, len(words), n)] + " please, request " + pl.Series(np.arange(n)).cast(pl.String)
    began = time.monotonic()
    path = lmap.write_html(plain(n, xy=xy, cluster_ids=ids, clusters=[], texts=texts), tmp_path / "million.html")
    wrote = time.monotonic() - began
    began = time.monotonic()
    page = open_map(path)
    loaded = time.monotonic() - began
    began = time.monotonic()
    page.page.fill("#search", "request 777777")
    page.wait("lmsysMap.searchHits()?.length === 1", 60)
    searched = time.monotonic() - began
    page.page.keyboard.press("Escape")
    page.page.mouse.move(500, 400)
    # The longest time the page does not answer, while the wheel turns.
    page.get("void (window.gap = 0, window.last = performance.now(), setInterval(() => {"
             "const now = performance.now(); gap = Math.max(gap, now - last); last = now; }, 4))")  # fmt: skip
    for _ in range(10):
        page.page.mouse.wheel(0, -60)
        time.sleep(0.03)
    gap = page.get("gap")
    page.rest()
    figures = f"{path.stat().st_size / 1e6:.0f} MB written in {wrote:.1f} s, complete picture {loaded:.1f} s, "
    figures += f"search {searched:.1f} s, longest gap while zooming {gap:.0f} ms"
    sys.stdout.write(f"1M points: {figures}\n")
    assert path.stat().st_size < 80e6
    assert (wrote < 60, loaded < 60, searched < 30, gap < 500) == (True, True, True, True), figures
    assert page.errors == []
