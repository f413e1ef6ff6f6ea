-- The comment that a held reply answers, as the sort key of its id; NULL for one that is no reply.
ALTER TABLE reviews ADD COLUMN parent_key BYTEA;

-- The comment that is pinned above the chat, in JSON; NULL if none is.
ALTER TABLE streams ADD COLUMN pinned TEXT;

-- The latest poll of the stream, in JSON; NULL if there was none.
ALTER TABLE streams ADD COLUMN poll TEXT;

-- All polls. The id is that of the audit entry that opened the poll. Votes before `closes_at`
-- (milliseconds since the Unix epoch) count. `has_votes` tells whether poll_votes may have rows of
-- it.
CREATE TABLE polls (
    poll_id   BIGINT PRIMARY KEY,
    stream_id BIGINT NOT NULL,
    closes_at BIGINT NOT NULL,
    poll      TEXT NOT NULL,
    has_votes BOOLEAN NOT NULL DEFAULT true
);
CREATE INDEX polls_of_stream ON polls (stream_id, poll_id);
CREATE INDEX polls_to_sweep ON polls (closes_at) WHERE has_votes;

-- Who voted for which option, counted from 0: so that each user votes once. Rows of a poll are
-- removed a day after it has closed.
CREATE TABLE poll_votes (
    poll_id BIGINT NOT NULL,
    user_id BIGINT NOT NULL,
    choice  BIGINT NOT NULL,
    PRIMARY KEY (poll_id, user_id)
);

-- The number of votes of each option that has any.
CREATE TABLE poll_totals (
    poll_id BIGINT NOT NULL,
    choice  BIGINT NOT NULL,
    votes   BIGINT NOT NULL,
    PRIMARY KEY (poll_id, choice)
);

-- Direct messages to users, until they are acknowledged or run out. `sent_at` is in milliseconds
-- since the Unix epoch. `from_user` is NULL for messages of operators and moderators.
CREATE TABLE kept_messages (
    message_id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id    BIGINT NOT NULL,
    sent_at    BIGINT NOT NULL,
    sender     TEXT NOT NULL,
    from_user  BIGINT,
    message    TEXT NOT NULL
);
CREATE INDEX kept_messages_of_user ON kept_messages (user_id, message_id);
CREATE INDEX kept_messages_by_time ON kept_messages (sent_at);
