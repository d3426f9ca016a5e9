//! End-to-end tests: the programs, real servers, real peers.
#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected fails")]

mod arrows;
mod build;
mod convert;
mod endurance;
mod flow;
mod gpg;
mod help;
mod image_tools;
mod images;
mod mirror;
mod pods;
mod refusals;
mod rootless;
mod upkeep;
