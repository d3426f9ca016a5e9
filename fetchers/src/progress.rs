//! [`Progress`]: telling somebody how far it is.

use std::fmt;

/// Whoever shows how far a fetch is. What comes is a row of phases, each with its bytes.
pub trait Progress: Send + Sync {
    /// Something begins: on what, and how many bytes it has, if that is known. It ends whatever went on before.
    fn begin(&self, phase: Phase, subject: &str, total: Option<u64>);

    /// So many bytes more are done.
    fn advance(&self, bytes: u64);

    /// All is done, well or not.
    fn end(&self);
}

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Asking where the image is. The subject is its name.
    Discovering,
    /// Fetching its signature. The subject is a URL.
    Signature,
    /// Fetching its archive. The subject is a URL or a file.
    Archive,
    /// Verifying the archive. The subject is a URL or a file.
    Verifying,
    /// Decrypting the archive. The subject is a URL or a file.
    Decrypting,
    /// Taking it into the store. The subject is a URL or a file.
    Storing,
}

/// Shows nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn begin(&self, _: Phase, _: &str, _: Option<u64>) {}
    fn advance(&self, _: u64) {}
    fn end(&self) {}
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Discovering => "discovering",
            Self::Signature => "fetching the signature",
            Self::Archive => "fetching",
            Self::Verifying => "verifying",
            Self::Decrypting => "decrypting",
            Self::Storing => "storing",
        })
    }
}
