"""The site's settings for tests: nothing of the tester's environment or data comes in, nothing goes out.

TEST_DATABASE=sqlite (default: a file, so that WAL and locks are real) or postgresql (a server of the run's own, see tests/conftest.py).
"""

from __future__ import annotations

import os
import tempfile

# fmt: off
OWN_NAMES = [
    "ALLOWED_HOSTS", "API_MAX_BODY_BYTES", "API_MAX_MESSAGE_BYTES", "API_RATE_PER_TOKEN", "BEHIND_PROXY", "CSRF_TRUSTED_ORIGINS",
    "DATABASE_POOL_MAX", "DATABASE_URL", "DATABASE_URL_FILE", "DEBUG", "HSTS_SECONDS", "HSTS_WHOLE_DOMAIN",
    "HTTPS", "LOGIN_DAYS", "LOG_LEVEL", "SECRET_KEY", "SECRET_KEY_FILE", "SQLITE_SYNCHRONOUS", "TIME_ZONE", "UNDO_HOURS",
]
# fmt: on
for name in OWN_NAMES:
    os.environ.pop(name, None)

# One folder for the run: xdist's workers and processes that tests start inherit it. Removed by tests/conftest.py.
if not os.environ.get("TEST_DIR"):
    os.environ["TEST_DIR"] = tempfile.mkdtemp(prefix="sessionsite-test-")
os.environ["DATA_DIR"] = os.environ["TEST_DIR"]
os.environ["SECRET_KEY"] = "only for tests, never for a site"
# Playwright runs an event loop in the test's thread; Django would refuse the ORM there.
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"

TEST_DATABASE = os.environ.get("TEST_DATABASE") or "sqlite"
if TEST_DATABASE == "postgresql":
    # A socket in the run's folder: no port to choose, nothing to reach from outside.
    os.environ["DATABASE_URL"] = f"postgresql://postgres@{os.environ['DATA_DIR'].replace('/', '%2F')}/sessionsite"
elif TEST_DATABASE != "sqlite":
    raise SystemExit(f"TEST_DATABASE={TEST_DATABASE!r} is not one of sqlite, postgresql.")

from sessionsite.settings import *  # noqa: E402, F403
from sessionsite.settings import DATA_DIR, DATABASES, INSTALLED_APPS, MIDDLEWARE, STORAGES  # noqa: E402

# Processes that a test starts run with the site's own settings on the test's database: tests.conftest.child_env tells them.
os.environ.pop("DATABASE_URL", None)
if TEST_DATABASE == "sqlite":
    DATABASES["default"]["TEST"] = {"NAME": str(DATA_DIR / "test.sqlite3")}

(DATA_DIR / "static").mkdir(exist_ok=True)  # whitenoise warns of a missing one
STORAGES["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}  # no manifest to build first
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # fast
AXES_ENABLED = False  # tests of the lock switch it on
INSTALLED_APPS += ["zeal"]
MIDDLEWARE.insert(
    0, "zeal.middleware.zeal_middleware"
)  # a page that queries in a loop fails its test; first, so that the doors do not go past it
# Django's own: around sign-in and sign-out, and the admin's page of a user, which the signed-in user is as well.
ZEAL_ALLOWLIST = [{"model": "sessions.Session", "field": "get()"}, {"model": "auth.User", "field": "get()"}]
