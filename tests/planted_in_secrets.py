"""Faults for `planted_faults.py`, about secrets that show."""

CREDENTIALS = "adapters/billing_adapters/credentials.py"
POOL = "adapters/billing_adapters/postgres/pool.py"
SQLITE = "adapters/billing_adapters/sqlite/__init__.py"
STRIPE = "adapters/billing_adapters/stripe_payments.py"
API = "adapters/billing_adapters/http/api.py"
MESSAGES = "adapters/billing_adapters/http/messages.py"
DATABASE = "adapters/billing_adapters/cli/database.py"
APP = "adapters/billing_adapters/cli/app.py"

SECRETS = "tests/test_secrets.py::test_"

Planted = tuple[str, str, str, str, tuple[str, ...]]

IN_SECRETS: list[Planted] = [
    (
        "a key of Stripe's may end in a newline",
        CREDENTIALS,
        "_API_KEY.fullmatch(key)",
        "_API_KEY.match(key)",
        (SECRETS + "what_is_no_key_of_stripe_s_is_refused_and_not_shown",),
    ),
    (
        "a wrong key of Stripe's is shown",
        CREDENTIALS,
        '"api_key", unshown(key), ',
        '"api_key", key, ',
        (SECRETS + "what_is_no_key_of_stripe_s_is_refused_and_not_shown",),
    ),
    (
        "a webhook's secret may be any text",
        CREDENTIALS,
        "_WEBHOOK_SECRET.fullmatch(each)",
        "each.strip()",
        (SECRETS + "what_is_no_webhook_secret_is_refused_and_not_shown",),
    ),
    (
        "an address may have a password",
        CREDENTIALS,
        "found.hostname and found.username is None",
        "found.hostname",
        (SECRETS + "an_address_has_no_password",),
    ),
    (
        "an unescaped @ of a password makes a host's name",
        POOL,
        'if place.count("@") > 1 or "@" in rest',
        "if False",
        (SECRETS + "a_misspelt_connection_string_is_not_shown",),
    ),
    (
        "an unescaped / of a password makes a port",
        POOL,
        "if not all(_PORT.fullmatch(each.strip()) for each in ports):",
        "if False:",
        (SECRETS + "a_misspelt_connection_string_is_not_shown",),
    ),
    (
        "an error of connecting keeps the password",
        POOL,
        "error._pgconn = None",
        "pass",
        (SECRETS + "a_database_that_cannot_be_reached_shows_no_password",),
    ),
    (
        "a misspelt connection string is the name of a file",
        SQLITE,
        "if is_connection_string(name) and not os.path.exists(name):",
        "if False:",
        (SECRETS + "a_connection_string_is_no_path_of_an_sqlite_file",),
    ),
    (
        "a misspelt connection string is echoed by the command line",
        DATABASE,
        "if is_connection_string(text) and not Path(text).exists():",
        "if False:",
        (SECRETS + "a_misspelt_connection_string_is_no_file",),
    ),
    (
        "a password may be on the command line",
        DATABASE,
        "source is ParameterSource.COMMANDLINE and has_password(text)",
        "False",
        (SECRETS + "a_password_on_a_command_line_is_refused",),
    ),
    (
        "a word too many is echoed with its password",
        APP,
        "told = without_passwords(error.format_message())",
        "told = error.format_message()",
        (SECRETS + "a_password_on_a_command_line_is_refused",),
    ),
    (
        "the environment's database is not looked for",
        DATABASE,
        "envvar=VARIABLE,",
        "envvar=None,",
        (SECRETS + "every_command_takes_its_database_from_the_environment",),
    ),
    (
        "a request prints its headers",
        MESSAGES,
        "converter=_lowered, repr=False)",
        "converter=_lowered)",
        (SECRETS + "a_request_prints_without_its_secrets",),
    ),
    (
        "the key that authenticating fails on is logged",
        API,
        "if not _quotes(error, key):",
        "if True:",
        (SECRETS + "a_key_that_authenticating_fails_on_is_not_logged",),
    ),
    (
        "the client's log has the secrets of payments",
        STRIPE,
        'logging.getLogger("stripe").addFilter(_unsaid)',
        "pass",
        (SECRETS + "stripe_s_own_log_has_no_secret_of_a_payment",),
    ),
    (
        "the log of every test is not looked through",
        "tests/secrecy.py",
        "root.addHandler(handler)",
        "pass",
        (SECRETS + "the_suite_would_notice_a_secret_that_shows",),
    ),
]
