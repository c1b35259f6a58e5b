"""Find or install a Chromium for the browser tests; `make test` runs `python -m tests.e2e.browser` before them.

An installed browser is preferred, then Debian's package, then Playwright's own download.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Playwright, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MAC = Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")


def find_browser(playwright: Playwright) -> str | None:
    """Return the path of a Chromium or Chrome, or None."""
    installed = [shutil.which(name) for name in NAMES]
    if MAC.exists():
        installed.append(str(MAC))
    if Path(playwright.chromium.executable_path).exists():
        installed.append(playwright.chromium.executable_path)
    return next(filter(None, installed), None)


def install_browser() -> None:
    """Install Debian's package if this user may, else Playwright's own build."""
    if shutil.which("apt-get") and os.geteuid() == 0:
        update = subprocess.run(["apt-get", "update", "-qq"], check=False)
        if update.returncode == 0 and subprocess.run(["apt-get", "install", "-y", "-qq", "chromium"]).returncode == 0:
            return
    with_system_libraries = ["--with-deps"] if sys.platform == "linux" and os.geteuid() == 0 else []
    subprocess.run([sys.executable, "-m", "playwright", "install", *with_system_libraries, "chromium"], check=True)


def main() -> None:
    with sync_playwright() as playwright:
        browser = find_browser(playwright)
        if not browser:
            print("Installing Chromium for the browser tests ...")
            install_browser()
            browser = find_browser(playwright)
    if not browser:
        sys.exit("No Chromium could be found or installed. Install Chromium or Chrome, then run the tests again.")
    print(f"Browser tests use {browser}")


if __name__ == "__main__":
    main()
