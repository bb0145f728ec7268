"""Client logos: decoded, checked and redrawn, so that only pixels are stored.

Pure; knows no table and no upload.
"""

from dataclasses import dataclass

LARGEST = 2 * 1024 * 1024
SMALL, MEDIUM = 48, 96


class BadLogo(Exception):
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
    # It loads Pillow, which most parts never need.
    from ostiary.directory.clients import logo_drawing

    return logo_drawing.drawn(content)
