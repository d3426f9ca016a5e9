//! The cases of the specification's own schema tests (appc/spec 0.8.11, `schema/**/*_test.go`), one table for each.
//!
//! Where a case has another outcome here, on purpose, its table says so and why.
#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected fails")]

mod app;
mod command_line;
mod isolators;
mod labels;
mod manifests;
mod names;
mod outline;
mod quantity;
mod quantity_text;
mod types;
