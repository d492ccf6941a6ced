"""Every setting of the site, in one file. What an operator may choose comes from the environment; README.md has the table.

An unknown value stops the start with a sentence that names the variable: a typing error in a setting must never become a default.
A secret may also stand in a file named by NAME_FILE, as container platforms hand them over.
"""

from __future__ import annotations

import os
import secrets
import zoneinfo
from datetime import timedelta
from pathlib import Path
from typing import Any

import dj_database_url
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent


# Reading the environment. An empty variable counts as absent, as `NAME= make run` means it.


def env(name: str, default: str = "") -> str:
    return os.environ.get(name, "").strip() or default


def env_secret(name: str, default: str = "") -> str:
    """The value of NAME, or the content of the file that NAME_FILE names."""
    path = env(f"{name}_FILE")
    if not path:
        return env(name, default)
    if env(name):
        raise ImproperlyConfigured(f"{name} and {name}_FILE are both set: keep one.")
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ImproperlyConfigured(f"{name}_FILE: {path} cannot be read: {error}.") from error


def env_choice(name: str, default: str, choices: dict[str, Any]) -> Any:
    value = env(name, default)
    if value not in choices:
        raise ImproperlyConfigured(f"{name}={value!r} is not one of {', '.join(choices)}.")
    return choices[value]


def env_bool(name: str, default: bool = False) -> bool:
    return bool(env_choice(name, "1" if default else "0", {"0": False, "1": True, "off": False, "on": True, "false": False, "true": True}))


def env_int(name: str, default: int, least: int, most: int) -> int:
    value = env(name, str(default))
    if not value.isascii() or not value.isdecimal() or not least <= int(value) <= most:
        raise ImproperlyConfigured(f"{name}={value!r} is not a whole number from {least} to {most}.")
    return int(value)


def env_list(name: str, default: str = "") -> list[str]:
    return [item.strip() for item in env(name, default).split(",") if item.strip()]


# Where the site keeps what it must not lose: the database and the key. Only its owner may read it.

DATA_DIR = Path(env("DATA_DIR", str(BASE_DIR / "var"))).resolve()


def data_dir() -> Path:
    DATA_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
    return DATA_DIR


def kept_secret(name: str) -> str:
    """The random secret kept in DATA_DIR/name, made on the first start. Workers that start together all get the same one:
    a link to a file that is already whole either wins or fails, and who fails reads the winner's."""
    path = data_dir() / name
    if not path.exists():
        draft = path.with_name(f".{name}.{secrets.token_hex(8)}")
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(64))
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text(encoding="ascii").strip()


SECRET_KEY = env_secret("SECRET_KEY") or kept_secret("secret_key")
DEBUG = env_bool("DEBUG")

# The hosts that this site answers for: this machine only, until the operator names others.
ALLOWED_HOSTS = env_list("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
CSRF_TRUSTED_ORIGINS = env_list("CSRF_TRUSTED_ORIGINS")

# Days are cut, and times are shown, in this zone.
USE_TZ = True
TIME_ZONE = env("TIME_ZONE", "UTC")
try:
    zoneinfo.ZoneInfo(TIME_ZONE)
except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError) as error:
    raise ImproperlyConfigured(f"TIME_ZONE={TIME_ZONE!r} is not a known time zone (such as Europe/Zurich).") from error
# The site speaks English; translating nothing is measurably cheaper than looking for translations.
LANGUAGE_CODE = "en-us"
USE_I18N = False


# Database: one SQLite file, or PostgreSQL by DATABASE_URL.

SQLITE_SYNCHRONOUS = env_choice("SQLITE_SYNCHRONOUS", "FULL", {"FULL": "FULL", "NORMAL": "NORMAL"})
# Connections a process may hold to PostgreSQL. A worker uses one per thread; the rest is room for a command's threads.
DATABASE_POOL_MAX = env_int("DATABASE_POOL_MAX", 4, 1, 100)


def database(url: str) -> dict[str, Any]:
    """The DATABASES entry for a URL. Only sqlite and postgresql: the others were never tried."""
    scheme = url.partition(":")[0]
    if scheme not in ("sqlite", "postgres", "postgresql"):
        raise ImproperlyConfigured(f"DATABASE_URL begins with {scheme!r}: sqlite:///FILE and postgresql://USER@HOST/NAME are supported.")
    try:
        config: dict[str, Any] = dict(dj_database_url.parse(url))
    except ValueError as error:
        raise ImproperlyConfigured(f"DATABASE_URL cannot be read: {error}") from error
    options = config.setdefault("OPTIONS", {})
    if scheme == "sqlite":
        # IMMEDIATE takes the write lock when a transaction begins: otherwise two transactions that both read first and then write
        # cannot both go on, and one fails at once whatever the timeout (206 of 600 did; none with this).
        # FULL: what was acknowledged is on the disk. NORMAL survives a killed process but may lose the last commits in a power cut.
        options.update(
            transaction_mode="IMMEDIATE",
            timeout=20,  # seconds to wait for another writer
            init_command=(
                "PRAGMA journal_mode=WAL;"
                f"PRAGMA synchronous={SQLITE_SYNCHRONOUS};"
                "PRAGMA mmap_size=134217728;"  # bytes: 128 MB
                "PRAGMA cache_size=-20000;"  # negative: kB
                "PRAGMA temp_store=MEMORY;"
                # Pages of the write-ahead log, 16 MB, after which they are written back: each time waits for the disk twice, every 50 turns by default.
                "PRAGMA wal_autocheckpoint=4000"
            ),
        )
        config["CONN_MAX_AGE"] = None  # a file needs no reconnecting, and the pragmas are then set once
    else:
        options.setdefault("pool", {"min_size": 1, "max_size": DATABASE_POOL_MAX, "timeout": 10})  # seconds
        options.setdefault("connect_timeout", 10)  # seconds
        options.setdefault("application_name", "sessionsite")
        config["CONN_MAX_AGE"] = 0  # the pool keeps them
    return config


