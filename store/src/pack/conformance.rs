//! One suite for every backend and every stack of layers. It panics where something is not as it should be.
//!
//! Not part of the interface: for tests of this crate and of those that bring a backend.

#![allow(clippy::unwrap_used)]

use std::{
    io::{self, Read},
    sync::Arc,
    thread,
};

use sha2::{Digest, Sha256};

use super::{Backend, ContentRef, Layers, PackError, PackId, PackStore, Put, Secret, WHOLE, content_of};
use crate::object::ObjectId;

/// Checks a backend, of which `make` makes a new and empty one each time that it is called, and every stack on it.
pub fn check(make: &dyn Fn() -> Arc<dyn Backend>) {
    keeps_what_it_is_given(&*make());
    refuses_what_is_not_what_its_name_says(&*make());
    lets_many_put_at_once(make());
    for (name, layers) in stacks() {
        in_stack(name, || {
            gives_contents_back(make(), &layers);
            stores_once(make(), &layers);
        });
    }
    keeps_sealed_contents_from_others(make());
}

/// Every order of layers that there is.
pub fn stacks() -> [(&'static str, Layers); 5] {
    let secret = || Secret::from_bytes([0x42; 32]);
    [
        ("plain", Layers::plain()),
        ("compressed", Layers::plain().compressed(3)),
        ("sealed", Layers::plain().sealed(secret())),
        ("compressed, sealed", Layers::plain().compressed(3).sealed(secret())),
        // Said in the other order, it is the same stack.
        ("sealed, compressed", Layers::plain().sealed(secret()).compressed(3)),
    ]
}

/// Bytes without a pattern, the same for the same seed.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Bytes that compress.
pub fn text(seed: u64, length: usize) -> Vec<u8> {
    let words = noise(seed, length / 4 + 8);
    let mut text: Vec<u8> = words
        .iter()
        .flat_map(|byte| format!("{byte:02x} is a number\n").into_bytes())
        .collect();
    text.truncate(length);
    text
}

/// Names the stack in the message, if `check` panics.
fn in_stack(name: &str, check: impl FnOnce()) {
    if let Err(panic) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(check)) {
        let cause = panic.downcast_ref::<String>().cloned();
        let cause = cause.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        panic!("with the layers `{name}`: {}", cause.unwrap_or_default());
    }
}

fn id_of(content: &[u8]) -> PackId {
    PackId::from_bytes(Sha256::digest(content).into())
}

fn put(backend: &dyn Backend, content: &[u8]) -> (PackId, io::Result<Put>) {
    let id = id_of(content);
    (id, backend.put(&id, content.len() as u64, &mut &content[..]))
}

fn keeps_what_it_is_given(backend: &dyn Backend) {
    let absent = id_of(b"nobody has this");
    assert_eq!(backend.size(&absent).unwrap(), None);
    assert_eq!(backend.read(&absent, 0..1).unwrap(), None);
    assert!(!backend.delete(&absent).unwrap());
    assert_eq!(backend.list().unwrap(), []);

    // The second is more than what is uploaded at once anywhere.
    for content in [b"small".to_vec(), noise(1, (20 << 20) + 7)] {
        let length = content.len() as u64;
        let (id, first) = put(backend, &content);
        assert_eq!(first.unwrap(), Put::New);
        assert_eq!(put(backend, &content).1.unwrap(), Put::Known);
        assert_eq!(backend.size(&id).unwrap(), Some(length));
        for range in [0..length, 0..1, 2..4, length - 1..length, 3..3] {
            let expected = &content[range.start as usize..range.end as usize];
            assert!(
                backend.read(&id, range.clone()).unwrap().unwrap() == expected,
                "{range:?}"
            );
        }
        for beyond in [0..length + 1, length..length + 1, length + 10..length + 20, 0..u64::MAX] {
            assert!(backend.read(&id, beyond.clone()).is_err(), "{beyond:?} of {length}");
        }
        assert_eq!(backend.list().unwrap(), [id]);
        assert!(backend.delete(&id).unwrap());
        assert!(!backend.delete(&id).unwrap());
        assert_eq!(backend.size(&id).unwrap(), None);
        assert_eq!(backend.list().unwrap(), []);
    }

    let mut ids: Vec<_> = (0..20).map(|seed| put(backend, &noise(seed, 10)).0).collect();
    let mut listed = backend.list().unwrap();
    ids.sort();
    listed.sort();
    assert_eq!(listed, ids);
}

fn refuses_what_is_not_what_its_name_says(backend: &dyn Backend) {
    /// Gives some bytes, and then an error.
    struct Broken(usize);
    impl Read for Broken {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = buffer.len().min(self.0);
            self.0 -= length;
            match length {
                0 => Err(io::ErrorKind::BrokenPipe.into()),
                length => Ok(length),
            }
        }
    }
    let content = noise(3, 100_000);
    let id = id_of(&content);
    let mut other = content.clone();
    other[99_999] ^= 1;
    assert!(backend.put(&id, 100_000, &mut &other[..]).is_err(), "other bytes");
    assert!(backend.put(&id, 100_001, &mut &content[..]).is_err(), "too short");
    assert!(backend.put(&id, 99_999, &mut &content[..]).is_err(), "too long");
    assert!(backend.put(&id, 9 << 20, &mut Broken(9 << 20)).is_err(), "broken");
    assert_eq!(backend.size(&id).unwrap(), None);
    assert_eq!(backend.list().unwrap(), []);
    assert_eq!(put(backend, &content).1.unwrap(), Put::New);
}

