#![allow(clippy::unwrap_used)]

use std::{
    fs,
    io::Read,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use dhow_image::{BuildOptions, Compression, ImageId, ImageManifest, Labels, Limits, Name, build};
use serde_json::json;
use tempfile::TempDir;

mod hostile;
mod patch;
mod sealed;

use super::*;
use crate::{
    Standing, Store,
    pack::{
        Backend, Directory, Layers, PackError, PackId,
        conformance::{noise, text},
    },
};

/// A publisher's packs, and a user's store.
struct World {
    directory: TempDir,
    packs: Arc<dyn Backend>,
    store: Arc<Store>,
    known: Vec<DeltaPack>,
}

/// What a fetch by delta did.
struct Fetched {
    id: ImageId,
    bytes: u64,
    requests: usize,
    reused: Reused,
}

pub(super) fn archive(version: &str, files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let rootfs = TempDir::new().unwrap();
    for (path, content) in files {
        let path = rootfs.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let mut manifest = ImageManifest::new(Name::new("example.com/app").unwrap());
    let labels: Labels = serde_json::from_value(json!([{"name": "version", "value": version}])).unwrap();
    manifest.labels = labels;
    let options = BuildOptions {
        compression: Compression::None,
        source_date_epoch: Some(0),
        ..BuildOptions::default()
    };
    let mut archive = Vec::new();
    build(&manifest, rootfs.path(), &options, &mut archive).unwrap();
    archive
}

impl World {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        Self {
            packs: Arc::new(Directory::open(&directory.path().join("packs")).unwrap()),
            store: Arc::new(Store::open(&directory.path().join("store")).unwrap()),
            known: Vec::new(),
            directory,
        }
    }

    fn publish(&mut self, archive: &[u8]) -> DeltaHead {
        let options = PackOptions {
            limits: Limits::default(),
            layers: Layers::plain().compressed(3),
            scratch: self.directory.path(),
        };
        let packed = pack_image(archive, &self.packs, &self.known, &options).unwrap();
        self.known.clone_from(&packed.packs);
        let head = DeltaHead {
            id: packed.id,
            tar_size: packed.tar_size,
            archive_sha512: [7; 64],
            archive_size: archive.len() as u64,
            recipe: HeadRecipe::Plain(packed.recipe),
            up: 2,
            packs: packed.packs,
            patch: None,
        };
        assert_eq!(DeltaHead::parse(&head.to_bytes()).unwrap(), head);
        head
    }

    fn fetch(&self, head: &DeltaHead) -> Result<Fetched, DeltaError> {
        self.follow(Delta::new(self.store.clone(), head.clone(), &name())?)
    }

    fn follow(&self, mut delta: Delta) -> Result<Fetched, DeltaError> {
        let (mut bytes, mut requests) = (0, 0);
        loop {
            match delta.step()? {
                Step::Need(need) => {
                    for (pack, range) in need.ranges {
                        requests += 1;
                        bytes += range.end - range.start;
                        let content = self.packs.read(&pack, range.clone()).unwrap().unwrap();
                        delta.sparse().write(&pack, range.start, &content).unwrap();
                        delta.sparse().came(&pack, range).unwrap();
                    }
                }
                Step::Ready(rebuild) => {
                    let staged = self.store.stage(rebuild)?;
                    if *staged.id() != delta.head().id {
                        return Err(delta.wrong_image(&staged));
                    }
                    let id = staged.commit(&json!({}), Standing::Verified)?;
                    return Ok(Fetched {
                        id,
                        bytes,
                        requests,
                        reused: delta.reused(),
                    });
                }
            }
        }
    }

    fn export(&self, id: &ImageId) -> Vec<u8> {
        let mut tar = Vec::new();
        self.store.export(id).unwrap().read_to_end(&mut tar).unwrap();
        tar
    }

    fn left(&self) -> usize {
        fs::read_dir(self.store.tmp_dir() as std::path::PathBuf)
            .unwrap()
            .count()
    }
}

fn name() -> Name {
    Name::new("example.com/app").unwrap()
}

fn files() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("bin/large", noise(1, 8 << 20)),
        ("bin/small", text(2, 3000)),
        ("bin/tiny", b"hello".to_vec()),
        ("share/text", text(3, 700_000)),
        ("share/again", text(3, 700_000)),
        ("empty", Vec::new()),
    ]
}

