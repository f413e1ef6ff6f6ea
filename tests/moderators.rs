//! Promises to moderators, and to those they moderate, over real sockets.

mod support;

/// An inline module, so that its files are in `tests/moderators/`.
mod moderators {
    mod deciding;
    mod held;
    mod model_stage;
    mod moderating;
    mod reputation;
    mod reviewing;
    mod rules;
    mod scoped_sanctions;
    mod shadowing;
}
