"""`make repeat`: run the suite several times; for each, whether it passed, and how long it took."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections import Counter


def main() -> int:
    times, words = int(sys.argv[1]), sys.argv[2:]
    failed: Counter[str] = Counter()
    bad = 0
    for number in range(1, times + 1):
        begun = time.monotonic()
        # -rfE names each test that failed at the end.
        done = subprocess.run([sys.executable, "-m", "pytest", "-rfE", *words], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        took = time.monotonic() - begun
        names = re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
        failed.update(names)
        bad += done.returncode != 0
        last = done.stdout.strip().rpartition("\n")[2].strip("= ")
        print(f"{number}/{times}: {'failed' if done.returncode else 'passed'}, {took:.0f} s: "
              f"{last}", *names, sep="\n    ", flush=True)
        if done.returncode:
            print(done.stdout, file=sys.stderr)
    print(f"{times - bad} of {times} passed")
    for name, count in failed.most_common():
        print(f"  {count} times: {name}")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
