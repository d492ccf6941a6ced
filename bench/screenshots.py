"""Take pictures of the main pages of this site's own store: `make screenshots` puts them into screenshots/, 1440 and 360 wide, light and dark.

Starts the site on a free port of this machine, signs in as the operator by a one-time link, and stops it again.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from tests.tools import find_chromium

WIDTHS = {1440: 900, 360: 780}


def manage(*words: str) -> str:
    return subprocess.run([sys.executable, "manage.py", *words], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def pictures(page: Page, site: str, folder: Path) -> None:
    page.goto(f"{site}/sessions/")
    first = page.locator("a[href^='/sessions/']").evaluate_all("links => links.map(link => link.getAttribute('href'))")
    transcript = next((path for path in first if re.match(r"/sessions/[0-9a-f-]{36}/", path)), None)
    paths = {"inbox": "/sessions/", "costs": "/costs/", "signin": "/signin/"} | ({"transcript": transcript} if transcript else {})
    for name, path in paths.items():
        for width, height in WIDTHS.items():
            page.set_viewport_size({"width": width, "height": height})
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
                if name == "signin":
                    page.context.clear_cookies()
                page.goto(f"{site}{path}", wait_until="networkidle")
                page.screenshot(path=folder / f"{name}-{width}-{scheme}.png")
                print(folder / f"{name}-{width}-{scheme}.png")


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    site = f"http://127.0.0.1:{port}"
    server = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "--config", "sessionsite/gunicorn.conf.py", "--bind", f"127.0.0.1:{port}"],
        env={**os.environ, "WORKERS": "1"},
        stderr=subprocess.DEVNULL,
    )
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                if server.poll() is not None:
                    sys.exit("The site did not start: run `make run` once, which makes the database and the static files.")
                time.sleep(0.1)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox", "--disable-gpu"])
            page = browser.new_page()
            page.goto(manage("signin_link", "admin", "--base-url", site))
            page.get_by_role("button", name="Sign in").click()
            page.wait_for_url("**/sessions/**")
            pictures(page, site, folder)
            browser.close()
    finally:
        server.terminate()
        server.wait(30)


if __name__ == "__main__":
    main()
