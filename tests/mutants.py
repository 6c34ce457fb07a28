"""`make mutants`: change the code in one place at a time, and show which changes no test notices.

pyproject.toml ([tool.mutmut]) says which modules are changed, and which tests are asked.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path

from mutmut.mutation.diff_apply import get_diff_for_mutant

FOLDER = Path("mutants")  # where mutmut keeps the changed code and its results
STAMP = FOLDER / "sources.sha256"
MUTMUT = [sys.executable, "-m", "mutmut"]
_NAME = re.compile(r"(?P<module>[\w.]+)\.(?:x_|xǁ(?P<owner>\w+)ǁ)(?P<function>\w+)__mutmut_\d+")


def fresh() -> None:
    """Forget the results of earlier runs if any code or test has changed since."""
    digest = hashlib.sha256(Path("pyproject.toml").read_bytes())
    for folder in ("reconciler", "tests"):
        for path in sorted(Path(folder).rglob("*.py")):
            digest.update(str(path).encode() + b"\0" + path.read_bytes() + b"\0")
    if not STAMP.exists() or STAMP.read_text() != digest.hexdigest():
        shutil.rmtree(FOLDER, ignore_errors=True)
        FOLDER.mkdir()
        STAMP.write_text(digest.hexdigest())


def run(minutes: float) -> bool:
    """Try mutants for so long; whether all were tried. The next run of the same code goes on."""
    with subprocess.Popen([*MUTMUT, "run"], start_new_session=True) as child:
        try:
            status = child.wait(minutes * 60)
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGINT)
            try:
                child.wait(30)
            except subprocess.TimeoutExpired:
                child.kill()
            return False
        if status:
            raise SystemExit(f"mutmut ended with {status}")
        return True


def results() -> dict[str, str]:
    """By mutant: killed, survived, no tests, timeout, not checked."""
    text = subprocess.run([*MUTMUT, "results", "--all", "true"], check=True, text=True,
                          stdout=subprocess.PIPE).stdout
    return dict(line.strip().rsplit(": ", 1) for line in text.splitlines() if ": " in line)


def place(name: str) -> tuple[Path, str]:
    """The file of a mutant, and the function in it."""
    match = _NAME.fullmatch(name)
    assert match, name
    function = f"{match['owner']}.{match['function']}" if match["owner"] else match["function"]
    return Path(*match["module"].split(".")).with_suffix(".py"), function


def change(name: str, file: Path) -> tuple[list[str], list[str]]:
    """The lines that the mutant replaces, and by what."""
    lines = get_diff_for_mutant(name, path=file).splitlines()[2:]
    return tuple([line[1:].strip() for line in lines if line.startswith(sign)]
                 for sign in ("-", "+"))


def line_of(file: Path, function: str, old: list[str]) -> int:
    """Where the first replaced line is."""
    lines = file.read_text().splitlines()
    opening = re.compile(rf"\s*(async )?def {re.escape(function.rpartition('.')[2])}\(")
    first = next((n for n, line in enumerate(lines) if opening.match(line)), 0)
    return next((n for n, line in enumerate(lines[first:], first + 1)
                 if old and line.strip() == old[0]), first + 1)


def only_text(old: list[str], new: list[str]) -> bool:
    """Whether all that differs is the text of a string, such as a message."""
    before, after = " ".join(old), " ".join(new)
    return before.lower() == after.lower() or before == re.sub("XX(.*?)XX", r"\1", after)


def main() -> None:
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 30.0
    begun = time.monotonic()
    fresh()
    whole = run(minutes)
    found = results()
    counts: dict[Path, Counter[str]] = defaultdict(Counter)
    survivors: dict[tuple[Path, int, str], list[str]] = defaultdict(list)
    for name, result in found.items():
        file, function = place(name)
        if result == "survived":
            old, new = change(name, file)
            if only_text(old, new):
                counts[file]["survived, texts"] += 1
                continue
            key = (file, line_of(file, function, old), function)
            survivors[key].append(f"  - {' '.join(old)}\n  + {' '.join(new)}    [{name}]")
        counts[file][result] += 1
    for (file, line, function), changes in sorted(survivors.items()):
        print(f"\n{file}:{line} {function}", *changes, sep="\n")
    columns = ("killed", "timeout", "survived", "survived, texts", "no tests", "not checked")
    print("\n" + f"{'file':44}" + "".join(f"{column:>16}" for column in columns))
    for file, count in [*sorted(counts.items()), ("all", sum(counts.values(), Counter()))]:
        print(f"{file!s:44}" + "".join(f"{count[column]:16}" for column in columns))
    print(f"{len(found)} mutants, {time.monotonic() - begun:.0f} s"
          + ("" if whole else "; the time is up: run it again to go on"))


if __name__ == "__main__":
    main()
