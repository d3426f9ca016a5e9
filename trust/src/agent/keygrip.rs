//! The keygrip: what gpg-agent calls a key, a SHA-1 of its public numbers as libgcrypt writes them.

use openpgp::{
    crypto::mpi::PublicKey,
    packet::{
        Key,
        key::{PublicParts, UnspecifiedRole},
    },
    types::{Curve, HashAlgorithm},
};
use sequoia_openpgp as openpgp;

/// The curve Ed25519, as libgcrypt hashes it: the names of its numbers, and the numbers in hex.
const ED25519: [(&str, &str); 5] = [
    ("p", "7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFED"),
    ("a", "01"),
    ("b", "2DFC9311D490018C7338BF8688861767FF8FF5B2BEBE27548A14B235ECA6874A"),
    (
        "g",
        "04216936D3CD6E53FEC0A4E231FDD6DC5C692CC7609525A7B2C9562D608F25D51A6666666666666666666666666666666666666666666666666666666666666658",
    ),
    ("n", "1000000000000000000000000000000014DEF9DEA2F79CD65812631A5CF5D3ED"),
];

/// The keygrip of a key, in hex; `None` if it is neither RSA nor Ed25519.
pub(super) fn keygrip(key: &Key<PublicParts, UnspecifiedRole>) -> Option<String> {
    let mut hash = HashAlgorithm::SHA1.context().ok()?.for_digest();
    match key.mpis() {
        PublicKey::RSA { n, .. } => {
            // As a signed number: a zero stands before a first bit that is set.
            if n.value().first().is_some_and(|byte| byte & 0x80 != 0) {
                hash.update(&[0]);
            }
            hash.update(n.value());
        }
        PublicKey::EdDSA {
            curve: Curve::Ed25519,
            q,
        } => {
            let point = q.value().strip_prefix(&[0x40])?;
            for (name, digits) in ED25519 {
                let number = openpgp::fmt::hex::decode(digits).ok()?;
                update(&mut hash, name, &number);
            }
            update(&mut hash, "q", point);
        }
        _ => return None,
    }
    let mut digest = [0; 20];
    hash.digest(&mut digest).ok()?;
    Some(openpgp::fmt::hex::encode(digest))
}

fn update(hash: &mut openpgp::crypto::hash::Context, name: &str, value: &[u8]) {
    hash.update(format!("(1:{name}{}:", value.len()).as_bytes());
    hash.update(value);
    hash.update(b")");
}
