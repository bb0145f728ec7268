"""Client logos: decoded, checked and drawn anew, so that nothing but pixels is kept."""

import io
import warnings
from dataclasses import dataclass

from PIL import Image, ImageOps, UnidentifiedImageError

LARGEST = 2 * 1024 * 1024
#: Pixels; a small file can claim to be far more than memory holds.
MOST_PIXELS = 25_000_000
SMALL, MEDIUM = 48, 96
FORMATS = ("PNG", "JPEG")


class BadLogo(ValueError):
    """Not a logo; the text is one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Logo:
    """PNG files that fit a square of 48 and of 96 pixels."""

    small: bytes
    medium: bytes


def read(content: bytes) -> Logo:
    """Check an uploaded image and draw it in two sizes; raises BadLogo."""
    if len(content) > LARGEST:
        raise BadLogo("The logo is larger than 2 MB.")
    image = _decoded(content)
    return Logo(small=_drawn(image, SMALL), medium=_drawn(image, MEDIUM))


def _decoded(content: bytes) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(content), formats=FORMATS)
            if image.width * image.height > MOST_PIXELS:
                raise BadLogo("The logo has more than 25 million pixels.")
            image.load()
            upright = ImageOps.exif_transpose(image)
    except (UnidentifiedImageError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise BadLogo("The logo must be a PNG or JPEG image.") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        if isinstance(error, BadLogo):
            raise
        raise BadLogo("The logo is damaged: it cannot be decoded.") from None
    return upright.convert("RGBA")


def _drawn(image: Image.Image, side: int) -> bytes:
    small = ImageOps.contain(image, (side, side), Image.Resampling.LANCZOS)
    # A new image: no profile, no text, no metadata of the old one.
    clean = Image.new("RGBA", small.size)
    clean.paste(small)
    out = io.BytesIO()
    clean.save(out, "PNG", optimize=True)
    return out.getvalue()