fn lets_many_put_at_once(backend: Arc<dyn Backend>) {
    let contents: Vec<_> = (0..4).map(|seed| noise(seed, 300_000)).collect();
    let puts: Vec<_> = (0..4)
        .map(|_| {
            let (backend, contents) = (Arc::clone(&backend), contents.clone());
            thread::spawn(move || {
                for content in contents {
                    put(&*backend, &content).1.unwrap();
                }
            })
        })
        .collect();
    for put in puts {
        put.join().unwrap();
    }
    assert_eq!(backend.list().unwrap().len(), 4);
    for content in contents {
        let read = backend.read(&id_of(&content), 0..content.len() as u64);
        assert!(read.unwrap().unwrap() == content);
    }
}

fn gives_contents_back(backend: Arc<dyn Backend>, layers: &Layers) {
    let scratch = tempfile::tempdir().unwrap();
    let contents = [
        vec![],
        b"x".to_vec(),
        text(1, WHOLE),
        noise(2, WHOLE + 1),
        text(3, 700_000),
        vec![0; 400_000],
        noise(4, 1_100_000),
    ];
    let store = PackStore::open_all(Arc::clone(&backend)).unwrap();
    let mut writer = store.writer(layers.clone(), scratch.path());
    let refs: Vec<_> = contents
        .iter()
        .map(|content| writer.put(&content[..]).unwrap())
        .collect();
    assert_eq!(writer.finish().unwrap().1.packs, 1);
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);

    let store = PackStore::open_all(backend).unwrap();
    assert_eq!(store.missing(&refs), []);
    for (content, bytes) in refs.iter().zip(&contents) {
        assert_eq!(content.digest, content_of(&bytes[..]).unwrap().digest);
        assert_eq!(content.length, bytes.len() as u64);
        let mut back = Vec::new();
        store.get(content, &mut back).unwrap();
        assert!(back == *bytes, "a content of {} bytes", bytes.len());
        let (length, quarter) = (content.length, content.length / 4);
        for range in [
            0..length.min(1),
            quarter..2 * quarter,
            length..length,
            length.saturating_sub(3)..length,
        ] {
            back.clear();
            store.get_range(content, range.clone(), &mut back).unwrap();
            assert!(
                back == bytes[range.start as usize..range.end as usize],
                "{range:?} of {length}"
            );
        }
        let beyond = store.get_range(content, 0..length + 1, io::sink());
        assert!(matches!(beyond, Err(PackError::Range { .. })));
    }
    for pack in store.packs() {
        store.verify(pack.pack()).unwrap();
    }
    let absent = layers.content(ObjectId([9; 32]), 10);
    assert_eq!(store.missing([&absent]).len(), 1);
    assert!(matches!(
        store.get(&absent, io::sink()),
        Err(PackError::NotFound { .. })
    ));
}

fn stores_once(backend: Arc<dyn Backend>, layers: &Layers) {
    let scratch = tempfile::tempdir().unwrap();
    let content = noise(5, 1 << 20);
    let put = |content: &[u8], layers: &Layers| {
        let store = PackStore::open_all(Arc::clone(&backend)).unwrap();
        let mut writer = store.writer(layers.clone(), scratch.path());
        let content = writer.put(content).unwrap();
        (content, writer.finish().unwrap().1)
    };
    let (first, statistics) = put(&content, layers);
    assert!(statistics.stored > 1 << 20);
    let (again, statistics) = put(&content, layers);
    assert_eq!((again, statistics.packs, statistics.stored), (first, 0, 0));
    assert_eq!((statistics.given, statistics.shared), (1 << 20, 1 << 20));
    // Compressed in another way, it is the same content.
    let (_, statistics) = put(&content, &layers.clone().compressed(1));
    assert_eq!(statistics.packs, 0);
    let mut changed = content.clone();
    changed[1 << 19] ^= 1;
    let (changed_ref, statistics) = put(&changed, layers);
    assert_eq!(statistics.packs, 1);
    assert!((1..=2).contains(&statistics.new_chunks));
    assert!(statistics.stored < 400_000, "{} bytes for one", statistics.stored);
    let store = PackStore::open_all(Arc::clone(&backend)).unwrap();
    let mut back = Vec::new();
    store.get(&changed_ref, &mut back).unwrap();
    assert!(back == changed);
}

fn keeps_sealed_contents_from_others(backend: Arc<dyn Backend>) {
    let scratch = tempfile::tempdir().unwrap();
    let bytes = text(6, 500_000);
    let seal = |secret: u8| {
        let store = PackStore::open_all(Arc::clone(&backend)).unwrap();
        let layers = Layers::plain().compressed(3).sealed(Secret::from_bytes([secret; 32]));
        let mut writer = store.writer(layers, scratch.path());
        let content = writer.put(&bytes[..]).unwrap();
        (content, writer.finish().unwrap().0)
    };
    let ((one, packs), (other, other_packs)) = (seal(1), seal(2));
    assert_ne!(packs, other_packs, "two secrets share nothing");
    assert_ne!(one.name(), other.name());
    let store = PackStore::open(Arc::clone(&backend), packs.clone()).unwrap();
    let without_key = ContentRef::plain(one.digest, one.length);
    for stranger in [&without_key, &other] {
        assert!(matches!(
            store.get(stranger, io::sink()),
            Err(PackError::NotFound { .. })
        ));
    }
    store.get(&one, io::sink()).unwrap();

    let whole = backend.read(&packs[0], 0..store.packs()[0].size()).unwrap().unwrap();
    let digest = one.digest.as_bytes();
    let finds = |what: &[u8]| whole.windows(what.len()).any(|window| window == what);
    assert!(!finds(digest), "a sealed pack tells a digest");
    assert!(!finds(b"is a number"), "a sealed pack tells a text");
    assert!(
        !finds(Secret::from_bytes([1; 32]).key(&one.digest).expose()),
        "a sealed pack tells a key"
    );
    store.verify(&packs[0]).unwrap();
}
