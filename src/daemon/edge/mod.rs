//! The daemon's doors: [`gateway`] for viewers and developers, [`admin`] for operators.

pub mod admin;
pub mod gateway;