#[test]
fn an_image_comes_whole_where_nothing_is_held() {
    let mut world = World::new();
    let tar = archive("1", &files());
    let head = world.publish(&tar);
    let fetched = world.fetch(&head).unwrap();
    assert_eq!(fetched.id, head.id);
    assert_eq!(world.export(&head.id), tar);
    assert_eq!(world.left(), 0);
    assert_eq!((fetched.reused.files, fetched.reused.chunks), (0, 0));
    assert!(fetched.bytes <= head.packs[0].size, "{}", fetched.bytes);
}

#[test]
fn an_update_brings_what_changed_and_little_else() {
    let mut world = World::new();
    let old = world.publish(&archive("1", &files()));
    world.fetch(&old).unwrap();
    let mut changed = files();
    changed[0].1[4 << 20] ^= 1;
    changed.push(("bin/new", noise(9, 10_000)));
    let tar = archive("2", &changed);
    let new = world.publish(&tar);
    assert_eq!(new.packs.len(), 2);
    let fetched = world.fetch(&new).unwrap();
    assert_eq!(world.export(&fetched.id), tar);
    assert!(fetched.bytes < 200_000, "{}", fetched.bytes);
    assert!(fetched.requests <= 2, "{}", fetched.requests);
    assert!(fetched.reused.chunks > 7 << 20, "{:?}", fetched.reused);
    assert!(fetched.reused.files > 1_400_000, "{:?}", fetched.reused);

    // Whoever has nothing gets it from both packs.
    let other = World {
        known: Vec::new(),
        packs: world.packs.clone(),
        ..World::new()
    };
    other.fetch(&new).unwrap();
    assert_eq!(other.export(&new.id), tar);

    // What is here already costs its recipe alone.
    let again = world.fetch(&new).unwrap();
    assert_eq!(again.reused.packs, 0);
    // To publish it again makes no new pack.
    assert_eq!(world.publish(&tar).packs, new.packs);
}

/// A list that is in an older pack is not asked for where all that it lists is here.
#[test]
fn a_large_file_that_changed_in_one_place_needs_the_newest_pack_alone() {
    let mut world = World::new();
    let mut content = noise(4, 24 << 20);
    let old = world.publish(&archive("1", &[("data", content.clone())]));
    world.fetch(&old).unwrap();
    content[10 << 20] ^= 1;
    let tar = archive("2", &[("data", content)]);
    let new = world.publish(&tar);
    let fetched = world.fetch(&new).unwrap();
    assert_eq!(world.export(&fetched.id), tar);
    assert!(fetched.bytes < 200_000, "{}", fetched.bytes);
    assert_eq!(fetched.requests, 1);
}

#[test]
fn a_lost_object_and_another_base_are_no_matter() {
    let mut world = World::new();
    let old = world.publish(&archive("1", &files()));
    world.fetch(&old).unwrap();
    let objects = world.directory.path().join("store/objects");
    let mut largest = None;
    for folder in fs::read_dir(&objects).unwrap().flatten() {
        for file in fs::read_dir(folder.path()).unwrap().flatten() {
            let size = file.metadata().unwrap().len();
            largest = largest.max(Some((size, file.path())));
        }
    }
    fs::remove_file(largest.unwrap().1).unwrap();
    let mut changed = files();
    changed[0].1[4 << 20] ^= 1;
    let tar = archive("2", &changed);
    let new = world.publish(&tar);
    let fetched = world.fetch(&new).unwrap();
    assert_eq!(world.export(&fetched.id), tar);
    assert_eq!(fetched.reused.chunks, 0);
}

