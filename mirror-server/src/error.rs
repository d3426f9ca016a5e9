//! What can go wrong with a mirror.

use std::{io, net::SocketAddr, path::PathBuf};

use thiserror::Error;

/// Why a mirror cannot serve.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// Nothing can listen at the address: it is in use, say.
    #[error("could not listen on `{address}`")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The file of the certificate or of its key could not be read.
    #[error("could not read `{}`", path.display())]
    ReadPem {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The file holds no certificate or no key.
    #[error("`{origin}` holds no {expected} in PEM form")]
    Pem {
        /// The file, or what was given instead of one.
        origin: String,
        /// What it should hold.
        expected: &'static str,
        /// Why it does not.
        #[source]
        source: rustls_pki_types::pem::Error,
    },
    /// Certificate and key do not go together, or cannot be used.
    #[error("the certificate of `{certificate}` and the key of `{key}` cannot be used together")]
    Identity {
        /// The file of the certificate.
        certificate: String,
        /// The file of the key.
        key: String,
        /// Why not.
        #[source]
        source: rustls::Error,
    },
    /// The server stopped by itself.
    #[error("the server on `{address}` failed")]
    Serve {
        /// Where it listened.
        address: SocketAddr,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}
