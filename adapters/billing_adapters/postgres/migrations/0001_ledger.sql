-- needs: 1
-- Every key starts with org_id; only reference rows, what is published and marks, lack it.
-- Names are compared by code point ("C"). Amounts and times are 64-bit integers; quantities,
-- which can be larger, are numeric or stand in JSON. Journal and publications are append-only.

CREATE TABLE billing.accounts (
    org_id text COLLATE "C" NOT NULL,
    currency text NOT NULL,
    livemode boolean NOT NULL,
    anchor bigint NOT NULL,
    opened_at bigint NOT NULL,
    -- NULL is what a write that was decided on another state than this one's puts here.
    seq bigint NOT NULL,
    head bytea NOT NULL,
    watermark bigint NOT NULL,
    next_lapse bigint,
    balance bigint NOT NULL,
    debt bigint NOT NULL CHECK (debt >= 0),
    granted bigint NOT NULL,
    used bigint NOT NULL,
    lots bigint NOT NULL,
    members bigint NOT NULL,
    closed_at bigint,
    recorded_at bigint NOT NULL,
    plan text,
    paused boolean NOT NULL,
    plan_since bigint NOT NULL,
    period bigint NOT NULL,
    allowance bigint NOT NULL,
    ahead bigint NOT NULL,
    rolled bigint NOT NULL,
    rolled_of bigint,
    limited_since bigint,
    low_balance bigint,
    topup_below bigint,
    topup_from bigint NOT NULL,
    topup_open boolean NOT NULL,
    summed bigint NOT NULL,
    -- How many members' names were erased: that posts no entry, and so leaves the head.
    erased bigint NOT NULL,
    -- The head on which the last write was decided.
    was bytea NOT NULL,
    PRIMARY KEY (org_id)
) WITH (fillfactor = 70);

CREATE TABLE billing.entries (
    org_id text COLLATE "C" NOT NULL,
    seq bigint NOT NULL,
    key text COLLATE "C" NOT NULL,
    at bigint NOT NULL,
    recorded_at bigint NOT NULL,
    content text NOT NULL,
    effects text NOT NULL,
    amount bigint NOT NULL,
    balance bigint NOT NULL,
    transfers text,
    usage text,
    member bigint,
    occurred_at bigint,
    hash bytea NOT NULL,
    PRIMARY KEY (org_id, seq)
);
CREATE UNIQUE INDEX entries_key ON billing.entries (org_id, key);
CREATE INDEX entries_usage ON billing.entries (org_id, member, occurred_at, seq)
    WHERE occurred_at IS NOT NULL;
-- Of neither operation: ";" follows ":".
CREATE INDEX entries_other ON billing.entries (org_id, seq)
    WHERE transfers IS NOT NULL AND key NOT BETWEEN 'deduct:' AND 'deduct;'
    AND key NOT BETWEEN 'settle:' AND 'settle;';
CREATE INDEX entries_first ON billing.entries (org_id) WHERE seq = 1;

CREATE VIEW billing.transfers AS
    SELECT e.org_id, e.seq, t.n, t.value ->> 0 AS debit, t.value ->> 1 AS credit,
           (t.value ->> 2)::bigint AS amount, t.value ->> 3 AS kind,
           e.key AS reference, e.at AS effective_at, e.recorded_at
    FROM billing.entries AS e
    CROSS JOIN LATERAL json_array_elements(e.transfers::json) WITH ORDINALITY AS t (value, n);

CREATE TABLE billing.lots (
    org_id text COLLATE "C" NOT NULL,
    lot bigint NOT NULL,
    seq bigint NOT NULL,
    kind text NOT NULL,
    priority bigint NOT NULL,
    amount bigint NOT NULL,
    remainder bigint NOT NULL CHECK (remainder >= 0),
    reserved bigint NOT NULL CHECK (reserved BETWEEN 0 AND remainder),
    expires_at bigint,
    scope text,
    period bigint,
    spent boolean NOT NULL CHECK (spent = (remainder = 0)),
    PRIMARY KEY (org_id, lot)
) WITH (fillfactor = 70);
CREATE INDEX lots_left ON billing.lots (org_id, lot) WHERE NOT spent;

