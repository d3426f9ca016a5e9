//! Fetching from buckets of real servers on loopback: s3s-fs, moto, fake-gcs-server and Azurite.
#![allow(clippy::unwrap_used)]

#[path = "../conformance/mod.rs"]
mod conformance;
#[path = "conformance.rs"]
mod conforming;
mod fetch;
#[path = "../https/publisher.rs"]
#[expect(dead_code, reason = "it is that of the tests over HTTPS, which need more of it")]
mod publisher;
mod servers;
#[path = "../https/together.rs"]
mod together;
#[path = "../https/world.rs"]
mod world;
