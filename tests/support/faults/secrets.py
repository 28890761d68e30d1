"""Faults for `planted_faults.py`, about secrets that show, and the command line."""

CREDENTIALS = "adapters/billing_adapters/credentials.py"
POOL = "adapters/billing_adapters/postgres/pool.py"
SQLITE = "adapters/billing_adapters/sqlite/store.py"
STRIPE = "adapters/billing_adapters/stripe_payments.py"
API = "adapters/billing_adapters/http/api.py"
MESSAGES = "adapters/billing_adapters/http/messages.py"
DATABASE = "adapters/billing_adapters/cli/database.py"
APP = "adapters/billing_adapters/cli/app.py"

DOCUMENTS = "adapters/billing_adapters/cli/documents.py"
SHOW = "adapters/billing_adapters/cli/show.py"
BACKGROUND = "adapters/billing_adapters/cli/background.py"
TRACE = "adapters/billing_adapters/cli/trace.py"
BILLING = "billing_core/engine/billing.py"
VERIFY = "billing_core/audit/verify.py"

FOUND = "tests/cli/test_cli_odd_input.py::test_"
SECRETS = "tests/cli/test_secrets.py::test_"

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
        "a word in the wrong place is echoed with its password",
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
        "tests/support/secret_watch.py",
        "root.addHandler(handler)",
        "pass",
        (SECRETS + "the_suite_would_notice_a_secret_that_shows",),
    ),
    (
        "limits of a plan may be a number",
        DOCUMENTS,
        "if not isinstance(data, list):",
        "if False:",
        (
            FOUND + "a_plan_s_lists_are_lists_of_tables",
            FOUND + "every_value_of_a_document_may_be_of_any_other_type",
        ),
    ),
    (
        "a document may be nested without end",
        DOCUMENTS,
        "except RecursionError:",
        "except ZeroDivisionError:",
        (FOUND + "what_is_nested_too_deeply_is_no_document",),
    ),
    (
        "a checkpoint is saved though something is wrong",
        "adapters/billing_adapters/cli/reads.py",
        "                raise _Wrong(verification)\n",
        "                pass\n",
        (FOUND + "checkpoints_are_saved_whole_or_not_at_all",),
    ),
    (
        "checkpoints of other orgs are lost",
        "adapters/billing_adapters/cli/reads.py",
        "for each in left.values():",
        "for each in ():",
        (FOUND + "checkpoints_are_saved_whole_or_not_at_all",),
    ),
    (
        "verify keeps every checkpoint",
        BILLING,
        "if checkpoint is None:",
        "if True:",
        (FOUND + "verify_keeps_no_checkpoint_that_somebody_else_takes",),
    ),
    (
        "verify asks once more for the end of each journal",
        VERIFY,
        "if len(page) < _PAGE:",
        "if False:",
        (FOUND + "a_small_org_is_read_once_by_verify",),
    ),
    (
        "a terminal without Unicode is a traceback",
        APP,
        'stream.reconfigure(errors="backslashreplace")',
        "pass",
        (FOUND + "a_terminal_without_unicode",),
    ),
    (
        "JSON on a terminal without Unicode is none",
        SHOW,
        "ensure_ascii=plain",
        "ensure_ascii=False",
        (FOUND + "json_on_a_terminal_without_unicode_is_json",),
    ),
    (
        "an interrupt is like a failure",
        APP,
        "ctx.exit(130)",
        "ctx.exit(1)",
        (FOUND + "ctrl_c_is_one_line_and_exits_with_130",),
    ),
    (
        "a worker goes on though nobody reads its events",
        BACKGROUND,
        "if isinstance(failure.error, BrokenPipeError):",
        "if False:",
        (FOUND + "a_worker_whose_events_nobody_reads_ends",),
    ),
    (
        "a schema that is named is not used",
        DATABASE,
        "schema=place.schema",
        'schema="billing"',
        (FOUND + "the_schema_of_the_tables_is_named",),
    ),
    (
        "a trace in another zone is read as UTC",
        TRACE,
        "(?:Z|\\+00:?00)?,",
        "(?:Z|[+-].*)?,",
        (FOUND + "a_trace_s_times_are_in_no_other_zone",),
    ),
    (
        "tables are said to be spread over a cluster",
        "adapters/billing_adapters/postgres/store.py",
        """        raise StoreError(
            f"{self.name}: distribute()""",
        """        StoreError(
            f"{self.name}: distribute()""",
        ("tests/stores/test_postgres.py::test_distribution_is_refused_in_a_sentence",),
    ),
]
