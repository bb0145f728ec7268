"""`make chaos`: kill, stop, fill and cut each part under load, and show what callers notice.

With no argument every case; else those that are named. It prints a table, and fails if a call was
admitted after its revocation was confirmed, if counts were lost beyond the bound of the case, or if
anything did not recover by itself.
"""

import argparse
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from tests.chaos import network
from tests.chaos.cases import CASES, HEAD, Result, run
from tests.chaos.fleet import running


def main() -> int:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help="names of cases (all)")
    parser.add_argument("--rate", type=float, default=200, help="calls a second (200)")
    parser.add_argument("--keep", action="store_true", help="keep the logs")
    parser.add_argument("--list", action="store_true", help="name the cases")
    parser.add_argument(network.INSIDE, action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(f"{case.name:32} {case.text}" for case in CASES))
        return 0
    unknown = set(arguments.cases) - {case.name for case in CASES}
    if unknown:
        parser.error(f"there is no case {min(unknown)}; see --list")
    if not arguments.inside:
        why = network.missing()
        if not why:
            return network.enter(sys.argv[1:])
        print(f"No network namespaces here ({why}): machines are loopback addresses, and cases that"
              " cut a network or fill a disk are left out.")  # fmt: skip
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = Path(tempfile.mkdtemp(prefix="ostiary-chaos-"))
    folder.chmod(0o755)
    try:
        return _run(folder, arguments)
    except KeyboardInterrupt:
        return 130
    finally:
        if arguments.keep:
            print(f"Logs: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def _run(folder: Path, arguments: argparse.Namespace) -> int:
    wanted = [case for case in CASES if not arguments.cases or case.name in arguments.cases]
    left_out = [case for case in wanted if case.isolated and not arguments.inside]
    results: list[Result] = []
    broken: list[str] = []
    with running(folder, real=arguments.inside, rate=arguments.rate) as fleet:
        print(f"{arguments.rate:g} calls a second over three gateways\n\n{HEAD}", flush=True)
        for case in wanted:
            if case not in left_out:
                try:
                    results.append(run(fleet, case))
                except AssertionError as error:
                    fleet.load.end()
                    broken.append(f"{case.name}: {error}")
                    print(f"| {case.text} | {error} |", flush=True)
                else:
                    print(results[-1].line(), flush=True)
    for case in left_out:
        print(f"not run here: {case.name}")
    faults = [f"{each.case.name}: {fault}" for each in results for fault in each.faults()]
    faults += broken
    print("\n" + ("\n".join(faults) or "No fault."))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
