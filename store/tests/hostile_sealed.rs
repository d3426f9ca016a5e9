//! Hostile sealed recipes: whatever one claims, it takes little memory. The peak is what the kernel says of this process.

#![allow(clippy::unwrap_used)]

use std::{fs, io::Read, sync::Arc};

use dhow_image::{ImageId, Name};
use dhow_store::{
    Store,
    delta::{Delta, DeltaError, DeltaHead, DeltaPack, HeadRecipe, SealedRecipe, Step},
    pack::{Backend, ContentRef, Directory, Layers, PackStore, Secret},
};
use sha2::{Digest, Sha256};

/// What no recipe may make a reader take, in kilobytes.
const MOST: u64 = 64_000;

fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse().unwrap()
}

/// How many bytes each object has.
const SIZE: u64 = 8192;

/// Records of so many objects, none of which anybody has, without holding them.
fn records(objects: u64) -> impl Read {
    numbered(objects, |number| {
        let mut record = vec![2];
        record.extend_from_slice(&Sha256::digest(number.to_le_bytes()));
        record.extend_from_slice(&SIZE.to_le_bytes());
        record
    })
}

/// Keys of so many objects.
fn keys(objects: u64) -> impl Read {
    numbered(objects, |number| Sha256::digest((!number).to_le_bytes()).to_vec())
}

fn numbered(count: u64, each: impl Fn(u64) -> Vec<u8>) -> impl Read {
    struct Numbered<I>(I, std::io::Cursor<Vec<u8>>);
    impl<I: Iterator<Item = Vec<u8>>> Read for Numbered<I> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            loop {
                match self.1.read(buffer)? {
                    0 if !buffer.is_empty() => match self.0.next() {
                        Some(bytes) => self.1 = std::io::Cursor::new(bytes),
                        None => return Ok(0),
                    },
                    read => return Ok(read),
                }
            }
        }
    }
    Numbered((0..count).map(each), std::io::Cursor::default())
}

/// What a client says of an image with so many objects and keys, all in one pack.
fn follow(objects: u64, with_keys: u64) -> String {
    let directory = tempfile::tempdir().unwrap();
    let scratch = directory.path();
    let secret = Secret::from_bytes([1; 32]);
    let backend: Arc<dyn Backend> = Arc::new(Directory::open(&scratch.join("packs")).unwrap());
    let packs = PackStore::open(backend.clone(), []).unwrap();
    let layers = Layers::plain().compressed(1).sealed(secret.clone());
    let mut writer = packs.writer(layers, scratch);
    let records: ContentRef = writer.put(records(objects)).unwrap();
    let keys = writer.put(keys(with_keys)).unwrap();
    let id = writer.finish().unwrap().0[0];
    let size = backend.size(&id).unwrap().unwrap();
    let end = backend.read(&id, 0..size).unwrap().unwrap();
    let head = DeltaHead {
        id: ImageId::from_bytes([1; 64]),
        tar_size: objects * SIZE,
        archive_sha512: [0; 64],
        archive_size: 1 << 30,
        recipe: HeadRecipe::Sealed(vec![0]),
        up: 3,
        packs: vec![DeltaPack {
            id,
            size,
            end: 0,
            end_digest: Sha256::digest(&end).into(),
        }],
        patch: None,
    };
    drop(end);
    let sealed = SealedRecipe {
        id: head.id,
        records,
        keys,
        chunker_seed: secret.chunker_seed(),
    };
    // What the publisher's part took does not count.
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let store = Arc::new(Store::open(&scratch.join("store")).unwrap());
    let result: Result<(), DeltaError> = (|| {
        let sealed = SealedRecipe::parse(&sealed.to_bytes(), &head)?;
        let mut delta = Delta::opened(store, head, sealed, &Name::new("example.com/app").unwrap())?;
        while let Step::Need(need) = delta.step()? {
            for (pack, range) in need.ranges {
                // As it comes from a server, a little at a time.
                for start in range.clone().step_by(1 << 16) {
                    let part = start..range.end.min(start + (1 << 16));
                    let bytes = backend.read(&pack, part).unwrap().unwrap();
                    delta.sparse().write(&pack, start, &bytes).unwrap();
                }
                delta.sparse().came(&pack, range).unwrap();
            }
        }
        Ok(())
    })();
    assert!(peak() < MOST, "{} kB at the peak", peak());
    let error = result.unwrap_err();
    let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// As many objects as there may be, all of which are needed; one more; and keys for more and for fewer.
#[test]
fn a_hostile_sealed_recipe_takes_little_memory() {
    for (objects, keys, said) in [
        (400_000, 400_000, "where no content begins"),
        (400_001, 400_001, "too many contents"),
        (400_000, 200_000, "not a key for each object"),
    ] {
        let told = follow(objects, keys);
        assert!(told.contains(said), "{objects} objects, {keys} keys: {told}");
    }
}
