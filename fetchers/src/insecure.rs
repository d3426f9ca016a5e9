//! [`Insecure`]: the checks that a user has switched off.

/// `--insecure-options`, as far as it concerns images and keys. Those of the network are the client's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Insecure {
    /// Take images in without a signature. Their provenance says so until a signature is verified.
    pub image: bool,
    /// Fetch public keys over plain HTTP.
    pub pubkey: bool,
}
