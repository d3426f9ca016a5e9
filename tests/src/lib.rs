//! The test world: everything that the end-to-end tests need, real and temporary.
//!
//! ```text
//!   World ── a directory with a store, a configuration, a certificate authority
//!     ├── dhow(…)        the program itself, as a user calls it ──► Outcome: exit code, output, peak memory
//!     ├── image(name)    a builder of small images with a real shell in them
//!     ├── nginx(site)    a real web server over TLS, which `dhow` reaches under the site's name
//!     ├── gpg(…)         the real GnuPG with a home of its own
//!     ├── Network, Tracker  other hosts, in namespaces of the test's own, and where peers find each other
//!     └── Server, Relay  a registry and a bucket of real programs, and a wire that is slow and counts
//!   Disk           a disk of its own, whose power can be cut
//!   Workload       images that share most of their files, and soak(…), which kills programs that work on them
//!   debian()             a Debian root file system, made once and kept under the target directory
//! ```
//!
//! Nothing is skipped: where a program that a test needs is missing, the test fails and says so. `tests/run` installs
//! them all.

mod debian;
mod disk;
mod gpg;
mod image;
mod network;
mod nginx;
mod outcome;
mod port;
mod relay;
mod server;
mod soak;
mod tracker;
mod tree;
mod workload;
mod world;

pub use debian::debian;
pub use disk::Disk;
pub use gpg::Gpg;
pub use image::Image;
pub use network::{Host, Network, Running};
pub use nginx::Nginx;
pub use outcome::Outcome;
pub use port::free_port;
pub use relay::Relay;
pub use server::Server;
pub use soak::{SoakReport, soak};
pub use tracker::Tracker;
pub use tree::{differences, tree};
pub use workload::{Subject, Workload};
pub use world::{World, programs, workspace};