/// The head that `docs/src/formats` has as an example.
fn documented_head(recipe: HeadRecipe) -> DeltaHead {
    DeltaHead {
        id: ImageId::from_bytes([0x11; 64]),
        tar_size: 10240,
        archive_sha512: [0x22; 64],
        archive_size: 789,
        recipe,
        up: 3,
        packs: vec![DeltaPack {
            id: PackId::from_bytes([0x44; 32]),
            size: 300_000,
            end: 290_000,
            end_digest: [0x55; 32],
        }],
        patch: None,
    }
}

#[test]
fn heads_are_as_documented() {
    let records = crate::pack::ContentRef::plain(crate::ObjectId([0x33; 32]), 4183);
    let head = documented_head(HeadRecipe::Plain(records));
    let expected = [
        "64686f772064656c746120310a".to_owned(),
        "11".repeat(64),
        "0028000000000000".to_owned(),
        "22".repeat(64),
        "1503000000000000".to_owned(),
        "33".repeat(32),
        "5710000000000000".to_owned(),
        "0301".to_owned(),
        "44".repeat(32),
        "e093040000000000d06c040000000000".to_owned(),
        "55".repeat(32),
    ];
    assert_eq!(hex::encode(head.to_bytes()), expected.concat());
    assert_eq!(DeltaHead::parse(&head.to_bytes()).unwrap(), head);
}

/// Each a head bent at some place, and what is said of it.
#[test]
fn heads_that_are_none_are_refused() {
    let mut world = World::new();
    let good = world.publish(&archive("1", &[("a", noise(1, 5000))])).to_bytes();
    let at = |offset: usize, bytes: &[u8]| {
        let mut bent = good.clone();
        bent[offset..offset + bytes.len()].copy_from_slice(bytes);
        bent
    };
    let twice = {
        let mut bent = at(198, &[2]);
        bent.extend_from_slice(&good[199..]);
        bent
    };
    let huge = u64::MAX.to_le_bytes();
    let sum = {
        let mut bent = twice.clone();
        bent[199 + 80] ^= 1;
        for pack in [199, 279] {
            bent[pack + 32..pack + 40].copy_from_slice(&(u64::MAX / 2 + 1).to_le_bytes());
        }
        bent
    };
    for (what, bytes, problem) in [
        ("empty", Vec::new(), "cut short"),
        (
            "a web page",
            b"<html>not found</html>".to_vec(),
            "none of version 1, 2 or 3",
        ),
        ("another version", at(11, b"4"), "none of version 1, 2 or 3"),
        ("cut in its middle", good[..100].to_vec(), "cut short"),
        ("cut in a pack", good[..good.len() - 1].to_vec(), "cut short"),
        ("longer", [&good[..], b"x"].concat(), "goes on"),
        ("no packs", at(198, &[0])[..199].to_vec(), "impossible number"),
        ("more packs than there are", at(198, &[2]), "cut short"),
        ("too many packs", at(198, &[65]), "impossible number"),
        ("packs too far up", at(197, &[65]), "impossible number"),
        ("a recipe without an end", at(189, &huge), "impossible length"),
        ("an empty recipe", at(189, &[0; 8]), "impossible length"),
        ("an end after the pack", at(199 + 40, &huge), "begins after it"),
        ("an empty pack", at(199 + 32, &[0; 8]), "begins after it"),
        ("a pack twice", twice, "a pack twice"),
        ("packs whose sizes overflow", sum, "impossible size"),
    ] {
        let error = DeltaHead::parse(&bytes).unwrap_err().to_string();
        assert!(error.contains(problem), "{what}: {error}");
    }
}

/// A pack of 100 bytes, of which nothing has come.
fn sparse_pack(directory: &TempDir) -> (Arc<SparsePacks>, PackId) {
    let pack = DeltaPack {
        id: PackId::from_bytes([1; 32]),
        size: 100,
        end: 50,
        end_digest: [0; 32],
    };
    let sparse = SparsePacks::new(directory.path().to_owned(), &[pack]);
    (Arc::new(sparse), pack.id)
}

