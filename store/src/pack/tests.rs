//! Packs from one end to the other.

use std::{
    collections::HashMap,
    io::{self, Read},
    ops::Range,
    sync::{Arc, Mutex},
};

use sha2::{Digest, Sha256};

use super::{
    Backend, ContentRef, Directory, Layers, PackError, PackId, PackIndex, PackStore, Put, Secret, Tail, conformance,
    verified,
};

/// Bytes without a pattern, the same for the same seed.
pub(in crate::pack) fn noise(seed: u64, length: usize) -> Vec<u8> {
    conformance::noise(seed, length)
}

/// Packs in memory.
#[derive(Default)]
struct Memory(Mutex<HashMap<PackId, Vec<u8>>>);

impl Backend for Memory {
    fn location(&self) -> &str {
        "memory"
    }

    fn size(&self, pack: &PackId) -> io::Result<Option<u64>> {
        Ok(self.0.lock().unwrap().get(pack).map(|bytes| bytes.len() as u64))
    }

    fn read(&self, pack: &PackId, range: Range<u64>) -> io::Result<Option<Vec<u8>>> {
        let packs = self.0.lock().unwrap();
        let Some(bytes) = packs.get(pack) else { return Ok(None) };
        let bytes = bytes.get(range.start as usize..range.end as usize);
        bytes
            .map(|bytes| Some(bytes.to_vec()))
            .ok_or(io::ErrorKind::UnexpectedEof.into())
    }

    fn put(&self, pack: &PackId, size: u64, content: &mut dyn Read) -> io::Result<Put> {
        if self.size(pack)?.is_some() {
            return Ok(Put::Known);
        }
        let mut bytes = Vec::new();
        verified(pack, size, content).read_to_end(&mut bytes)?;
        let old = self.0.lock().unwrap().insert(*pack, bytes);
        Ok(if old.is_some() { Put::Known } else { Put::New })
    }

    fn list(&self) -> io::Result<Vec<PackId>> {
        Ok(self.0.lock().unwrap().keys().copied().collect())
    }

    fn delete(&self, pack: &PackId) -> io::Result<bool> {
        Ok(self.0.lock().unwrap().remove(pack).is_some())
    }
}

#[test]
fn memory_conforms() {
    conformance::check(&|| Arc::new(Memory::default()));
}

#[test]
fn a_directory_conforms() {
    let root = tempfile::tempdir().unwrap();
    let count = std::cell::Cell::new(0);
    conformance::check(&|| {
        count.set(count.get() + 1);
        Arc::new(Directory::open(&root.path().join(count.get().to_string())).unwrap())
    });
}

/// The packs of `docs/src/formats/pack.md`: whoever changes what is written changes the format.
#[test]
fn packs_are_written_as_the_book_says() {
    let secret = Secret::from_bytes(std::array::from_fn(|i| i as u8));
    for (layers, expected) in [
        (Layers::plain(), include_str!("tests/plain.hex")),
        (Layers::plain().sealed(secret), include_str!("tests/sealed.hex")),
    ] {
        let backend = Arc::new(Memory::default());
        let store = PackStore::open_all(backend.clone()).unwrap();
        let scratch = tempfile::tempdir().unwrap();
        let mut writer = store.writer(layers, scratch.path());
        let hello = writer.put(&b"hello\n"[..]).unwrap();
        writer.put(&b"world\n"[..]).unwrap();
        let (packs, _) = writer.finish().unwrap();
        let bytes = backend.0.lock().unwrap()[&packs[0]].clone();
        let written: Vec<_> = bytes.chunks(32).map(|line| hex::encode(line) + "\n").collect();
        assert_eq!(written.concat(), expected);
        let store = PackStore::open_all(backend).unwrap();
        let mut back = Vec::new();
        store.get(&hello, &mut back).unwrap();
        assert_eq!(back, b"hello\n");
    }
}

