"""The pixels of client logos: checked, decoded and drawn.

Apart from `logo`, so that Pillow is loaded with the first upload.
"""

import io
import struct
import zlib

from PIL import Image, ImageOps, UnidentifiedImageError

from ostiary.directory.clients.logo import MEDIUM, SMALL, BadLogo, Logo

#: A small file can claim to be far more than memory holds: four bytes for each of these.
MOST_PIXELS = 25_000_000
#: What is tried, whatever the file's name or the upload's type says.
FORMATS = ("PNG", "JPEG")
#: Modes that are made smaller as they are: each conversion before that costs 100 MB.
_PLAIN = frozenset({"L", "RGB", "RGBA"})
#: What Pillow raises for files that are not what their first bytes promise.
_DAMAGE = (
    OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, ArithmeticError,
    AttributeError, struct.error, zlib.error,
)  # fmt: skip
_TOO_MANY = (Image.DecompressionBombError, Image.DecompressionBombWarning)


def drawn(content: bytes) -> Logo:
    """The two sizes of an uploaded image; raises BadLogo."""
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            _check_claims(image, content)
            medium = _upright(image)
    except UnidentifiedImageError:
        raise BadLogo("The logo must be a PNG or JPEG image.") from None
    except _TOO_MANY:
        raise BadLogo("The logo has more than 25 million pixels.") from None
    except _DAMAGE:
        raise BadLogo("The logo is damaged: it cannot be decoded.") from None
    return Logo(small=_written(_fitted(medium, SMALL)), medium=_written(medium))


def _check_claims(image: Image.Image, content: bytes) -> None:
    """What the head of a file says, before a pixel of it is decoded."""
    if image.width * image.height > MOST_PIXELS:
        raise Image.DecompressionBombError
    if image.format == "PNG":
        if getattr(image, "is_animated", False):
            raise BadLogo("The logo must not be animated.")
        # Pillow does without the last chunk, but who cut it off may have cut off more.
        if b"IEND" not in content[-4096:]:
            raise BadLogo("The logo is damaged: its end is missing.")


def _upright(image: Image.Image) -> Image.Image:
    """The image as it is meant to be seen, no larger than the larger square.

    It is made small first: each later step then costs nothing, whatever was uploaded.
    """
    # JPEG can be decoded at a fraction of its size; PNG cannot, and this does nothing.
    image.draft(None, (MEDIUM * 2, MEDIUM * 2))
    image.load()
    if image.mode.startswith("I"):
        # 16 bits of grey: a plain conversion would cut off what is above 255, so nearly all.
        image = image.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    if image.mode not in _PLAIN or "transparency" in image.info:
        image = image.convert("RGBA")
    # The new image still says how it is to be turned, in `info`.
    return ImageOps.exif_transpose(_fitted(image, MEDIUM)).convert("RGBA")


def _fitted(image: Image.Image, side: int) -> Image.Image:
    """Fit an image into a square; a very long one keeps a pixel of width."""
    scale = side / max(image.size)
    width, height = (max(1, round(length * scale)) for length in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS)


def _written(image: Image.Image) -> bytes:
    # A new image: no profile, no text, no metadata of the old one.
    clean = Image.new("RGBA", image.size)
    clean.paste(image)
    out = io.BytesIO()
    clean.save(out, "PNG", optimize=True)
    return out.getvalue()
