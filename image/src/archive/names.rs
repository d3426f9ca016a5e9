//! The names that an archive has had so far, in little memory.

use std::{
    collections::HashMap,
    hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState},
};

use super::RootfsPath;

/// What an earlier entry was, as far as later ones depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// A directory that only the paths beneath it speak of, so far.
    ImpliedDirectory,
    Directory,
    NoDirectory,
}

/// Names as 15-byte digests under a random key, in place of paths: whoever makes an archive cannot aim at a collision,
/// and a million names of 4,000 bytes take no more memory than short ones.
///
/// The table is in many parts, since a hash table that grows holds its old self beside the new one: so only a part
/// does.
pub(super) struct Names {
    keys: [RandomState; 2],
    parts: Vec<HashMap<Fingerprint, Seen, BuildHasherDefault<TakeAsHash>>>,
    count: usize,
}

const PARTS: usize = 64;

impl Names {
    pub(super) fn new() -> Self {
        Self {
            keys: [RandomState::new(), RandomState::new()],
            parts: (0..PARTS).map(|_| HashMap::default()).collect(),
            count: 0,
        }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn get(&self, path: &RootfsPath) -> Option<Seen> {
        let fingerprint = self.fingerprints(path).last().expect("the root is always there");
        self.parts[fingerprint.part()].get(&fingerprint).copied()
    }

    /// Notes a path, and the directories above it as implied. The error says how it contradicts what was there.
    pub(super) fn add(&mut self, path: &RootfsPath, seen: Seen) -> Result<(), &'static str> {
        let mut chain: Vec<_> = self.fingerprints(path).collect();
        let own = chain.pop().expect("the root is always there");
        for above in chain {
            if self.or_insert(above, Seen::ImpliedDirectory) == Seen::NoDirectory {
                return Err("lies beneath what is no directory");
            }
        }
        match (self.parts[own.part()].insert(own, seen), seen) {
            (None, _) => {
                self.count += 1;
                Ok(())
            }
            (Some(Seen::ImpliedDirectory), Seen::Directory) => Ok(()),
            _ => Err("stands twice"),
        }
    }

    fn or_insert(&mut self, fingerprint: Fingerprint, seen: Seen) -> Seen {
        *self.parts[fingerprint.part()].entry(fingerprint).or_insert_with(|| {
            self.count += 1;
            seen
        })
    }

    /// The fingerprints of the root and of every further directory on the way to the path, itself the last.
    fn fingerprints<'a>(&self, path: &'a RootfsPath) -> impl Iterator<Item = Fingerprint> + use<'a> {
        let mut hashers = [self.keys[0].build_hasher(), self.keys[1].build_hasher()];
        let root = Fingerprint::of(&hashers);
        std::iter::once(root).chain(path.parts().map(move |part| {
            for hasher in &mut hashers {
                hasher.write(b"/");
                hasher.write(part);
            }
            Fingerprint::of(&hashers)
        }))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Fingerprint([u8; 15]);

impl Fingerprint {
    fn of(hashers: &[impl Hasher; 2]) -> Self {
        let mut bytes = [0; 15];
        bytes[..8].copy_from_slice(&hashers[0].finish().to_le_bytes());
        bytes[8..].copy_from_slice(&hashers[1].finish().to_le_bytes()[..7]);
        Self(bytes)
    }

    fn part(&self) -> usize {
        usize::from(self.0[14]) % PARTS
    }
}

impl Hash for Fingerprint {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(u64::from_le_bytes(
            self.0[..8].try_into().expect("eight of fifteen bytes"),
        ));
    }
}

/// A fingerprint is a hash already.
#[derive(Default)]
struct TakeAsHash(u64);

impl Hasher for TakeAsHash {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("a fingerprint writes one number");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn directories_above_are_implied_once() {
        let path = |text: &str| RootfsPath::new(text.as_bytes()).unwrap();
        let mut names = Names::new();
        names.add(&path("a/b/c"), Seen::NoDirectory).unwrap();
        assert_eq!(names.count(), 4, "the root, a, b, c");
        assert_eq!(names.get(&path("a/b")), Some(Seen::ImpliedDirectory));
        names.add(&path("a/b"), Seen::Directory).unwrap();
        assert_eq!(names.count(), 4);
        assert_eq!(names.add(&path("a/b"), Seen::Directory), Err("stands twice"));
        assert_eq!(names.add(&path("a"), Seen::NoDirectory), Err("stands twice"));
        let beneath = names.add(&path("a/b/c/d"), Seen::Directory);
        assert_eq!(beneath, Err("lies beneath what is no directory"));
        assert_eq!(names.get(&path("ab")), None);
    }
}
