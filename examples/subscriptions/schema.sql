-- Tables of the made-up company. Calls nothing.
CREATE TABLE accounts (
    account_id text PRIMARY KEY,
    plan text NOT NULL,
    country text,
    signed_up_at timestamptz NOT NULL,
    status text NOT NULL DEFAULT 'active'
);
CREATE TABLE subscriptions (
    subscription_id uuid PRIMARY KEY,
    account_id text NOT NULL REFERENCES accounts,
    started_at timestamptz NOT NULL
);
CREATE TABLE invoices (subscription_id uuid NOT NULL, issued_at timestamptz NOT NULL, amount numeric(10,2));
CREATE TABLE payments (account_id text NOT NULL, paid_at timestamptz NOT NULL, amount numeric(10,2), failed boolean);
CREATE TABLE tickets (client_ref text, opened_at timestamptz NOT NULL, severity integer);
CREATE TABLE usage (account_id text NOT NULL, used_at timestamptz NOT NULL, minutes double precision, loaded_at timestamptz NOT NULL);
CREATE TABLE status_changes (account_id text NOT NULL, changed_at timestamptz NOT NULL, status text NOT NULL);
CREATE TABLE offers (account_id text NOT NULL, sent_at timestamptz NOT NULL, discount numeric);
CREATE INDEX ON subscriptions (account_id);
CREATE INDEX ON invoices (subscription_id);
CREATE INDEX ON payments (account_id, paid_at);
CREATE INDEX ON tickets (client_ref, opened_at);
CREATE INDEX ON usage (account_id, used_at);
CREATE INDEX ON status_changes (account_id);
CREATE INDEX ON offers (account_id);
