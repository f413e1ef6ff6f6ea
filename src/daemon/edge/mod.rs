//! The entrances of the daemon: [`gateway`] for viewers and developers, [`admin`] for operators.
//! Both serve HTTP with the parts in `http`.

pub mod admin;
pub mod gateway;
mod http;
