"""Wait for the link that `make run` prints, sign in with it, and look at each page once. Standard library only."""

import http.cookiejar
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

log = Path(sys.argv[1])
browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
deadline = time.monotonic() + 180
while not (found := re.search(r"(http://\S+?)/signin/link/\S+", log.read_text())):
    if time.monotonic() > deadline:
        sys.exit("no sign-in link was printed")
    time.sleep(0.5)
link, site = found[0], found[1]


def fetch(url: str, form: dict[str, str] | None = None) -> str:
    data = urllib.parse.urlencode(form).encode() if form is not None else None
    with browser.open(urllib.request.Request(url, data), timeout=30) as answer:
        return str(answer.read().decode())


while True:
    try:
        page = fetch(link)
        break
    except urllib.error.URLError as error:
        if isinstance(error, urllib.error.HTTPError) or time.monotonic() > deadline:
            raise
        time.sleep(0.2)
token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
inbox = fetch(link, {"csrfmiddlewaretoken": token[1] if token else ""})
transcript = re.search(r"/sessions/[0-9a-f-]{36}/", inbox)
if transcript is None:
    sys.exit("the inbox shows no session")
for path in (transcript[0], "/costs/", "/admin/"):
    fetch(f"{site}{path}")
styles = re.findall(r'href="(/static/[^"]+\.css)"', inbox)
for path in styles:
    fetch(f"{site}{path}")
print(f"make run: signed in, {transcript[0]}, /costs/, /admin/ and {len(styles)} stylesheet(s) answer")
