//! Promises to operators: `lc`, the console, settings, and a daemon on a bad day.

mod support;

/// An inline module, so that its files are in `tests/operators/`.
mod operators {
    mod checking;
    mod claims;
    mod console_on_terminal;
    mod console_with_daemon;
    mod console_without_daemon;
    mod egress;
    mod hardship;
    mod loadgen;
    mod recordings;
    mod remote;
    mod settings;
    mod steering;
    mod streams_and_signals;
    mod under_systemd;
    mod who_is_meant;
}
