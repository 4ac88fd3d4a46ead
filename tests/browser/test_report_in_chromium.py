"""The report as a reader has it: on a laptop and a phone, by light and dark, by mouse and keys."""

import re
import struct
import threading

import pytest

from rockglacier.report.serve import serving

LAPTOP = {"width": 1366, "height": 800}
PHONE = {"width": 360, "height": 740, "phone": True}
VIEW = "document.getElementById('map-view').getAttribute('viewBox').split(' ').map(Number)"


@pytest.fixture
def page(browser):
    return browser.page()


@pytest.fixture
def address(full_report):
    return full_report[0].report_path.as_uri()


def quiet(page, address):
    """Nothing was said on the console, and nothing loaded but the page itself."""
    assert page.errors == []
    assert {url for url in page.requests if not url.startswith("data:")} == {address}


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("window", [LAPTOP, PHONE], ids=["laptop", "phone"])
def test_the_page_fits_its_window_and_loads_nothing(page, address, window, dark, tmp_path):
    page.show(address, dark=dark, **window)
    assert page.run("document.documentElement.scrollWidth") == window["width"]
    assert page.run("[...document.images].every((one) => one.complete && one.naturalWidth > 0)")
    picture = tmp_path / "page.png"
    page.picture(picture)
    width, height = struct.unpack(">II", picture.read_bytes()[16:24])
    assert width == window["width"]
    assert height > 5000
    quiet(page, address)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_words_stand_out_from_their_ground(page, address, dark):
    page.show(address, dark=dark, **LAPTOP)
    low = page.run(
        """(() => {
          const light = (c) => c.match(/[\\d.]+/g).map(Number).slice(0, 3).map((v) => v / 255)
            .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
            .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
          const ground = (e) => {
            for (; e; e = e.parentElement) {
              const c = getComputedStyle(e).backgroundColor;
              if (!c.startsWith("rgba(") || !c.endsWith(", 0)")) return c;
            }
            return "rgb(255, 255, 255)";
          };
          const seen = (e) => e.offsetParent && [...e.childNodes].some((n) => n.nodeType === 3 &&
            n.textContent.trim());
          return [...document.querySelectorAll("main *, header *, nav *, footer *")].filter(seen)
            .map((e) => {
              const [a, b] = [light(getComputedStyle(e).color), light(ground(e))];
              return [e.tagName + " " + e.textContent.slice(0, 30),
                (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)];
            }).filter(([, contrast]) => contrast < 4.5);
        })()"""
    )
    assert low == []


def test_a_row_shows_its_rock_glacier_on_the_map(page, address):
    page.show(address, **LAPTOP)
    before = page.run(VIEW)
    page.click("tbody button[data-box]")
    box = [int(n) for n in page.run("document.querySelector('[data-box]').dataset.box").split(" ")]
    x, y, width, height = page.run(VIEW)
    assert width < before[2]
    assert x <= box[0] <= box[0] + box[2] <= x + width
    assert y <= box[1] <= box[1] + box[3] <= y + height
    name = page.run("document.querySelector('tr[aria-current]').dataset.id")
    assert page.run("document.querySelector('path.on').dataset.id") == name
    assert name in page.run("document.getElementById('map-told').textContent")
    page.click("[data-act=all]")
    assert page.run(VIEW) == before
    quiet(page, address)


def test_an_outline_shows_its_row(page, address):
    page.show(address, **LAPTOP)
    page.run("document.querySelector('path.pick').classList.add('probe')")
    page.click("path.probe")
    assert page.run("document.querySelector('tr[aria-current]').dataset.id") == page.run(
        "document.querySelector('path.probe').dataset.id"
    )


def test_layers_are_switched(page, address):
    page.show(address, **LAPTOP)

    def is_seen(layer):
        return page.run(f"getComputedStyle(document.querySelector('[data-layer={layer}]')).display"
                        " !== 'none'")  # fmt: skip

    keys = page.run("[...document.querySelectorAll('.layers input')].map((one) => one.value)")
    assert {"true", "false", "relief", "probability", "reference", "test", "train"} <= set(keys)
    assert [is_seen(one) for one in ("true", "false", "probability")] == [True, False, False]
    page.click("input[value=false]")
    assert [is_seen(one) for one in ("true", "false", "relief")] == [False, True, False]
    for layer in ("probability", "reference", "test", "ground"):
        before = is_seen(layer)
        page.click(f"input[value={layer}]")
        assert is_seen(layer) != before, layer
    quiet(page, address)


