//! [`HttpOptions`]: how requests are made.

use std::{path::PathBuf, time::Duration};

use crate::{connect_to::ConnectTo, credentials::Credentials, retry::RetryPolicy};

/// How requests are made.
#[derive(Clone, Debug)]
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
    /// How often a page, a signature or a file of keys is asked for again.
    pub retry: RetryPolicy,
    /// How many requests one host may have under way at a time.
    pub per_host: usize,
    /// What is logged in with, and where.
    pub credentials: Credentials,
    /// Ask nobody: every request fails.
    pub offline: bool,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            ca: Vec::new(),
            connect_to: Vec::new(),
            insecure_http: false,
            insecure_tls: false,
            timeouts: Timeouts::default(),
            retry: RetryPolicy::default(),
            per_host: 8,
            credentials: Credentials::default(),
            offline: false,
        }
    }
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
        Self {
            connect: Duration::from_secs(10),
            read: Duration::from_secs(15),
            small: Duration::from_secs(30),
        }
    }
}
