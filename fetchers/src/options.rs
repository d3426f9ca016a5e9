//! [`HttpOptions`]: how requests are made.

use std::{path::PathBuf, time::Duration};

use crate::connect_to::ConnectTo;

/// How requests are made.
#[derive(Clone, Debug, Default)]
pub struct HttpOptions {
    /// Files of certificates, in PEM, that are believed beside the system's.
    pub ca: Vec<PathBuf>,
    /// Hosts that are to be found elsewhere. The first that fits counts.
    pub connect_to: Vec<ConnectTo>,
    /// Speak plain HTTP where a URL says so.
    pub insecure_http: bool,
    /// Believe every certificate.
    pub insecure_tls: bool,
    /// How long to wait.
    pub timeouts: Timeouts,
}

/// How long to wait for a server.
#[derive(Clone, Debug)]
pub struct Timeouts {
    /// For a connection.
    pub connect: Duration,
    /// For the next byte, of the headers or the body.
    pub read: Duration,
    /// For the whole of a page, a signature or a file of keys, which are small.
    pub small: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let read = Duration::from_secs(30);
        Self {
            connect: Duration::from_secs(10),
            read,
            small: read,
        }
    }
}