def test_the_map_is_moved_by_keys(page, address):
    page.show(address, **LAPTOP)
    page.run("document.getElementById('map-view').focus()")
    whole = page.run(VIEW)
    page.press("+")
    closer = page.run(VIEW)
    assert closer[2] == pytest.approx(whole[2] / 2, rel=0.01)
    page.press("ArrowRight", code=39)
    assert page.run(VIEW)[0] > closer[0]
    page.press("0")
    assert page.run(VIEW) == whole
    assert page.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_the_map_fills_a_window_that_was_turned_and_turned_back(page, address):
    page.show(address, **LAPTOP)
    before = page.run(VIEW)
    for width in (700, 1366):
        page.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=800, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip
        page.run("new Promise((done) => setTimeout(done, 300))")
    assert page.run(VIEW) == pytest.approx(before, rel=0.01, abs=5)


def test_motion_ends_where_a_jump_does(page, address):
    page.show(address, **LAPTOP)
    page.click("tbody button[data-box]")
    wanted = page.run(VIEW)
    page.show(address, calm=False, **LAPTOP)
    assert page.run(VIEW) != wanted
    page.click("tbody button[data-box]")
    page.wait(f"{VIEW}.join() === '{','.join(f'{n:g}' for n in wanted)}'")
    assert page.errors == []


def test_charts_are_light_on_dark_and_pictures_of_ground_keep_their_colours(page, address):
    look = "getComputedStyle(document.querySelector('{} img')).filter.startsWith('invert')"
    for dark in (False, True):
        page.show(address, dark=dark, **LAPTOP)
        assert page.run(look.format("#sizes .chart")) == dark
        assert not page.run(look.format("#composite .pictured"))


def test_a_folded_table_opens_by_its_caption(page, address):
    page.show(address, **LAPTOP)
    is_seen = "document.querySelector('.fold table').checkVisibility()"
    assert not page.run(is_seen)
    page.click(".fold summary")
    assert page.run(is_seen)
    quiet(page, address)


def test_what_is_wider_than_its_place_fades_until_it_is_moved_to_its_end(page, address):
    page.show(address, **PHONE)
    page.run("document.querySelector('#map .wide').classList.add('probe')")
    fade = "getComputedStyle(document.querySelector('.probe')).getPropertyValue('--more')"
    assert page.run(fade) not in ("", "0px")
    page.run("document.querySelector('.probe').scrollLeft = 1e5")
    page.wait(f"{fade} === '0px'")
    page.show(address, **LAPTOP)
    page.run("document.querySelector('#quality .wide').classList.add('probe')")
    assert page.run(fade) == "0px"


def test_a_table_is_sorted_by_its_heads(page, address):
    page.show(address, **LAPTOP)
    heads = page.run(
        "[...document.querySelectorAll('table.zoomed thead th')].map((one) => one.textContent)"
    )
    column = heads.index("area, km²")
    cells = (
        "[...document.querySelectorAll('table.zoomed tbody tr')]"
        f".map((row) => Number(row.cells[{column}].textContent))"
    )
    selector = f"table.zoomed thead th:nth-child({column + 1}) button"
    for order in ("ascending", "descending"):
        page.click(selector)
        values = page.run(cells)
        assert values == sorted(values, reverse=order == "descending")
        assert page.run(f"document.querySelector({selector!r}).parentNode.ariaSort") == order


def test_the_page_makes_sense_to_a_screen_reader(page, address):
    page.show(address, **LAPTOP)
    tree = page.ask("Accessibility.getFullAXTree")["nodes"]
    roles = {}
    for node in tree:
        if not node["ignored"]:
            name = node.get("name", {}).get("value", "")
            roles.setdefault(node["role"]["value"], []).append(name)
    for landmark in ("main", "navigation", "contentinfo"):
        assert len(roles[landmark]) == 1
    assert all(roles["image"])
    for role in ("button", "link", "checkbox", "radio", "region", "application", "table"):
        assert all(name.strip() for name in roles[role]), role
    levels = page.run(
        "[...document.querySelectorAll('h1, h2, h3')].map((one) => Number(one.tagName[1]))"
    )
    assert levels[0] == 1
    assert set(levels[1:]) == {2}
    ids = page.run("[...document.querySelectorAll('[id]')].map((one) => one.id)")
    assert len(ids) == len(set(ids))
    page.press("Tab", code=9)
    assert page.run("document.activeElement.className") == "skip"


def test_what_view_serves_is_the_same_page_with_its_rasters_by_ranges(page, full_report):
    study, _ = full_report
    with serving(study.folder) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            root = f"http://127.0.0.1:{server.server_address[1]}"
            page.show(f"{root}/", **LAPTOP)
            assert page.run("location.pathname") == "/report/index.html"
            links = page.run(
                "[...document.querySelectorAll('main a[href]')].map((one) => one.pathname)"
                ".filter((one) => /[.](csv|svg|png)$/.test(one))"
            )
            lost = [one for one in links if not (study.folder / one[1:]).is_file()]
            assert links
            assert lost == []
            assert page.errors == []
            assert {re.sub(r"(https?://[^/]+).*", r"\1", url) for url in page.requests
                    if not url.startswith("data:")} == {root}  # fmt: skip
        finally:
            server.shutdown()
            thread.join()