#[test]
fn ranges_that_came_are_joined() {
    let directory = TempDir::new().unwrap();
    let (sparse, pack) = sparse_pack(&directory);
    for range in [50..100, 10..20, 30..40, 15..30] {
        sparse
            .write(
                &pack,
                range.start,
                &vec![range.start as u8; (range.end - range.start) as usize],
            )
            .unwrap();
        sparse.came(&pack, range).unwrap();
    }
    for (range, is_here) in [
        (10..40, true),
        (9..11, false),
        (40..50, false),
        (39..41, false),
        (50..100, true),
    ] {
        assert_eq!(sparse.read(&pack, range.clone()).is_ok(), is_here, "{range:?}");
    }
    assert!(sparse.write(&pack, 99, b"xx").is_err());
    assert!(sparse.write(&pack, u64::MAX, b"xx").is_err());
    assert!(Path::new(sparse.location()).is_dir());
}

#[test]
fn what_is_coming_is_waited_for_and_what_does_not_come_is_an_error() {
    let directory = TempDir::new().unwrap();
    let (sparse, pack) = sparse_pack(&directory);
    let coming = sparse.coming();
    let (asked, asks) = std::sync::mpsc::channel();
    let reader = {
        let sparse = sparse.clone();
        std::thread::spawn(move || {
            [10..30, 40..50].map(|range| {
                asked.send(()).unwrap();
                sparse.read(&pack, range).map_err(|error| error.kind())
            })
        })
    };
    asks.recv().unwrap();
    for range in [0..20, 20..41] {
        let bytes = vec![7; (range.end - range.start) as usize];
        sparse.write(&pack, range.start, &bytes).unwrap();
        sparse.came(&pack, range).unwrap();
    }
    asks.recv().unwrap();
    assert!(!reader.is_finished());
    drop(coming);
    let read = reader.join().unwrap();
    assert_eq!(read, [Ok(Some(vec![7; 20])), Err(std::io::ErrorKind::UnexpectedEof)]);
}

/// Brings an image while it is put together: as many ranges of its contents as `brought` says, each piece as `bend` makes
/// it.
fn fetch_early(
    world: &World,
    head: &DeltaHead,
    brought: impl Fn(usize) -> usize,
    bend: impl Fn(&PackId, u64, &mut Vec<u8>),
) -> Result<ImageId, DeltaError> {
    let mut delta = Delta::new(world.store.clone(), head.clone(), &name()).unwrap();
    let sparse = delta.sparse().clone();
    let bring = |(pack, range): &(PackId, std::ops::Range<u64>)| {
        for start in range.clone().step_by(1000) {
            let piece = start..range.end.min(start + 1000);
            let mut content = world.packs.read(pack, piece.clone()).unwrap().unwrap();
            bend(pack, start, &mut content);
            sparse.write(pack, start, &content).unwrap();
            sparse.came(pack, piece).unwrap();
        }
    };
    assert!(delta.early().unwrap().is_none(), "nothing is known yet");
    let need = loop {
        match delta.step().unwrap() {
            Step::Need(need) if need.source == Source::Contents => break need,
            Step::Need(need) => need.ranges.iter().for_each(bring),
            Step::Ready(_) => panic!("nothing was asked for"),
        }
    };
    let (coming, rebuild) = (sparse.coming(), delta.early().unwrap().unwrap());
    std::thread::scope(|scope| {
        let staging = scope.spawn(|| {
            let staged = world.store.stage(rebuild)?;
            match *staged.id() == head.id {
                true => Ok(head.id),
                false => Err(delta.wrong_image(&staged)),
            }
        });
        let brought = brought(need.ranges.len());
        need.ranges[..brought].iter().for_each(bring);
        drop(coming);
        staging.join().unwrap()
    })
}

#[test]
fn an_image_is_put_together_while_it_comes() {
    let mut world = World::new();
    let head = world.publish(&archive("1", &files()));
    assert_eq!(fetch_early(&world, &head, |all| all, |_, _, _| ()).unwrap(), head.id);
    let error = fetch_early(&world, &head, |all| all - 1, |_, _, _| ()).unwrap_err();
    let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
    let told: Vec<_> = causes.map(ToString::to_string).collect();
    assert!(told.join(": ").contains("has not come"), "{told:?}");
    assert_eq!(world.left(), 0);
}

