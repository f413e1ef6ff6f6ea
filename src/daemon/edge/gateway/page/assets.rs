//! The files that the pages load, built into the binary: those of `web/page` and `web/client`.

/// A file below the address of the site.
#[derive(Debug)]
pub(crate) struct Asset {
    /// Its path there, and in `web/`.
    pub(crate) path: &'static str,
    pub(crate) text: &'static str,
}

impl Asset {
    /// Returns the file of a path.
    pub(super) fn at(path: &str) -> Option<&'static Self> {
        ASSETS.iter().find(|asset| asset.path == path)
    }

    pub(super) fn content_type(&self) -> &'static str {
        if self.path.ends_with(".css") {
            return "text/css; charset=utf-8";
        }
        "text/javascript; charset=utf-8"
    }
}

macro_rules! assets {
    ($($path:literal,)*) => {
        &[$(Asset {
            path: $path,
            text: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/web/", $path)),
        },)*]
    };
}

/// All files that are served. A test compares them with the folders.
pub(crate) const ASSETS: &[Asset] = assets![
    "client/backoff.js",
    "client/bounded_set.js",
    "client/client.js",
    "client/clock.js",
    "client/codec.js",
    "client/connection.js",
    "client/emitter.js",
    "client/errors.js",
    "client/feed.js",
    "client/gap_filler.js",
    "client/history.js",
    "client/history_reader.js",
    "client/http.js",
    "client/index.js",
    "client/link.js",
    "client/moderation.js",
    "client/msgpack.js",
    "client/msgpack_messages.js",
    "client/options.js",
    "client/outbox.js",
    "client/pause.js",
    "client/position.js",
    "client/posting.js",
    "client/protocol.js",
    "client/range_reader.js",
    "client/reconnect.js",
    "client/replay.js",
    "client/room_life.js",
    "client/sse.js",
    "client/time_uuid.js",
    "client/timeline.js",
    "client/token.js",
    "client/transport_ladder.js",
    "client/transports/events.js",
    "client/transports/polling.js",
    "client/transports/transport.js",
    "client/transports/websocket.js",
    "page/announcer.js",
    "page/comment_view.js",
    "page/comments.css",
    "page/composer.js",
    "page/desk.js",
    "page/desk_acts.js",
    "page/desk_keys.js",
    "page/desk_queue.js",
    "page/dom.js",
    "page/event_line.js",
    "page/facts.js",
    "page/keyed_rows.js",
    "page/message_panel.js",
    "page/moderate.css",
    "page/moderate.js",
    "page/news.js",
    "page/overlay.css",
    "page/overlay.js",
    "page/overlay_list.js",
    "page/overlay_options.js",
    "page/pinned.js",
    "page/poll_clock.js",
    "page/poll_panel.js",
    "page/poll_view.js",
    "page/reactions.js",
    "page/reading.js",
    "page/reading_controls.js",
    "page/roles.js",
    "page/room_panel.js",
    "page/reply_target.js",
    "page/row_offsets.js",
    "page/row_view.js",
    "page/rows.js",
    "page/session_token.js",
    "page/site.js",
    "page/status.js",
    "page/stream_view.js",
    "page/text.js",
    "page/theme.css",
    "page/user_card.js",
    "page/viewer.css",
    "page/viewer.js",
    "page/virtual_list.js",
];
