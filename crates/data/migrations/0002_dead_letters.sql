-- Events that downstream refuses for ever are set aside: kept, counted, and delivered again when somebody asks for it
-- (`omnitrace outbox`). Their next_attempt_at is infinity, so that an older relay leaves them alone too.
ALTER TABLE outbox
    -- How often downstream has said no to this very event; an outage counts for nothing.
    ADD COLUMN refusals integer NOT NULL DEFAULT 0,
    ADD COLUMN refusal text,
    ADD COLUMN set_aside_at timestamptz;

CREATE INDEX outbox_set_aside ON outbox (set_aside_at) WHERE set_aside_at IS NOT NULL;
