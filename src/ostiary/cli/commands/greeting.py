"""What a start prints last: where the console is, and how to sign in."""

import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from ostiary.cli.startup import addresses
from ostiary.cli.startup.provisioning import Provisioned
from ostiary.settings import Settings

#: In place of an address that only the reader knows.
SOMEBODY = "YOU@EXAMPLE.COM"


@dataclass(frozen=True, slots=True, kw_only=True)
class Greeting:
    """Without secrets, but for the demo's text."""

    #: The address of the console; empty where it isn't ours.
    console: str
    #: The command that gives somebody a way in.
    command: str
    #: The command that puts the reader's own API behind the gateway.
    protect: str
    #: Whether there is somebody who can sign in.
    anybody: bool
    #: What the first start of a demo tells, with its secrets; else empty.
    demo: str

    def text(self, *, with_secrets: bool) -> str:
        """The lines for people; may be empty."""
        if self.demo and with_secrets:
            return f"{self.demo}\nProtect your own API:  {self.protect}"
        lines = [f"Console:  {self.console}"] if self.console else []
        if not self.anybody:
            lines.append(f"Nobody can sign in yet; run: {self.command}")
        elif self.console:
            lines.append(f"Sign in:  as before, or with a new link from: {self.command}")
        lines.append(f"Protect your own API:  {self.protect}")
        return "\n".join(lines)

    def fields(self) -> dict[str, str]:
        """The same for machines."""
        return {"console": self.console, "sign_in": self.command, "protect": self.protect}


def of(settings: Settings, provisioned: Provisioned, *, with_console: bool) -> Greeting:
    """The greeting of a start that is ready."""
    at = addresses.of(settings)
    email = provisioned.admin or SOMEBODY
    what = ["member", "link"] if provisioned.anybody else ["member", "create"]
    more = [] if provisioned.anybody else ["--admin"]
    words = [_program(), *what, "--data", str(settings.data), "--email", email, *more]
    protect = [_program(), "protect", "--data", str(settings.data)]
    return Greeting(
        protect=f"{shlex.join(protect)} URL",
        console=f"{at.public_console or at.console}/" if with_console else "",
        command=shlex.join(words),
        anybody=provisioned.anybody,
        demo=provisioned.demo,
    )


def _program() -> str:
    """How the reader calls us."""
    ours, known = Path(sys.argv[0]), shutil.which("ostiary")
    if not ours.is_file() or (known and ours.samefile(known)):
        return "ostiary"
    return sys.argv[0]
