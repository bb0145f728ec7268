"""Django's settings, derived from `ostiary.settings`; imports with an empty environment."""

import secrets

from ostiary import settings as _settings
from ostiary.identity.sealing import KeyRing

_current = _settings.current()
_ring = _current.data / "keyring.json"

# Without a data folder (type checking, `--help`) there is no session to sign.
SECRET_KEY = KeyRing.load(_ring).secret_key if _ring.exists() else secrets.token_urlsafe(32)
DEBUG = False
# The control port is reached by whatever name its owner gives it; no link or redirect is built
# from the Host header (the public URL is a setting), so the check would only lock owners out.
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_htmx",
    "ostiary.directory",
    "ostiary.usage",
    "ostiary.console",
]
AUTH_USER_MODEL = "directory.Member"
AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend"]
ROOT_URLCONF = "ostiary.console.urls"
MIDDLEWARE = [
    "ostiary.middleware.requests.Observed",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "ostiary.middleware.security_headers.Headers",
    "ostiary.api.fallback.Heads",
    "ostiary.api.fallback.JsonErrors",
    "ostiary.middleware.trusted_proxies.TrustedProxies",
    "ostiary.middleware.public_address.PublicAddress",
    "ostiary.console.frame.sign_in_redirects.WholePages",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "ostiary.console.sign_in.steps.SecondFactorRequired",
    "ostiary.console.frame.form_pages.FormPages",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    # Django reads uploads of a POST alone.
    "ninja.compatibility.files.fix_request_files_middleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
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
_database = _current.database
DATABASES: dict[str, dict[str, object]] = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": _database.name,
        "OPTIONS": {
            # A deferred transaction that turns into a writer fails with "locked" at once.
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            # FULL: under NORMAL a power cut can undo a revocation that was already confirmed.
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
        },
    }
    if _database.engine == "sqlite"
    else {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _database.name,
        "USER": _database.user,
        "PASSWORD": _database.password,
        "HOST": _database.host,
        "PORT": _database.port,
        "CONN_HEALTH_CHECKS": True,
        # Requests run in threads that come and go: a connection for each would use up the server's.
        "OPTIONS": {
            "pool": {"min_size": 1, "max_size": 16, "timeout": 10, "max_idle": 60},
            **_settings.SERVER_PATIENCE,
        },
    },
}
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"  # ids below 2**31: Terraform reads int32
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.ScryptPasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en-us"
USE_I18N = False
STATIC_URL = "/static/"
# Static files are served from where the packages have them; there is nothing to collect.
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False
WHITENOISE_MAX_AGE = 300
LOGIN_URL = "/sign-in"
CSRF_FAILURE_VIEW = "ostiary.console.frame.refused_forms.refused_form"
# Cookies are per host, not per port: two of us side by side must not sign each other out.
SESSION_COOKIE_NAME = f"ostiary_session_{_current.control_bind[1]}"
CSRF_COOKIE_NAME = f"ostiary_csrf_{_current.control_bind[1]}"
# The public URL decides for each answer, see `ostiary.middleware.public_address`.
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _current.secure_cookies
SESSION_ENGINE = "ostiary.console.sign_in.sessions"
SESSION_COOKIE_AGE = 12 * 3600
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
APPEND_SLASH = False
DATA_UPLOAD_MAX_MEMORY_SIZE = 6 * 1024 * 1024
# The preview of an import has a box for each operation: 5,000 of a document, and those that are gone.
DATA_UPLOAD_MAX_NUMBER_FIELDS = 20_000
# `ostiary.telemetry.logs` does it, for what is not Django's too.
LOGGING_CONFIG = None
