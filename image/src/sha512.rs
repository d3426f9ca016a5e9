//! [`Sha512`]: the slowest thing that is done to a tar, done by the fastest that is at hand.

use std::fmt;

use aws_lc_rs::digest::{Context, SHA512};
use sha2::digest::{FixedOutput, HashMarker, Output, OutputSizeUser, Update, consts::U64};

/// SHA-512 (FIPS 180-4) for [`sha2::Digest`], as AWS-LC computes it: a sixth faster than `sha2` itself where the
/// processor has no instructions for it.
#[derive(Clone)]
pub struct Sha512(Context);

impl Default for Sha512 {
    fn default() -> Self {
        Self(Context::new(&SHA512))
    }
}

impl Update for Sha512 {
    fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }
}

impl FixedOutput for Sha512 {
    fn finalize_into(self, out: &mut Output<Self>) {
        out.copy_from_slice(self.0.finish().as_ref());
    }
}

impl OutputSizeUser for Sha512 {
    type OutputSize = U64;
}

impl HashMarker for Sha512 {}

impl fmt::Debug for Sha512 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sha512")
    }
}

#[cfg(test)]
mod tests {
    use sha2::Digest;

    use super::Sha512;

    #[test]
    fn it_is_sha_512_however_it_is_fed() {
        let data: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
        for step in [1, 127, 128, 129, 65_537, data.len()] {
            let part = &data[..data.len().min(step * 3)];
            let mut hasher = Sha512::new();
            part.chunks(step).for_each(|piece| hasher.update(piece));
            let expected = sha2::Sha512::digest(part);
            assert_eq!(hasher.finalize(), expected, "in pieces of {step} bytes");
        }
    }
}
