-- needs: 1
-- What this adds, the version of the library before this one works beside: tables, indexes, and
-- columns without a default that may be NULL (it names the columns that it writes).
-- A top-up is found by the provider's own ids, which rows of that version have as well.
CREATE INDEX topups_payment ON billing.topups ((body::jsonb ->> 'payment'));
CREATE INDEX topups_checkout ON billing.topups ((body::jsonb ->> 'checkout'));

-- What was charged by a hold: NULL where a version did it that does not write it.
ALTER TABLE billing.holds ADD COLUMN used text;

-- finish: what that version could not work with; done once it runs nowhere any more
-- Numbers that only count refuse nothing, so they may pass 64 bits.
ALTER TABLE billing.accounts
    ALTER COLUMN granted TYPE numeric,
    ALTER COLUMN used TYPE numeric;
ALTER TABLE billing.spends
    ALTER COLUMN amount TYPE numeric;
ALTER TABLE billing.cells
    ALTER COLUMN rest TYPE numeric,
    ALTER COLUMN amount TYPE numeric;