/// What a client without this store does: tail, index with lists, then ranges of frames.
#[test]
fn a_content_is_fetched_by_ranges_alone() {
    let backend = Arc::new(Memory::default());
    let store = PackStore::open_all(backend.clone()).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let mut writer = store.writer(Layers::plain().compressed(3), scratch.path());
    let bytes = noise(1, 3 << 20);
    let content = writer.put(&bytes[..]).unwrap();
    writer.put(&noise(2, 1 << 20)[..]).unwrap();
    let (packs, _) = writer.finish().unwrap();

    let pack = backend.0.lock().unwrap()[&packs[0]].clone();
    let (size, part) = (pack.len() as u64, |range: Range<u64>| {
        &pack[range.start as usize..range.end as usize]
    });
    let tail = Tail::parse(packs[0], size, part(size - 64..size)).unwrap();
    let index = PackIndex::parse(&tail, part(tail.index_range())).unwrap();
    assert_eq!(
        index.lists().end,
        tail.index_range().start,
        "lists and index are had at once"
    );
    let id = index.find(&content.name()).unwrap();
    assert!(index.is_list(id));
    let parts = index
        .open(id, part(index.range(id)), &content)
        .unwrap()
        .list(&content)
        .unwrap();
    let frames: Vec<_> = parts.iter().map(|part| index.find(&part.name()).unwrap()).collect();
    let ranges: Vec<_> = frames.iter().map(|&id| index.range(id)).collect();
    let requests = super::plan(&ranges, &super::PlanLimits::default());
    assert_eq!(requests.len(), 1, "a file's chunks follow each other");
    let mut hasher = Sha256::new();
    for (chunk, id) in parts.iter().zip(frames) {
        let frame = index.open(id, part(index.range(id)), chunk).unwrap();
        hasher.update(frame.bytes(chunk).unwrap());
    }
    assert_eq!(hasher.finalize()[..], content.digest.as_bytes()[..]);
}

#[test]
fn lists_of_lists_come_back_and_one_changed_byte_costs_little() {
    let backend = Arc::new(Memory::default());
    let scratch = tempfile::tempdir().unwrap();
    let put = |bytes: &[u8]| {
        let store = PackStore::open_all(backend.clone()).unwrap();
        let mut writer = store.writer(Layers::plain().compressed(1), scratch.path());
        let content = writer.put(bytes).unwrap();
        (content, writer.finish().unwrap().1)
    };
    let mut bytes = noise(9, 40 << 20);
    put(&bytes);
    let store = PackStore::open_all(backend.clone()).unwrap();
    let lists = store.packs()[0]
        .frames()
        .filter(|&id| store.packs()[0].is_list(id))
        .count();
    assert!(lists >= 1);
    bytes[12_345_678] ^= 0x10;
    let (content, statistics) = put(&bytes);
    assert!(statistics.stored < 100_000, "{} bytes", statistics.stored);
    let store = PackStore::open_all(backend.clone()).unwrap();
    let mut back = Vec::new();
    store.get(&content, &mut back).unwrap();
    assert!(back == bytes);
}

#[test]
fn whoever_has_the_key_of_one_content_has_not_that_of_another() {
    let backend: Arc<dyn Backend> = Arc::new(Memory::default());
    let store = PackStore::open_all(Arc::clone(&backend)).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let mut writer = store.writer(Layers::plain().sealed(Secret::from_bytes([7; 32])), scratch.path());
    let mine = writer.put(&b"mine"[..]).unwrap();
    let theirs = writer.put(&b"theirs"[..]).unwrap();
    writer.finish().unwrap();
    let store = PackStore::open_all(backend).unwrap();
    store.get(&mine, io::sink()).unwrap();
    let index = &store.packs()[0];
    let id = index.find(&theirs.name()).unwrap();
    let stored = store.read(index.pack(), index.range(id)).unwrap();
    assert!(matches!(index.open(id, &stored, &mine), Err(PackError::Sealed { .. })));
    let without = ContentRef::plain(theirs.digest, theirs.length);
    assert!(matches!(
        index.open(id, &stored, &without),
        Err(PackError::NoKey { .. })
    ));
}
