-- Runs with search_path = omnitrace: nothing outside that schema is touched.

CREATE TABLE items (
    sku              text PRIMARY KEY,
    name             text NOT NULL,
    unit_price_cents bigint NOT NULL CHECK (unit_price_cents >= 0),
    -- Once every order is settled: initial_stock = stock + what is in confirmed orders.
    initial_stock    bigint NOT NULL CHECK (initial_stock >= 0),
    stock            bigint NOT NULL CHECK (stock BETWEEN 0 AND initial_stock)
);

CREATE TABLE orders (
    -- UUID version 7: in the order in which they were placed, which is also the order of pages.
    id               uuid PRIMARY KEY,
    sku              text NOT NULL REFERENCES items,
    quantity         integer NOT NULL CHECK (quantity BETWEEN 1 AND 100),
    unit_price_cents bigint NOT NULL,
    customer_email   text NOT NULL,
    idempotency_key  text UNIQUE,
    status           text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'confirmed', 'declined')),
    -- The request that placed the order, for the link from the delivery of its event.
    traceparent      text,
    created_at       timestamptz NOT NULL DEFAULT now(),
    settled_at       timestamptz,
    -- A sweeper works on it until then; after that another may.
    claimed_until    timestamptz
);

CREATE INDEX orders_pending ON orders (created_at) WHERE status = 'pending';

CREATE TABLE outbox (
    -- Id of the event, the same for every delivery.
    id              uuid PRIMARY KEY,
    event           jsonb NOT NULL,
    traceparent     text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    delivered_at    timestamptz,
    attempts        integer NOT NULL DEFAULT 0,
    -- While a relay works on the event: when another may take it over.
    next_attempt_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX outbox_due ON outbox (next_attempt_at) WHERE delivered_at IS NULL;
CREATE INDEX outbox_delivered ON outbox (delivered_at) WHERE delivered_at IS NOT NULL;

CREATE FUNCTION notify_outbox() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- Sent at commit, so that the relay that wakes up finds the event.
    PERFORM pg_notify('omnitrace_outbox', '');
    RETURN NULL;
END
$$;

CREATE TRIGGER outbox_inserted AFTER INSERT ON outbox
    FOR EACH STATEMENT EXECUTE FUNCTION notify_outbox();
