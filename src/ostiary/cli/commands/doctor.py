"""`ostiary doctor`: checks what is commonly set up wrongly, before `up` or while it runs."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from ostiary.cli.checks import machine_checks, public_checks
from ostiary.cli.checks.result import CheckState, Finding, ok, problem, skipped
from ostiary.cli.failure import Failure
from ostiary.cli.startup import django_setup
from ostiary.settings import Settings, SettingsError

Check = Callable[[Settings], Iterable[Finding]]

#: In the order in which one depends on another.
CHECKS: Sequence[tuple[str, Check]] = (
    ("data folder", machine_checks.folder_rights),
    ("disk space", machine_checks.disk_space),
    ("clock", machine_checks.clock),
    ("ports", machine_checks.ports),
    ("nginx", machine_checks.nginx),
    ("console certificate", machine_checks.console_certificate),
    ("gateway certificate", machine_checks.gateway_certificate),
    ("name servers", machine_checks.name_servers),
    ("database server", machine_checks.database_server),
)
#: These need the directory.
DIRECTORY_CHECKS: Sequence[tuple[str, Check]] = (
    ("database", machine_checks.database),
    ("console URL", public_checks.console),
    ("gateway URL", public_checks.gateway),
    ("parts", machine_checks.parts),
)


def examined(settings: Settings) -> list[Finding]:
    """Every check, each with at least one finding."""
    findings = [ok("settings", "Every OSTIARY_… setting has a name and a value that fit.")]
    for name, check in CHECKS:
        findings += _tried(name, check, settings)
    if said := _in_the_way(settings, findings):
        return findings + [skipped(name, said) for name, _ in DIRECTORY_CHECKS]
    if not (settings.data / django_setup.KEY_RING).exists():
        if settings.database.engine == "sqlite" and Path(settings.database.name).exists():
            said = "The key ring keyring.json is missing, and the database holds what only it can open."
            return [*findings, problem("database", said, "Restore keyring.json from a backup.")]
        said = "There is no directory in the data folder yet."
        return findings + [skipped(name, said) for name, _ in DIRECTORY_CHECKS]
    try:
        django_setup.set_up_django()
    except Failure as failure:
        # The failure of a key ring that others can read already names the command to run.
        todo = "" if "chmod" in str(failure) else "Restore keyring.json from a backup."
        return [*findings, problem("database", str(failure), todo)]
    for name, check in DIRECTORY_CHECKS:
        findings += _tried(name, check, settings)
    return findings


def _in_the_way(settings: Settings, findings: Iterable[Finding]) -> str:
    """Why the directory cannot be opened, as far as known; empty: no problem is known."""
    if settings.data.exists() and not settings.data.is_dir():
        return "The data folder is a file."
    if any(
        each.check == "database server" and each.state is CheckState.PROBLEM for each in findings
    ):
        return "The database server has to answer first."
    return ""


def _tried(name: str, check: Check, settings: Settings) -> list[Finding]:
    try:
        with django_setup.sentences():
            return list(check(settings))
    except Failure as failure:
        return [problem(name, str(failure), "")]
    except OSError as error:
        return [problem(name, f"It cannot be checked: {error}.", "")]


def wrong_settings(error: SettingsError) -> Finding:
    return problem("settings", str(error), "Nothing else is checked before that is right.")


def is_ill(findings: Iterable[Finding]) -> bool:
    return any(each.state is CheckState.PROBLEM for each in findings)


def shown(findings: Sequence[Finding], *, as_json: bool) -> str:
    """One line a finding, or a list of objects."""
    if as_json:
        return json.dumps([asdict(each) for each in findings], indent=2) + "\n"
    return "".join(
        f"{each.state:<8} {each.check}: {each.said}{f' {each.todo}' if each.todo else ''}\n"
        for each in findings
    )
