pub mod pipeline;
pub mod rules;
#[cfg(test)]
pub(crate) mod samples;