CREATE TABLE billing.holds (
    org_id text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    resource text,
    expires_at bigint NOT NULL,
    state text NOT NULL CHECK (state IN ('open', 'settled', 'released', 'lapsed')),
    parts text NOT NULL,
    counted text NOT NULL,
    member bigint NOT NULL,
    project text,
    PRIMARY KEY (org_id, key)
);
CREATE INDEX holds_open ON billing.holds (org_id, expires_at) WHERE state = 'open';

CREATE TABLE billing.counters (
    org_id text COLLATE "C" NOT NULL,
    resource text COLLATE "C" NOT NULL,
    start bigint NOT NULL,
    components text NOT NULL,
    PRIMARY KEY (org_id, resource, start)
) WITH (fillfactor = 70);

CREATE TABLE billing.items (
    org_id text COLLATE "C" NOT NULL,
    item text COLLATE "C" NOT NULL,
    resource text COLLATE "C" NOT NULL,
    components text NOT NULL,
    PRIMARY KEY (org_id, item, resource)
) WITH (fillfactor = 70);

CREATE TABLE billing.charges (
    org_id text COLLATE "C" NOT NULL,
    charge bigint NOT NULL,
    resource text NOT NULL,
    amount bigint NOT NULL,
    unpaid bigint NOT NULL CHECK (unpaid >= 0),
    reversed bigint NOT NULL,
    payments text NOT NULL,
    period bigint NOT NULL,
    priced bigint,
    PRIMARY KEY (org_id, charge)
);
CREATE INDEX charges_unpaid ON billing.charges (org_id, charge) WHERE unpaid > 0;

CREATE TABLE billing.members (
    org_id text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    member bigint NOT NULL,
    PRIMARY KEY (org_id, name)
);

-- A rollup cell is a row for each component, so that a write only ever adds to rows. What is
-- not a component's own (requests, the rest of the amount) stands in any one of them, or in
-- one without a component.
CREATE TABLE billing.cells (
    org_id text COLLATE "C" NOT NULL,
    grain text COLLATE "C" NOT NULL,
    member bigint NOT NULL,
    start bigint NOT NULL,
    resource text COLLATE "C" NOT NULL,
    payer text COLLATE "C" NOT NULL,
    component text COLLATE "C" NOT NULL,
    requests bigint NOT NULL,
    rest bigint NOT NULL,
    quantity numeric NOT NULL,
    amount bigint NOT NULL,
    PRIMARY KEY (org_id, grain, member, start, resource, payer, component)
) WITH (fillfactor = 70);

CREATE TABLE billing.events (
    org_id text COLLATE "C" NOT NULL,
    seq bigint NOT NULL,
    n bigint NOT NULL,
    kind text NOT NULL,
    data text NOT NULL,
    PRIMARY KEY (org_id, seq, n)
);

CREATE TABLE billing.subscriptions (
    org_id text COLLATE "C" NOT NULL,
    seq bigint NOT NULL,
    since bigint NOT NULL,
    plan text,
    PRIMARY KEY (org_id, seq)
);

CREATE TABLE billing.limits (
    org_id text COLLATE "C" NOT NULL,
    subject text COLLATE "C" NOT NULL,
    per text COLLATE "C" NOT NULL,
    amount bigint,
    alerts text NOT NULL,
    blocks boolean NOT NULL,
    PRIMARY KEY (org_id, subject, per)
);

CREATE TABLE billing.spends (
    org_id text COLLATE "C" NOT NULL,
    subject text COLLATE "C" NOT NULL,
    grain text COLLATE "C" NOT NULL,
    start bigint NOT NULL,
    amount bigint NOT NULL,
    PRIMARY KEY (org_id, subject, grain, start)
) WITH (fillfactor = 70);

