//! The stages of the pipeline. None imports another: what passes between them goes through a
//! contract of `engines` or a type of `base::handoff`.

pub mod archive;
pub mod auth;
pub mod broadcast;
pub mod control;
pub mod delivery;
pub mod ingest;
pub mod moderation;
pub mod reactions;
pub mod votes;
