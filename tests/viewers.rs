//! Promises to viewers and to the developers of sites, over real sockets.

mod support;

/// An inline module, so that its files are in `tests/viewers/`.
mod viewers {
    mod admission;
    mod bad_input;
    mod compressing;
    mod durability;
    mod fallbacks;
    mod garbage;
    mod idle_memory;
    mod issuer;
    mod javascript;
    mod limits;
    mod openapi;
    mod openid_provider;
    mod other_clients;
    mod proxy;
    mod python_clients;
    mod resuming;
    mod room_life;
    mod rooms;
    mod secure;
    mod silence;
    mod stream_events;
    mod viewing;
}
