"""Make the README's pictures afresh: `make screenshots` puts inbox, transcript and costs into docs/pictures/, 1440 and 360 wide, light and dark.

In a data folder of its own, thrown away afterwards, so that nothing of the site's own store gets into a picture: the demo sessions, read as
far as somebody would have. Saved as WebP by the browser itself, 0.7 MB in all: they are fetched with every clone.
"""

from __future__ import annotations

import base64
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

from tests.tools import find_chromium

WIDTHS = {1440: 900, 360: 780}
QUALITY = 0.82  # of WebP: the smallest at which 13 px text stays clean
TO_WEBP = """async ([picture, quality]) => {
    const image = new Image();
    image.src = "data:image/png;base64," + picture;
    await image.decode();
    const canvas = Object.assign(document.createElement("canvas"), { width: image.width, height: image.height });
    canvas.getContext("2d").drawImage(image, 0, 0);
    return canvas.toDataURL("image/webp", quality).split(",")[1];
}"""
# A session that shows much: tool calls, an error, a diff. The first of them that the demo has.
TELLING = ".session-row:has(.mark.is-bad) .row-title"


def manage(*words: str, env: dict[str, str]) -> str:
    return subprocess.run([sys.executable, "manage.py", *words], check=True, stdout=subprocess.PIPE, text=True, env=env).stdout.strip()


@contextmanager
def demo_site() -> Iterator[tuple[str, str]]:
    """Run a site of its own with the demo sessions; yield its address and a link that signs its operator in."""
    with tempfile.TemporaryDirectory(prefix="sessionsite-pictures-") as folder, socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
        probe.close()
        env = {**os.environ, "DATA_DIR": folder, "WORKERS": "1", "DJANGO_SUPERUSER_PASSWORD": "pictures"}
        env.pop("DATABASE_URL", None)
        manage("migrate", "--verbosity", "0", env=env)
        manage("collectstatic", "--no-input", "--verbosity", "0", env=env)
        manage("createsuperuser", "--no-input", "--username", "admin", "--email", "", env=env)
        manage("demo", env=env)
        site = f"http://127.0.0.1:{port}"
        server = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "--config", "sessionsite/gunicorn.conf.py", "--bind", f"127.0.0.1:{port}"],
            env=env,
            stderr=subprocess.DEVNULL,
        )
        try:
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except OSError:
                    if server.poll() is not None:
                        sys.exit("The site did not start: `make run` says why.")
                    time.sleep(0.1)
            yield site, manage("signin_link", "admin", "--base-url", site, env=env)
        finally:
            server.terminate()
            server.wait(30)


def take(page: Page, path: Path) -> None:
    """Save what the page shows as WebP."""
    shot = base64.b64encode(page.screenshot(animations="disabled", caret="hide")).decode()
    path.write_bytes(base64.b64decode(page.evaluate(TO_WEBP, [shot, QUALITY])))
    print(f"{path}  {path.stat().st_size // 1000} kB")


def pictures(page: Page, site: str, folder: Path) -> None:
    page.goto(f"{site}/sessions/")
    telling = page.locator(TELLING).first
    row = f"#{telling.get_attribute('id')}"
    transcript = re.sub(r"\?.*", "", telling.get_attribute("href") or "")
    for width, height in WIDTHS.items():
        page.set_viewport_size({"width": width, "height": height})
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
            page.goto(f"{site}/sessions/")
            if page.locator("#reading-pane").is_visible():
                page.locator(row).click()
                expect(page.locator("#reading-pane .transcript")).to_be_visible()
                page.mouse.move(width - 1, height - 1)
                page.evaluate("document.activeElement.blur()")
            page.wait_for_load_state("networkidle")
            take(page, folder / f"inbox-{width}-{scheme}.webp")
            page.goto(f"{site}{transcript}", wait_until="networkidle")
            take(page, folder / f"transcript-{width}-{scheme}.webp")
            page.goto(f"{site}/costs/", wait_until="networkidle")
            expect(page.locator(".js-plotly-plot .main-svg").first).to_be_visible()
            take(page, folder / f"costs-{width}-{scheme}.webp")


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/pictures")
    folder.mkdir(parents=True, exist_ok=True)
    with demo_site() as (site, link), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        # the pictures are drawn on a canvas from a data address, which the site's own policy allows for images
        page.goto(link)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url("**/sessions/**")
        pictures(page, site, folder)
        browser.close()


if __name__ == "__main__":
    main()