CREATE TABLE billing.runs (
    org_id text COLLATE "C" NOT NULL,
    run text COLLATE "C" NOT NULL,
    state text NOT NULL,
    seen_at bigint NOT NULL,
    body text NOT NULL,
    PRIMARY KEY (org_id, run)
) WITH (fillfactor = 70);
CREATE INDEX runs_open ON billing.runs (seen_at, org_id, run)
    WHERE state IN ('active', 'suspended');
CREATE INDEX runs_unsettled ON billing.runs (org_id, run)
    WHERE state IN ('active', 'suspended', 'pending');

CREATE TABLE billing.storages (
    org_id text COLLATE "C" NOT NULL,
    workspace text COLLATE "C" NOT NULL,
    body text NOT NULL,
    PRIMARY KEY (org_id, workspace)
) WITH (fillfactor = 70);

CREATE TABLE billing.sizes (
    org_id text COLLATE "C" NOT NULL,
    workspace text COLLATE "C" NOT NULL,
    at bigint NOT NULL,
    size bigint NOT NULL,
    PRIMARY KEY (org_id, workspace, at)
);

CREATE TABLE billing.topups (
    org_id text COLLATE "C" NOT NULL,
    topup text COLLATE "C" NOT NULL,
    due_at bigint,
    asked text NOT NULL,
    body text NOT NULL,
    PRIMARY KEY (org_id, topup)
);
CREATE INDEX topups_due ON billing.topups (due_at) WHERE due_at IS NOT NULL;

CREATE TABLE billing.auto_topups (
    org_id text COLLATE "C" NOT NULL,
    customer text COLLATE "C",
    body text NOT NULL,
    PRIMARY KEY (org_id)
);
CREATE INDEX auto_topups_customer ON billing.auto_topups (customer, org_id)
    WHERE customer IS NOT NULL;

-- How far an org's events are delivered, and who has them until when.
CREATE TABLE billing.deliveries (
    org_id text COLLATE "C" NOT NULL,
    seq bigint NOT NULL,
    n bigint NOT NULL,
    waiting boolean NOT NULL,
    deliverer text COLLATE "C" NOT NULL,
    until bigint NOT NULL,
    PRIMARY KEY (org_id)
) WITH (fillfactor = 70);
CREATE INDEX deliveries_waiting ON billing.deliveries (org_id) WHERE waiting;

-- How far work has come that is no org's own.
CREATE TABLE billing.marks (
    name text COLLATE "C" NOT NULL,
    value bigint NOT NULL,
    PRIMARY KEY (name)
);

CREATE TABLE billing.published (
    number bigint NOT NULL,
    version text COLLATE "C" NOT NULL,
    published_at bigint NOT NULL,
    body text NOT NULL,
    digest text NOT NULL,
    PRIMARY KEY (number)
);
CREATE UNIQUE INDEX published_version ON billing.published (version);

CREATE FUNCTION billing.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END
$$;

-- For each row, so that they also stand on every partition; ALWAYS, so that a session that
-- plays a replica is refused as well.
CREATE TRIGGER entries_append_only BEFORE UPDATE OR DELETE ON billing.entries
    FOR EACH ROW EXECUTE FUNCTION billing.refuse();
CREATE TRIGGER entries_no_truncate BEFORE TRUNCATE ON billing.entries
    FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse();
CREATE TRIGGER published_append_only BEFORE UPDATE OR DELETE ON billing.published
    FOR EACH ROW EXECUTE FUNCTION billing.refuse();
CREATE TRIGGER published_no_truncate BEFORE TRUNCATE ON billing.published
    FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse();
ALTER TABLE billing.entries ENABLE ALWAYS TRIGGER entries_append_only;
ALTER TABLE billing.entries ENABLE ALWAYS TRIGGER entries_no_truncate;
ALTER TABLE billing.published ENABLE ALWAYS TRIGGER published_append_only;
ALTER TABLE billing.published ENABLE ALWAYS TRIGGER published_no_truncate;
