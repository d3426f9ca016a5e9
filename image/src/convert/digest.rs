//! Digests, as OCI writes them, and readers that compute them on the way.

use std::{
    cell::Cell,
    fmt,
    io::{self, Read},
    rc::Rc,
    str::FromStr,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::sha512::Sha512;

/// The digest of a blob, as OCI writes it: `sha256:` or `sha512:` and hex digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest {
    algorithm: Algorithm,
    hex: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Algorithm {
    Sha256,
    Sha512,
}

impl Algorithm {
    fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }
}

impl Digest {
    /// The SHA-256 of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self::from_sha256(Sha256::new_with_prefix(bytes))
    }

    /// The digest of what this hasher was given.
    pub(super) fn from_sha256(hasher: Sha256) -> Self {
        Self {
            algorithm: Algorithm::Sha256,
            hex: hex::encode(hasher.finalize()),
        }
    }

    /// The hex digits.
    pub(super) fn hex(&self) -> &str {
        &self.hex
    }

    /// Where an OCI layout has the blob: `blobs/sha256/…`.
    pub fn blob_path(&self) -> String {
        format!("blobs/{}/{}", self.algorithm.name(), self.hex)
    }
}

impl FromStr for Digest {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = match text.split_once(':') {
            Some(("sha256", hex)) if hex.len() == 64 => Some((Algorithm::Sha256, hex)),
            Some(("sha512", hex)) if hex.len() == 128 => Some((Algorithm::Sha512, hex)),
            _ => None,
        };
        match known {
            Some((algorithm, hex)) if hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) => Ok(Self {
                algorithm,
                hex: hex.to_owned(),
            }),
            _ => {
                let shown: String = text.chars().take(150).collect();
                Err(format!("`{shown}` is no digest of SHA-256 or SHA-512"))
            }
        }
    }
}

impl TryFrom<String> for Digest {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.name(), self.hex)
    }
}

/// Digests what comes piece by piece, to tell in the end whether it was what it should be.
#[derive(Clone, Debug)]
pub struct DigestCheck {
    expected: Digest,
    hasher: Hasher,
}

#[derive(Clone, Debug)]
enum Hasher {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl DigestCheck {
    /// Nothing came yet of what should have this digest.
    pub fn new(expected: &Digest) -> Self {
        let hasher = match expected.algorithm {
            Algorithm::Sha256 => Hasher::Sha256(Sha256::new()),
            Algorithm::Sha512 => Hasher::Sha512(Sha512::new()),
        };
        Self {
            expected: expected.clone(),
            hasher,
        }
    }

    /// The next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.hasher {
            Hasher::Sha256(hasher) => hasher.update(bytes),
            Hasher::Sha512(hasher) => hasher.update(bytes),
        }
    }

    /// That was all. If it was something else, its digest is the error.
    pub fn finish(self) -> Result<(), Digest> {
        let hex = match self.hasher {
            Hasher::Sha256(hasher) => hex::encode(hasher.finalize()),
            Hasher::Sha512(hasher) => hex::encode(hasher.finalize()),
        };
        if hex == self.expected.hex {
            return Ok(());
        }
        Err(Digest {
            algorithm: self.expected.algorithm,
            hex,
        })
    }
}

/// A reader whose end is an error unless all that was read has the digest and the size that it should have.
pub(super) struct VerifiedReader<R> {
    inner: R,
    check: Option<DigestCheck>,
    size: Option<u64>,
    read: u64,
    reached_end: Rc<Cell<bool>>,
}

impl<R: Read> VerifiedReader<R> {
    /// Checks what is given of digest and size.
    pub(super) fn new(inner: R, digest: Option<&Digest>, size: Option<u64>) -> Self {
        Self {
            inner,
            check: digest.map(DigestCheck::new),
            size,
            read: 0,
            reached_end: Rc::new(Cell::new(false)),
        }
    }

    /// Tells, when all is read, whether the end was reached and with it the check.
    pub(super) fn end(&self) -> Rc<Cell<bool>> {
        Rc::clone(&self.reached_end)
    }

    fn check_end(&mut self) -> io::Result<()> {
        if let Some(size) = self.size.filter(|&size| size != self.read) {
            return Err(invalid(format!("it has {} bytes, where {size} should be", self.read)));
        }
        if let Some(check) = self.check.take() {
            let expected = check.expected.clone();
            check.finish().map_err(|found| {
                invalid(format!(
                    "its content has the digest {found}, where {expected} should be"
                ))
            })?;
        }
        self.reached_end.set(true);
        Ok(())
    }
}

impl<R: Read> Read for VerifiedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() || self.reached_end.get() {
            return Ok(0);
        }
        let read = self.inner.read(buffer)?;
        self.read += read as u64;
        if self.size.is_some_and(|size| self.read > size) {
            return Err(invalid(format!(
                "it is longer than the {} bytes that it should have",
                self.size.unwrap_or(0)
            )));
        }
        if let Some(check) = &mut self.check {
            check.update(&buffer[..read]);
        }
        if read == 0 {
            self.check_end()?;
        }
        Ok(read)
    }
}

fn invalid(problem: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], digest: &Digest, size: u64) -> io::Result<u64> {
        io::copy(
            &mut VerifiedReader::new(bytes, Some(digest), Some(size)),
            &mut io::sink(),
        )
    }

    #[test]
    fn reading_to_the_end_verifies() {
        let digest = Digest::of(b"abc");
        assert_eq!(read(b"abc", &digest, 3).unwrap(), 3);
        let messages = [
            (read(b"abd", &digest, 3), "its content has the digest"),
            (read(b"ab", &digest, 3), "it has 2 bytes, where 3 should be"),
            (read(b"abcd", &digest, 3), "it is longer than the 3 bytes"),
        ];
        for (result, message) in messages {
            let error = result.unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }

    #[test]
    fn digests_cannot_be_paths() {
        for text in ["sha256:../../etc/passwd", "md5:00", "sha256:", "sha256:AB", "../x:00"] {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
        let digest = Digest::of(b"");
        assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
    }
}
