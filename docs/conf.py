"""How Sphinx builds this folder into a site: `make docs`. Markdown alone, and nothing from elsewhere."""

from pygments.lexers import TextLexer
from sphinx.application import Sphinx

import ostiary

project = "Ostiary"
author = "The Ostiary authors"
copyright = f"2026, {author}"  # noqa: A001 - Sphinx names it so
release = version = ostiary.__version__

extensions = ["myst_parser"]
#: Links to headings down to this level are checked.
myst_heading_anchors = 4

html_theme = "furo"
html_title = f"Ostiary {release}"
html_copy_source = False
html_show_sourcelink = False


def setup(app: Sphinx) -> None:
    """Name languages that Pygments does not know."""
    app.add_lexer("haproxy", TextLexer)
    app.add_lexer("caddy", TextLexer)
