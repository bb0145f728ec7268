"""The page of licences says what the packages declare that users install."""

from tests.packaging import licences


def test_the_page_of_licences_is_what_packages_declare() -> None:
    assert licences.PAGE.read_text() == licences.page(), "run `make lock`"
