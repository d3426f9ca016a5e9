//! Fetching from real servers on loopback: nginx over TLS, and raw sockets for what nginx would never do.
#![allow(clippy::unwrap_used)]

mod ahead;
mod client;
#[path = "../conformance/mod.rs"]
mod conformance;
#[path = "conformance.rs"]
mod conforming;
mod fetch;
mod hostile;
mod publisher;
mod resume;
mod together;
mod world;
