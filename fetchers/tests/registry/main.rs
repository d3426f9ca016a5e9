//! Pulling from registries: Debian's docker-registry, filled by skopeo, and a server of our own that lies.
#![allow(clippy::unwrap_used)]

#[path = "../conformance/mod.rs"]
#[expect(dead_code, reason = "what has a digest for its name cannot change underneath")]
mod conformance;
mod hostile;
mod images;
mod liar;
mod local;
#[path = "../https/publisher.rs"]
#[expect(dead_code, reason = "nobody publishes an ACI here")]
mod publisher;
mod pulled;
mod server;
mod tokens;
#[path = "../https/world.rs"]
#[expect(dead_code, reason = "it is that of the tests over HTTPS, which need more of it")]
mod world;
