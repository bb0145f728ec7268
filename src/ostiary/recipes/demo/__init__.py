"""The demo's recipes. They are copied into a recipes folder, not imported from here."""
