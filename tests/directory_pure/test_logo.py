"""Logos: only what decodes as PNG or JPEG, and nothing of it but pixels."""

import io
import struct
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from ostiary.directory.clients import logo
from ostiary.directory.clients.logo import BadLogo

RED, BLUE = (255, 0, 0, 255), (0, 0, 255, 255)


def written(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def opened(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.load()
    assert image.format == "PNG"
    assert image.mode == "RGBA"
    return image


def two_halves(width: int = 200, height: int = 100) -> Image.Image:
    """Red on the left, blue on the right."""
    image = Image.new("RGB", (width, height), "red")
    image.paste((0, 0, 255), (width // 2, 0, width, height))
    return image


def a_header_of(width: int, height: int) -> bytes:
    """A PNG that claims a size, and holds no pixel."""
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))
    return b"\x89PNG\r\n\x1a\n" + chunk + written(Image.new("L", (1, 1)))[33:]


def exif(orientation: int) -> Image.Exif:
    made = Image.Exif()
    made[0x0112] = orientation
    made[0x010E] = "taken at home"
    return made


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
@pytest.mark.parametrize(
    ("size", "small", "medium"),
    [
        ((200, 100), (48, 24), (96, 48)),
        ((100, 200), (24, 48), (48, 96)),
        ((10, 10), (48, 48), (96, 96)),
        ((3000, 2), (48, 1), (96, 1)),
        ((1, 1000), (1, 48), (1, 96)),
    ],
    ids=["wide", "tall", "tiny", "a line", "a column"],
)
def test_a_logo_fits_both_squares(
    form: str, size: tuple[int, int], small: tuple[int, int], medium: tuple[int, int]
) -> None:
    drawn = logo.read(written(Image.new("RGB", size, "red"), form))
    assert opened(drawn.small).size == small
    assert opened(drawn.medium).size == medium


@pytest.mark.parametrize(
    ("content", "pixel"),
    [
        (written(Image.new("1", (9, 9), 1)), (255, 255, 255, 255)),
        (written(Image.new("L", (9, 9), 100)), (100, 100, 100, 255)),
        (written(Image.new("L", (9, 9), 100), transparency=100), (100, 100, 100, 0)),
        (written(Image.new("LA", (9, 9), (100, 255))), (100, 100, 100, 255)),
        (written(Image.new("I;16", (9, 9), 128 * 257)), (128, 128, 128, 255)),
        (written(Image.new("RGB", (9, 9), "red").quantize(2)), RED),
        (written(Image.new("RGB", (9, 9), "red")), RED),
        (written(Image.new("RGBA", (9, 9), RED)), RED),
        (written(Image.new("L", (9, 9), 100), "JPEG"), (100, 100, 100, 255)),
        (written(Image.new("CMYK", (9, 9), (0, 255, 255, 0)), "JPEG"), RED),
    ],
    ids=["1", "L", "L key", "LA", "16 bits", "palette", "RGB", "RGBA", "grey JPEG", "CMYK JPEG"],
)
def test_colours_of_every_kind_are_kept(content: bytes, pixel: tuple[int, ...]) -> None:
    seen = opened(logo.read(content).small).getpixel((24, 24))
    assert isinstance(seen, tuple)
    assert seen[3] == pixel[3]
    assert seen[3] == 0 or all(abs(a - b) <= 2 for a, b in zip(seen, pixel, strict=True))


def test_transparency_is_kept() -> None:
    image = Image.new("RGBA", (96, 96), (0, 0, 0, 0))
    image.paste(RED, (0, 0, 48, 96))
    medium = opened(logo.read(written(image)).medium)
    assert medium.getpixel((5, 50)) == RED
    assert medium.getpixel((90, 50)) == (0, 0, 0, 0)


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
@pytest.mark.parametrize(
    ("orientation", "size", "red"),
    [
        (1, (96, 48), (10, 24)),
        (3, (96, 48), (86, 24)),
        (6, (48, 96), (24, 10)),
        (8, (48, 96), (24, 86)),
    ],
)
def test_a_turned_picture_stands_upright(
    form: str, orientation: int, size: tuple[int, int], red: tuple[int, int]
) -> None:
    content = written(two_halves(), form, exif=exif(orientation))
    medium = opened(logo.read(content).medium)
    assert medium.size == size
    pixel = medium.getpixel(red)
    assert isinstance(pixel, tuple)
    assert pixel[0] > 200
    assert pixel[2] < 50


def test_nothing_but_pixels_is_kept() -> None:
    notes = PngImagePlugin.PngInfo()
    notes.add_text("Comment", "made at home")
    notes.add_itxt("XML:com.adobe.xmp", "<x>made at home</x>")
    options: dict[str, Any] = {"exif": exif(6), "icc_profile": b"profile of home", "dpi": (72, 72)}
    png = written(two_halves(), pnginfo=notes, **options) + b"<script>home</script>"
    for content in (png, written(two_halves(), "JPEG", comment=b"home", **options)):
        drawn = logo.read(content)
        for file in (drawn.small, drawn.medium):
            assert b"home" not in file
            assert opened(file).info == {}
            assert {file[i : i + 4] for i in _chunks(file)} == {b"IHDR", b"IDAT", b"IEND"}


def _chunks(content: bytes) -> list[int]:
    at, found = 8, []
    while at < len(content):
        found.append(at + 4)
        at += 12 + int(struct.unpack(">I", content[at : at + 4])[0])
    return found


GOOD = written(Image.effect_noise((60, 40), 60))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        pytest.param(b"", "must be a PNG or JPEG", id="empty"),
        pytest.param(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "must be a PNG", id="SVG"),
        pytest.param(b"\x89PNG\r\n\x1a\n<svg/>", "must be a PNG or JPEG", id="SVG behind a head"),
        pytest.param(written(two_halves(), "GIF"), "must be a PNG or JPEG", id="GIF"),
        pytest.param(written(two_halves(), "BMP"), "must be a PNG or JPEG", id="BMP"),
        pytest.param(written(two_halves(), "WEBP"), "must be a PNG or JPEG", id="WebP"),
        pytest.param(written(two_halves(), "TIFF"), "must be a PNG or JPEG", id="TIFF"),
        pytest.param(
            written(two_halves(), save_all=True, append_images=[Image.new("RGB", (200, 100))]),
            "must not be animated",
            id="animated",
        ),
        pytest.param(GOOD[: len(GOOD) // 2], "damaged", id="half a file"),
        pytest.param(GOOD[:-12], "its end is missing", id="no last chunk"),
        pytest.param(GOOD[:60] + b"\x00\x01\x02" + GOOD[63:], "damaged", id="changed bytes"),
        pytest.param(written(two_halves(), "JPEG")[:-200], "damaged", id="half a JPEG"),
        pytest.param(b"\x00" * (logo.LARGEST + 1), "larger than 2 MB", id="too large"),
        pytest.param(a_header_of(5001, 5000), "25 million pixels", id="too many pixels"),
        pytest.param(a_header_of(10_000, 10_000), "25 million pixels", id="a suspect of Pillow"),
        pytest.param(a_header_of(100_000, 100_000), "25 million pixels", id="a bomb"),
        pytest.param(a_header_of(2**31 - 1, 2**31 - 1), "25 million pixels", id="a large bomb"),
        pytest.param(a_header_of(0, 5), "PNG or JPEG|damaged", id="no width"),
    ],
)
def test_what_is_no_logo_is_refused_with_one_sentence(content: bytes, sentence: str) -> None:
    with pytest.raises(BadLogo, match=sentence) as caught:
        logo.read(content)
    assert str(caught.value).startswith("The logo ")
    assert str(caught.value).endswith(".")


def test_the_limits_themselves_are_accepted() -> None:
    large = logo.read(written(Image.new("1", (5000, 5000))))
    assert opened(large.small).size == (48, 48)


SAMPLES = [
    GOOD,
    written(two_halves(), exif=exif(6)),
    written(two_halves().quantize(4), transparency=1),
    written(two_halves(), "JPEG", exif=exif(8)),
    written(two_halves(), "JPEG", progressive=True),
]


# Pillow warns of orientation data that does not read, and leaves the picture as it is.
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@settings(deadline=None)
@given(st.data())
def test_a_file_that_was_tampered_with_is_drawn_or_refused(data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from(SAMPLES)))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        drawn = logo.read(bytes(content[: data.draw(st.integers(1, len(content)))]))
    except BadLogo:
        return
    assert max(opened(drawn.small).size) == logo.SMALL
    assert max(opened(drawn.medium).size) == logo.MEDIUM
