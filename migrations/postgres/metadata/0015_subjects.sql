-- The ids of users whose tokens name them by a text that is no number. An id is given once and for
-- ever, so nothing is ever removed.
CREATE TABLE subjects (
    issuer     TEXT   NOT NULL,
    subject    TEXT   NOT NULL,
    user_id    BIGINT NOT NULL UNIQUE,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (issuer, subject)
);
