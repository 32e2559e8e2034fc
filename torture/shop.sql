-- The shop all scenarios write to. Calls: nothing. Tables: creates orders, complaints.
-- `batch` is the client's own number of the statement: by it the client's book is compared.

CREATE TABLE orders (
    order_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id bigint NOT NULL,
    ordered_at  timestamptz NOT NULL DEFAULT now(),
    amount      numeric(10, 2) NOT NULL,
    channel     text,
    batch       bigint
);
CREATE INDEX ON orders (customer_id, ordered_at);
CREATE INDEX ON orders (batch);

CREATE TABLE complaints (
    complaint_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id  bigint NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    severity     integer NOT NULL,
    batch        bigint
);
CREATE INDEX ON complaints (customer_id);
CREATE INDEX ON complaints (batch);
