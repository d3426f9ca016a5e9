//! Hostile packs: each is refused with a reason, and whatever it claims, reading it takes little memory.

#![allow(clippy::unwrap_used)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use dhow_store::{
    ObjectId,
    pack::{Backend, ContentRef, Directory, Layers, PackError, PackId, PackStore, Secret, conformance::noise},
};
use sha2::{Digest, Sha256};

/// Counts what is allocated, to tell the most that was at once.
struct Counting;
static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: it hands everything to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(now, Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const PLAIN: u8 = 0;
const COMPRESSED: u8 = 1;
const SEALED: u8 = 2;

/// A content in an index: its name and its length.
type Record = ([u8; 32], u32);

/// A pack as its writer would make it, each part of which can be bent.
struct Pack {
    magic: Vec<u8>,
    /// What is stored, and the contents in it.
    frames: Vec<(Vec<u8>, Vec<Record>)>,
    flags: u8,
    byte_frames: u32,
    bend: Box<dyn Fn(&mut Bytes)>,
}

/// The parts as they are about to be written: after this, only digests are put right.
struct Bytes {
    index: Vec<u8>,
    tail: Vec<u8>,
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

impl Pack {
    fn new(flags: u8, frames: &[(&[u8], &[&[u8]])]) -> Self {
        let of = |contents: &[&[u8]]| contents.iter().map(|c| (digest(c), c.len() as u32)).collect();
        Self {
            magic: b"dhow pack 1\n".to_vec(),
            frames: frames
                .iter()
                .map(|(stored, contents)| (stored.to_vec(), of(contents)))
                .collect(),
            flags,
            byte_frames: frames.len() as u32,
            bend: Box::new(|_| ()),
        }
    }

    fn bent(mut self, bend: impl Fn(&mut Bytes) + 'static) -> Self {
        self.bend = Box::new(bend);
        self
    }

    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let (mut index, mut tail) = (Vec::new(), vec![self.flags, 0, 0, 0]);
        for (stored, contents) in &self.frames {
            index.extend((stored.len() as u32).to_le_bytes());
            index.extend((contents.len() as u32).to_le_bytes());
        }
        let contents: Vec<_> = self.frames.iter().flat_map(|(_, contents)| contents).collect();
        for (name, length) in &contents {
            index.extend(name);
            index.extend(length.to_le_bytes());
        }
        for number in [self.frames.len() as u32, self.byte_frames, contents.len() as u32] {
            tail.extend(number.to_le_bytes());
        }
        let mut bytes = Bytes { index, tail };
        (self.bend)(&mut bytes);
        let mut pack = self.magic.clone();
        self.frames.iter().for_each(|(stored, _)| pack.extend(stored));
        let sum = Sha256::new()
            .chain_update(&bytes.tail)
            .chain_update(&bytes.index)
            .finalize();
        pack.extend(&bytes.index);
        pack.extend(&bytes.tail);
        pack.extend(sum);
        pack.extend(b"dhow pack end 1\n");
        pack
    }
}

/// A list of these contents.
fn list(parts: &[(&[u8], u64)]) -> Vec<u8> {
    let entry = |(content, length): &(&[u8], u64)| [&digest(content)[..], &length.to_le_bytes()].concat();
    parts.iter().flat_map(entry).collect()
}

/// A pack with a chunk of 5000 bytes and a list for a content, whose digest is that of `whole`.
fn with_list(whole: &[u8], chunk: &[u8], list: &[u8]) -> Vec<u8> {
    let pack = Pack::new(PLAIN, &[(chunk, &[chunk]), (list, &[list])]);
    pack.with(|pack| {
        pack.byte_frames = 1;
        pack.frames[1].1[0].0 = digest(whole);
    })
    .bytes()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    [&[1], &zstd::bulk::compress(bytes, 3).unwrap()[..]].concat()
}

/// A frame of one MiB of zeros, again and again, some 40 bytes each, that gives `length` bytes.
fn bomb(length: usize) -> Vec<u8> {
    let one = zstd::bulk::compress(&vec![0; 1 << 20], 19).unwrap();
    [&[1], &one.repeat(length >> 20)[..]].concat()
}

/// What is read: the pack, the content that is asked for, and a part of the reason why it is refused.
struct Case {
    name: &'static str,
    pack: Vec<u8>,
    content: ContentRef,
    reason: &'static str,
}

fn set(bytes: &mut [u8], place: usize, number: u32) {
    bytes[place..place + 4].copy_from_slice(&number.to_le_bytes());
}

fn plain(content: &[u8]) -> ContentRef {
    ContentRef::plain(object(content), content.len() as u64)
}

fn object(content: &[u8]) -> ObjectId {
    dhow_store::pack::content_of(content).unwrap().digest
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let (hello, world) = (&b"hello"[..], &b"world"[..]);
    let good = || Pack::new(PLAIN, &[(b"helloworld", &[hello, world])]);
    let mut case = |name, pack: Vec<u8>, content: &ContentRef, reason| {
        cases.push(Case {
            name,
            pack,
            content: content.clone(),
            reason,
        });
    };
    let content = plain(hello);

    // The end of the pack.
    case("an empty file", vec![], &content, "too short");
    case("63 bytes", good().bytes()[..63].to_vec(), &content, "too short");
    case(
        "cut short",
        good().bytes()[..good().bytes().len() - 1].to_vec(),
        &content,
        "cut short",
    );
    case("another format", vec![b'x'; 1000], &content, "no pack of version 1");
    let mut version_2 = good().bytes();
    let place = version_2.len() - 2;
    version_2[place] = b'2';
    case("another version", version_2, &content, "no pack of version 1");
    case(
        "a layer that nobody knows",
        good().bent(|b| b.tail[0] = 4).bytes(),
        &content,
        "layers of an unknown kind",
    );
    case(
        "bytes that must be zero",
        good().bent(|b| b.tail[2] = 1).bytes(),
        &content,
        "layers of an unknown kind",
    );
    let counts = |place: usize, number: u32| good().bent(move |b| set(&mut b.tail, place, number)).bytes();
    case("4 billion frames", counts(4, u32::MAX), &content, "impossible number");
    case(
        "4 billion contents",
        counts(12, u32::MAX),
        &content,
        "impossible number",
    );
    case(
        "as many contents as a pack can have, of which it has none",
        counts(12, 1 << 18),
        &content,
        "shorter than its index",
    );
    case("more frames than contents", counts(4, 3), &content, "impossible number");
    case(
        "more frames of bytes than frames",
        counts(8, 2),
        &content,
        "impossible number",
    );
    case(
        "fewer contents than the index has",
        counts(12, 1),
        &content,
        "not what its tail says",
    );
    case("no frames but contents", counts(4, 0), &content, "impossible number");
    let mut other_index = good().bytes();
    let place = other_index.len() - 64 - 20;
    other_index[place] ^= 1;
    case(
        "an index that is not the one of the tail",
        other_index,
        &content,
        "not what its tail says",
    );

    // The index.
    let record = |place: usize, number: u32| good().bent(move |b| set(&mut b.index, place, number)).bytes();
    case(
        "a frame beyond the end",
        record(0, 11),
        &content,
        "not as long as the pack",
    );
    case("a frame of no bytes", record(0, 0), &content, "impossible length");
    case("a frame of 4 GiB", record(0, u32::MAX), &content, "impossible length");
    case("a frame of no contents", record(4, 0), &content, "impossible number");
    case(
        "a frame of 4 billion contents",
        record(4, u32::MAX),
        &content,
        "impossible number",
    );
    case("a content in no frame", record(4, 1), &content, "contents in no frame");
    case("an empty content", record(8 + 32, 0), &content, "a content is empty");
    case(
        "contents whose lengths overflow",
        record(8 + 32, u32::MAX),
        &content,
        "a frame is too long",
    );
    case(
        "a frame of more than a MiB",
        record(8 + 32, (1 << 20) - 4),
        &content,
        "a frame is too long",
    );
    case(
        "bytes in no frame",
        good().with(|p| p.magic.push(0)).bytes(),
        &content,
        "not as long as the pack",
    );
    case(
        "frames that overlap",
        Pack::new(PLAIN, &[(hello, &[hello]), (world, &[world])])
            .bent(|b| set(&mut b.index, 0, 7))
            .bytes(),
        &content,
        "not as long as the pack",
    );
    case(
        "two contents of one name",
        Pack::new(PLAIN, &[(b"hellohello", &[hello, hello])]).bytes(),
        &content,
        "two contents of one name",
    );
    case(
        "another sum of lengths",
        Pack::new(PLAIN, &[(hello, &[hello, world])]).bytes(),
        &content,
        "not the length of its contents",
    );

    // Contents.
    case(
        "swapped contents",
        Pack::new(PLAIN, &[(b"worldhello", &[hello, world])]).bytes(),
        &content,
        "not what its name says",
    );
    case(
        "another content",
        Pack::new(PLAIN, &[(b"hullo", &[hello])]).bytes(),
        &content,
        "not what its name says",
    );
    case(
        "a longer content than was asked for",
        good().bytes(),
        &ContentRef::plain(content.digest, 4),
        "not what its name says",
    );
    case(
        "a content that is not there",
        good().bytes(),
        &plain(b"elsewhere"),
        "no pack",
    );

    // Compression.
    let compressed = |stored: &[u8]| Pack::new(COMPRESSED, &[(stored, &[hello])]).bytes();
    case(
        "an unknown compression",
        compressed(b"\x02hello"),
        &content,
        "an unknown way",
    );
    case(
        "no Zstandard",
        compressed(b"\x01hello"),
        &content,
        "does not decompress",
    );
    case(
        "less than was promised",
        compressed(&zstd(b"hell")),
        &content,
        "does not decompress",
    );
    case(
        "more than was promised",
        compressed(&zstd(b"hello!")),
        &content,
        "does not decompress",
    );
    case(
        "less, as it is",
        compressed(b"\x00hell"),
        &content,
        "does not decompress",
    );
    case(
        "more, as it is",
        compressed(b"\x00hello!"),
        &content,
        "does not decompress",
    );
    case("a bomb", compressed(&bomb(1 << 30)), &content, "does not decompress");
    let zeros = vec![0; 1 << 20];
    case(
        "a bomb that claims a MiB",
        Pack::new(COMPRESSED, &[(&bomb(1 << 30), &[&zeros])]).bytes(),
        &plain(&zeros),
        "does not decompress",
    );
    let mut claim = zstd::bulk::compress(hello, 3).unwrap();
    // A frame whose header claims 2^62 bytes, with an 8-byte content size (RFC 8878, 3.1.1.1).
    claim.splice(4..6, [0xe0, 0, 0, 0, 0, 0, 0, 0, 0x40]);
    case(
        "a frame that claims 2^62 bytes",
        compressed(&[&[1], &claim[..]].concat()),
        &content,
        "does not decompress",
    );

    // Lists.
    let chunk = noise(1, 5000);
    let whole = [&chunk[..], &chunk[..]].concat();
    let twice = plain(&whole);
    let good_list = list(&[(&chunk, 5000), (&chunk, 5000)]);
    case(
        "a list of no whole entries",
        with_list(&whole, &chunk, &good_list[..79]),
        &twice,
        "impossible length",
    );
    case(
        "a list of one, which could be itself",
        with_list(&whole, &chunk, &list(&[(&whole, 10_000)])),
        &twice,
        "impossible length",
    );
    case(
        "lengths in a list that overflow",
        with_list(&whole, &chunk, &list(&[(&chunk, u64::MAX), (&chunk, 10_001)])),
        &twice,
        "not the length of the whole",
    );
    case(
        "a list of another length",
        with_list(&whole, &chunk, &list(&[(&chunk, 5000), (&chunk, 4999)])),
        &twice,
        "not the length of the whole",
    );
    case(
        "a list of many empty parts",
        with_list(&whole, &chunk, &list(&[(&chunk, 0), (&chunk, 10_000)])),
        &twice,
        "too short",
    );
    case(
        "a list of single bytes",
        with_list(&whole, &chunk, &list(&[(hello, 1), (&chunk, 9_999)])),
        &twice,
        "too short",
    );
    case(
        "a list that has itself",
        with_list(&whole, &chunk, &list(&[(&whole, 5000), (&chunk, 5000)])),
        &twice,
        "not the length of the whole",
    );
    case(
        "a list with a part that is nowhere",
        with_list(&whole, &chunk, &list(&[(&chunk, 5000), (hello, 5000)])),
        &twice,
        "no pack",
    );
    let other = plain(&noise(2, 10_000));
    let other_bytes = noise(2, 10_000);
    case(
        "a list that gives something else",
        with_list(&other_bytes, &chunk, &good_list),
        &other,
        "not the whole",
    );
    case(
        "a list as the content",
        Pack::new(PLAIN, &[(&good_list, &[&good_list])])
            .with(|p| p.byte_frames = 0)
            .bytes(),
        &plain(&good_list),
        "not the length of the whole",
    );
    case(
        "bytes as a list",
        Pack::new(PLAIN, &[(&good_list, &[&good_list])])
            .with(|p| p.frames[0].1[0].0 = digest(&whole))
            .bytes(),
        &twice,
        "not what its name says",
    );

    sealed_cases(&mut cases);
    cases
}

/// Two sealed contents, and what can be done to them without their keys.
fn sealed_cases(cases: &mut Vec<Case>) {
    let layers = Layers::plain().compressed(3).sealed(Secret::from_bytes([1; 32]));
    let directory = tempfile::tempdir().unwrap();
    let backend = Arc::new(Directory::open(directory.path()).unwrap());
    let store = PackStore::open_all(backend.clone()).unwrap();
    let mut writer = store.writer(layers, directory.path());
    let hello = writer.put(&b"hello"[..]).unwrap();
    let world = writer.put(&b"world"[..]).unwrap();
    let (packs, _) = writer.finish().unwrap();
    let store = PackStore::open(backend.clone(), packs).unwrap();
    let index = &store.packs()[0];
    let stored = |content: &ContentRef| {
        let range = index.range(index.find(&content.name()).unwrap());
        backend.read(index.pack(), range).unwrap().unwrap()
    };
    let sealed = |content: &ContentRef, stored: &[u8]| {
        let pack = Pack::new(SEALED | COMPRESSED, &[(stored, &[b""])]);
        pack.with(|pack| pack.frames[0].1[0] = (*content.name().as_bytes(), 0))
    };
    let mut case = |name, pack: Pack, content: &ContentRef, reason| {
        cases.push(Case {
            name,
            pack: pack.bytes(),
            content: content.clone(),
            reason,
        });
    };
    let flipped = |place: usize| {
        let mut stored = stored(&hello);
        let place = place.min(stored.len() - 1);
        stored[place] ^= 1;
        stored
    };
    case(
        "a nonce that was changed",
        sealed(&hello, &flipped(0)),
        &hello,
        "does not open",
    );
    case(
        "a ciphertext that was changed",
        sealed(&hello, &flipped(30)),
        &hello,
        "does not open",
    );
    case(
        "a tag that was changed",
        sealed(&hello, &flipped(usize::MAX)),
        &hello,
        "does not open",
    );
    case(
        "swapped sealed contents",
        sealed(&hello, &stored(&world)),
        &hello,
        "does not open",
    );
    case(
        "a sealed content cut short",
        sealed(&hello, &stored(&hello)[..39]),
        &hello,
        "does not open",
    );
    case(
        "another key",
        sealed(&world, &stored(&world)).with(|pack| pack.frames[0].1[0].0 = *hello.name().as_bytes()),
        &hello,
        "does not open",
    );
    case(
        "a sealed chunk as a list",
        sealed(&hello, &stored(&hello)).with(|pack| pack.byte_frames = 0),
        &hello,
        "does not open",
    );
    case(
        "another stack of layers",
        sealed(&hello, &stored(&hello)).with(|pack| pack.flags = SEALED),
        &hello,
        "does not open",
    );
    case(
        "a sealed frame that tells a length",
        sealed(&hello, &stored(&hello)).with(|pack| pack.frames[0].1[0].1 = 5),
        &hello,
        "of unknown length",
    );
    case(
        "two contents in a sealed frame",
        sealed(&hello, &stored(&hello)).with(|pack| pack.frames[0].1.push((*world.name().as_bytes(), 0))),
        &hello,
        "of unknown length",
    );
    let wrong_length = ContentRef {
        length: 6,
        ..hello.clone()
    };
    case(
        "a sealed content of another length",
        sealed(&hello, &stored(&hello)),
        &wrong_length,
        "not what its name says",
    );
    let plain_pack = Pack::new(PLAIN, &[(b"hello", &[b"hello"])]);
    case(
        "not sealed though it should be, but what was asked for",
        plain_pack.with(|pack| pack.frames[0].1[0].0 = *hello.name().as_bytes()),
        &hello,
        "",
    );
}

#[test]
fn every_hostile_pack_is_refused_within_little_memory() {
    let cases = cases();
    assert!(cases.len() > 60, "{}", cases.len());
    let directory = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let backend = Directory::open(&directory.path().join(number.to_string())).unwrap();
        // A server that lies names its packs as it likes, but a backend keeps none whose name is wrong.
        let id = PackId::from_bytes(digest(&case.pack));
        backend.put(&id, case.pack.len() as u64, &mut &case.pack[..]).unwrap();
        let before = NOW.load(Ordering::Relaxed);
        MOST.store(before, Ordering::Relaxed);
        let backend: Arc<dyn Backend> = Arc::new(backend);
        let read = PackStore::open(backend, [id]).and_then(|store| store.get(&case.content, io::sink()));
        let memory = MOST.load(Ordering::Relaxed) - before;
        if memory > 32 << 20 {
            wrong.push(format!("{}: {} MiB of memory", case.name, memory >> 20));
        }
        match read {
            Ok(()) if !case.reason.is_empty() => wrong.push(format!("{}: accepted", case.name)),
            Err(error) if case.reason.is_empty() => wrong.push(format!("{}: {error}", case.name)),
            Err(error) if !error.to_string().contains(case.reason) => wrong.push(format!("{}: {error}", case.name)),
            _ => {}
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

/// The largest index that there can be.
#[test]
fn a_pack_of_a_quarter_of_a_million_contents_is_read_within_little_memory() {
    let names = 0..1u32 << 18;
    let pack = Pack::new(PLAIN, &[]).with(|pack| {
        for some in names.collect::<Vec<_>>().chunks(1 << 16) {
            let contents = some.iter().map(|n| (digest(&n.to_le_bytes()), 4)).collect();
            let stored = some.iter().flat_map(|n| n.to_le_bytes()).collect();
            pack.frames.push((stored, contents));
        }
        pack.byte_frames = pack.frames.len() as u32;
    });
    let bytes = pack.bytes();
    let id = PackId::from_bytes(digest(&bytes));
    let directory = tempfile::tempdir().unwrap();
    let backend = Directory::open(directory.path()).unwrap();
    backend.put(&id, bytes.len() as u64, &mut &bytes[..]).unwrap();
    let before = NOW.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    let store = PackStore::open(Arc::new(backend), [id]).unwrap();
    let mut last = Vec::new();
    store.get(&plain(&262_143u32.to_le_bytes()), &mut last).unwrap();
    let memory = MOST.load(Ordering::Relaxed) - before;
    assert_eq!(last, 262_143u32.to_le_bytes());
    assert!(memory < 48 << 20, "{} MiB of memory", memory >> 20);
    let frames = store.packs()[0].frames().count();
    assert_eq!(frames, 4);
}

/// Whatever byte of a pack is changed, what comes out is what went in, or nothing.
#[test]
fn no_changed_byte_gives_another_content() {
    let (hello, world) = (&b"hello"[..], &b"world"[..]);
    let pack = Pack::new(COMPRESSED, &[(&zstd(b"helloworld"), &[hello, world])]).bytes();
    let directory = tempfile::tempdir().unwrap();
    let backend: Arc<dyn Backend> = Arc::new(Directory::open(directory.path()).unwrap());
    for place in 0..pack.len() {
        let mut changed = pack.clone();
        changed[place] ^= 0x10;
        let id = PackId::from_bytes(digest(&changed));
        backend.put(&id, changed.len() as u64, &mut &changed[..]).unwrap();
        let mut out = Vec::new();
        let read = PackStore::open(Arc::clone(&backend), [id]).and_then(|store| {
            let read = store.get(&plain(hello), &mut out);
            // What the index and the digests of contents do not cover is where the pack begins.
            assert!(store.verify(&id).is_err() || place >= 12, "byte {place}");
            read
        });
        assert!(read.is_err() || out == hello, "byte {place}");
        assert!(
            matches!(
                read,
                Ok(()) | Err(PackError::Damaged { .. } | PackError::NotFound { .. })
            ),
            "byte {place}"
        );
    }
}