DATABASE_URL = env_secret("DATABASE_URL")
DATABASES = {"default": database(DATABASE_URL or f"sqlite:///{data_dir() / 'db.sqlite3'}")}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"


# The application.

INSTALLED_APPS = [
    "sessions_app",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_htmx",
    "template_partials",
    "axes",
    "csp",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "sessions_app.doors.ForPrograms",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    # Every page is for people who signed in, unless its view says otherwise.
    "sessions_app.signin.SignInRequired",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
]
ROOT_URLCONF = "sessionsite.urls"
WSGI_APPLICATION = "sessionsite.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]


# Static files: our own, and single named files out of installed packages; served by the site itself, compressed, under hashed names.

STATIC_URL = "/static/"
STATIC_ROOT = DATA_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATICFILES_FINDERS = [
    "django.contrib.staticfiles.finders.FileSystemFinder",
    "django.contrib.staticfiles.finders.AppDirectoriesFinder",
    "sessions_app.finders.PackageFileFinder",
]
# static name -> (installed package, file in it); the licence and the version stay with the package
PACKAGE_STATIC_FILES = {"plotly/plotly.min.js": ("plotly", "package_data/plotly.min.js")}
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
WHITENOISE_KEEP_ONLY_HASHED_FILES = True


# Sign-in.

LOGIN_URL = "/signin/"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "/signin/"
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
PASSWORD_RESET_TIMEOUT = 24 * 3600  # seconds; a one-time sign-in link that nobody used by then is dead, another is one command away
# Guessing is stopped per name and address together: a stranger elsewhere cannot lock a person out of their account.
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_FAILURE_LIMIT = 8  # wrong passwords in a row
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_RESET_ON_SUCCESS = True
AXES_CLIENT_IP_CALLABLE = "sessions_app.signin.client_address"
AXES_LOCKOUT_TEMPLATE = "registration/locked.html"
AXES_DISABLE_ACCESS_LOG = True  # wrong attempts are what locks; a row for each sign-in nobody reads
AXES_ENABLE_ADMIN = True
AXES_VERBOSE = False


# Between browser and site.

# A proxy in front that sets (not passes on) X-Forwarded-Proto and -For.
BEHIND_PROXY = env_bool("BEHIND_PROXY")
if BEHIND_PROXY:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
HTTPS = env_bool("HTTPS")
SECURE_SSL_REDIRECT = SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
# HSTS cannot be taken back before it runs out, so its length, and whether it reaches beyond this host, are choices of their own.
SECURE_HSTS_SECONDS = env_int("HSTS_SECONDS", 3600, 0, 63_072_000) if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = HTTPS and env_bool("HSTS_WHOLE_DOMAIN")
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
# Names of their own: cookies do not know ports, and another site on localhost must not sign people out here.
SESSION_COOKIE_NAME = "sessionsite_login"
CSRF_COOKIE_NAME = "sessionsite_csrf"
SESSION_COOKIE_AGE = env_int("LOGIN_DAYS", 14, 1, 365) * 86_400  # seconds
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True  # the token reaches htmx through hx-headers, no script reads the cookie

# No inline script or style anywhere. The one hash is that of the empty style element which plotly.js makes and fills by rules.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF],
        "style-src": [SELF, "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"],
        "img-src": [SELF, "data:"],
        "connect-src": [SELF],
        "object-src": [NONE],
        "base-uri": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}

MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"
DATA_UPLOAD_MAX_MEMORY_SIZE = 2_621_440  # bytes of a form; the API has a cap of its own


# The doors for agents: /api/ and /v1/. Each limit has its own answer (413, 422, 429), in sessions_app/api/limits.py.

API_MAX_BODY_BYTES = env_int("API_MAX_BODY_BYTES", 20_000_000, 1_000, 1_000_000_000)  # decompressed; a worker holds it a few times over
API_MAX_MESSAGE_BYTES = env_int("API_MAX_MESSAGE_BYTES", 5_000_000, 1_000, 1_000_000_000)  # of UTF-8; longer text is no message but a file
API_MAX_BATCH_EVENTS = 1_000  # events of one /batch: about a tenth of a second, for which SQLite lets no other writer in
API_RATE_PER_TOKEN = env_int(
    "API_RATE_PER_TOKEN", 500, 0, 1_000_000
)  # requests a second, in each worker; 0 = no bound; stops a runaway loop
# Plain http is refused there in words, not redirected: see caller_of.
SECURE_REDIRECT_EXEMPT = [r"^api/", r"^v1/"]


# What people do to sessions.

UNDO_HOURS = env_int("UNDO_HOURS", 24, 1, 24 * 90)  # until then what was before is kept, a row for each session that an action changed


# Logs go to stderr, one line each; ids and counts, never what a message says.

LOG_LEVEL = env_choice("LOG_LEVEL", "INFO", {level: level for level in ("DEBUG", "INFO", "WARNING", "ERROR")})
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name} {message}", "style": "{"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {
        "django": {"handlers": ["stderr"], "level": "WARNING", "propagate": False},
        "django.request": {"level": "ERROR"},  # a 404 is not news
        "sessions_app": {"handlers": ["stderr"], "level": LOG_LEVEL, "propagate": False},
    },
}
