"""`python -m tests.documents` writes the reference."""

# The first one chooses a data folder, and sets Django up.
from tests import conftest  # noqa: F401 - it sets Django up
from tests.documents import reference

reference.main()
