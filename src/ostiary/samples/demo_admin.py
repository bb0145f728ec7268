"""The demo's admin, whom every start looks for: a module that costs nothing."""

ADMIN = "admin@localhost.localdomain"
