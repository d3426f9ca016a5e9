//! End-to-end tests: the programs, real servers, real peers.
#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected fails")]

mod arrows;
mod buckets;
mod build;
mod bundles;
mod catalogs;
mod convert;
mod delta;
mod elsewhere;
mod endurance;
mod examples;
mod fetching;
mod flow;
mod gpg;
mod help;
mod hostile_network;
mod hostile_server;
mod image_tools;
mod images;
mod mirror;
mod pages;
mod pods;
mod refusals;
mod resuming;
mod retention;
mod rootless;
mod sealed;
mod swarms;
mod trackers;
mod upkeep;
