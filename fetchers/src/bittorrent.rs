//! BitTorrent: archives from a swarm, and from the origin what the swarm does not give.
//!
//! ```text
//!   Metainfo (a stranger's bytes, read with limits)          Magnet
//!       │                                                      │ metadata from peers, within a time
//!       └──────────────► Swarm (one librqbit session) ◄────────┘
//!                          │         ▲
//!             peers ──► PieceFile    │ Introducer: a peer of this process that offers what came from the origin,
//!                          ▲         │ so that the session knows of it and gives it to others
//!        origin ──► OriginFill ──────┘
//! ```
//!
//! The swarm comes first, the origin fills what it does not give: everything where there are no peers, else single
//! pieces where nothing moves, or less than this host's share of what the origin gives. The more peers stand by, the
//! longer each waits before it asks the origin, and the smaller is that share, so that a thousand hosts that begin at
//! once do not all ask. Every piece is checked by its SHA-1 wherever it comes from, and
//! nobody believes the whole before its signature is verified.

mod bencode;
mod download;
mod introduce;
mod magnet;
mod metainfo;
mod options;
mod origin_fill;
mod piece_file;
mod seed;
mod swarm;
mod swarms;
mod threads;

pub use self::{
    download::SwarmDownload,
    magnet::Magnet,
    metainfo::{Metainfo, MetainfoError},
    options::SwarmOptions,
    seed::{SeedGoal, Seeding},
    swarm::Swarm,
    swarms::{KeptArchive, KeptArchives, Swarms},
};