/// What was damaged in a frame that nobody has kept is found in what came of it.
#[test]
fn a_pack_that_lies_is_named_though_it_was_not_kept() {
    let mut world = World::new();
    // Noise is stored as it is, so each byte of a frame is one of a file.
    let old = world.publish(&archive("1", &[("large", noise(1, 2 << 20))]));
    let files = [
        ("large", noise(1, 2 << 20)),
        ("new", noise(2, 60_000)),
        ("other", noise(3, 300_000)),
    ];
    let head = world.publish(&archive("2", &files));
    for (liar, at) in [
        (old.packs[0], 1_000_000),
        (head.packs[1], 30_000),
        (head.packs[1], 200_000),
    ] {
        let bend = |pack: &PackId, start: u64, bytes: &mut Vec<u8>| {
            if *pack == liar.id && (start..start + bytes.len() as u64).contains(&at) {
                bytes[(at - start) as usize] ^= 1;
            }
        };
        match fetch_early(&world, &head, |all| all, bend).unwrap_err() {
            DeltaError::Pack(PackError::Damaged { pack, problem }) => {
                assert_eq!((pack, problem), (liar.id, "a content is not what its name says"));
            }
            error => panic!("{error}"),
        }
    }
    assert_eq!(world.left(), 0);
}

/// Whether it was woken.
struct Bell(AtomicBool);

impl std::task::Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn what_is_read_once_waits_in_memory_for_as_long_as_there_is_room() {
    const FRAME: u64 = 1 << 19;
    let directory = TempDir::new().unwrap();
    let id = PackId::from_bytes([1; 32]);
    let pack = DeltaPack {
        id,
        size: 8 * FRAME,
        end: 8 * FRAME,
        end_digest: [0; 32],
    };
    let sparse = Arc::new(SparsePacks::new(directory.path().to_owned(), &[pack]));
    let frame = |number: u64| number * FRAME..(number + 1) * FRAME;
    sparse.expect((0..7).map(|number| (&id, frame(number))));
    let write = |number: u64| {
        sparse
            .write(&id, number * FRAME, &vec![number as u8; FRAME as usize])
            .unwrap();
        sparse.came(&id, frame(number)).unwrap();
    };
    let read = |number: u64| sparse.read(&id, frame(number)).map(|bytes| bytes.unwrap()[500]);
    let bell = Arc::new(Bell(AtomicBool::new(false)));
    let has_room = || {
        let waker = bell.clone().into();
        sparse.poll_room(&mut std::task::Context::from_waker(&waker)).is_ready()
    };
    let in_files = || fs::read_dir(directory.path()).unwrap().count();

    let coming = sparse.coming();
    for number in 0..4 {
        assert!(has_room());
        write(number);
    }
    assert!(!has_room());
    assert_eq!(in_files(), 0);
    write(4);
    assert_eq!(in_files(), 1);
    assert_eq!((read(0).unwrap(), read(1).unwrap(), read(4).unwrap()), (0, 1, 4));
    assert!(bell.0.swap(false, Ordering::SeqCst), "half of it is free");
    assert!(has_room());
    read(0).unwrap_err();
    assert_eq!(read(4).unwrap(), 4, "what is in the file stays");

    write(5);
    write(6);
    assert!(!has_room());
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| read(7));
        // Whoever waits has to be served, if by way of the file.
        while !has_room() {
            std::thread::yield_now();
        }
        write(7);
        assert_eq!(reader.join().unwrap().unwrap(), 7);
    });
    assert!(bell.0.swap(false, Ordering::SeqCst));
    assert!(!has_room());
    drop(coming);
    assert!(has_room() && bell.0.load(Ordering::SeqCst));
    assert_eq!(
        (read(2).unwrap(), read(3).unwrap(), read(5).unwrap(), read(6).unwrap()),
        (2, 3, 5, 6)
    );
}
