"""Print the unit tests of the files that differ from the main branch: core/x/y.py has tests/core/x/test_y.py."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent


def git(*arguments: str) -> list[str]:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True).stdout.split()


def tests_of(changed: list[str]) -> list[str]:
    """Return the test files among the changed files, and those of the changed sources, where there are any."""
    paths = [Path(name) for name in changed if name.endswith(".py")]
    tests = {path if path.name.startswith("test_") else "tests" / path.with_name(f"test_{path.name}") for path in paths}
    return sorted(str(test) for test in tests if (ROOT / test).is_file() and "e2e" not in test.parts)


if __name__ == "__main__":
    base = git("merge-base", "HEAD", "main") or git("rev-parse", "HEAD")
    print(*tests_of(git("diff", "--name-only", *base) + git("ls-files", "--others", "--exclude-standard")))
