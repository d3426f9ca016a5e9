//! Patches: what they bring and cost, and what is said of those that lie.

use sha2::{Digest, Sha256};

use super::*;

/// Writes bytes into a file without a name.
fn file(bytes: &[u8]) -> fs::File {
    let mut file = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut file, bytes).unwrap();
    file
}

/// Two versions: the first is in the user's store, the second has a patch.
pub(super) struct Pair {
    world: World,
    old: DeltaHead,
    new: DeltaHead,
    tar: Vec<u8>,
    patch: Vec<u8>,
}

impl Pair {
    fn new(old: &[(&str, Vec<u8>)], new: &[(&str, Vec<u8>)]) -> Self {
        let mut world = World::new();
        let (first, tar) = (archive("1", old), archive("2", new));
        let (old, mut new) = (world.publish(&first), world.publish(&tar));
        world.fetch(&old).unwrap();
        let publisher = Store::open(&world.directory.path().join("publisher")).unwrap();
        for archive in [&first, &tar] {
            let staged = publisher.stage(archive.as_slice()).unwrap();
            staged.commit(&json!({}), Standing::Verified).unwrap();
        }
        let mut patch = Vec::new();
        write_patch(&publisher, &old.id, &new.id, 19, world.directory.path(), &mut patch).unwrap();
        new.patch = Some(of(&old.id, &patch));
        Self {
            world,
            old,
            new,
            tar,
            patch,
        }
    }

    /// A pair that is soon made, of records and some contents.
    fn small() -> Self {
        let old = vec![("a", noise(1, 5000)), ("b", text(2, 9000))];
        let mut new = old.clone();
        new[1].1[100] ^= 1;
        new.push(("c", noise(3, 5000)));
        Self::new(&old, &new)
    }

    /// What is said of a patch that whoever signs has signed.
    fn lie(&self, patch: &[u8]) -> String {
        let mut head = self.new.clone();
        head.patch = Some(of(&self.old.id, patch));
        let mut delta = self.delta(head);
        let said = match delta.apply(file(patch)) {
            Ok(()) => "it was believed".to_owned(),
            Err(error) => error.to_string(),
        };
        // Packs still bring everything.
        assert!(delta.patch().is_some() || said == "it was believed");
        said
    }

    fn delta(&self, head: DeltaHead) -> Delta {
        Delta::new(self.world.store.clone(), head, &Name::new("example.com/app").unwrap()).unwrap()
    }
}

fn of(base: &ImageId, patch: &[u8]) -> DeltaPatch {
    DeltaPatch {
        base: *base,
        size: patch.len() as u64,
        digest: Sha256::digest(patch).into(),
    }
}

fn take(pair: &Pair) -> Reused {
    let mut delta = pair.delta(pair.new.clone());
    assert_eq!(delta.patch().unwrap().base, pair.old.id);
    delta.apply(file(&pair.patch)).unwrap();
    let Step::Ready(rebuild) = delta.step().unwrap() else {
        panic!("something is missing")
    };
    let staged = pair.world.store.stage(rebuild).unwrap();
    let id = staged.commit(&json!({}), Standing::Verified).unwrap();
    assert_eq!(id, pair.new.id);
    assert_eq!(pair.world.export(&id), pair.tar);
    delta.reused()
}

#[test]
fn a_patch_brings_what_the_image_before_has_not() {
    let old = files();
    let mut new = files();
    new[0].1[4 << 20] ^= 1;
    new[1].1.extend_from_slice(b"and more");
    new.push(("bin/new", noise(9, 10_000)));
    new.push(("bin/twice", noise(9, 10_000)));
    let pair = Pair::new(&old, &new);
    let reused = take(&pair);
    assert!(pair.patch.len() < 16_000, "{}", pair.patch.len());
    assert_eq!(reused.packs, 0);
    assert_eq!(reused.patch, (8 << 20) + 3008 + 20_000);
    assert_eq!(pair.world.left(), 0);
}

#[test]
fn a_changed_byte_of_a_large_file_costs_little() {
    let old = noise(4, 10 << 20);
    let mut new = old.clone();
    new[5 << 20] ^= 1;
    let moved = [&noise(5, 1 << 20)[..], &old].concat();
    let changed = Pair::new(&[("data", old.clone())], &[("data", new)]);
    take(&changed);
    assert!(changed.patch.len() < 8000, "{}", changed.patch.len());
    let moved = Pair::new(&[("data", old)], &[("data", moved)]);
    take(&moved);
    assert!(moved.patch.len() < (1 << 20) + 16_000, "{}", moved.patch.len());
}

#[test]
fn what_the_store_has_lost_of_the_image_before_comes_from_packs() {
    let pair = Pair::small();
    let objects = pair.world.directory.path().join("store/objects");
    for folder in fs::read_dir(&objects).unwrap() {
        fs::remove_dir_all(folder.unwrap().path()).unwrap();
    }
    let mut delta = pair.delta(pair.new.clone());
    let error = delta.apply(file(&pair.patch)).unwrap_err().to_string();
    assert!(error.contains("cannot be read"), "{error}");
    assert_eq!(pair.world.fetch(&pair.new).unwrap().id, pair.new.id);
}

#[test]
fn without_its_base_there_is_no_patch() {
    let pair = Pair::small();
    let other = World::new();
    let delta = Delta::new(
        other.store.clone(),
        pair.new.clone(),
        &Name::new("example.com/app").unwrap(),
    );
    assert!(delta.unwrap().patch().is_none());
}

#[test]
fn heads_with_patches_are_as_documented() {
    let pair = Pair::small();
    let bytes = pair.new.to_bytes();
    let mut plain = pair.new.clone();
    plain.patch = None;
    let plain = plain.to_bytes();
    assert_eq!(bytes[..13], *b"dhow delta 2\n");
    assert_eq!(bytes[13..plain.len()], plain[13..]);
    let size = (pair.patch.len() as u64).to_le_bytes();
    let digest = Sha256::digest(&pair.patch);
    let expected = [pair.old.id.as_bytes(), &size[..], &digest[..]].concat();
    assert_eq!(bytes[plain.len()..], expected);
    assert_eq!(DeltaHead::parse(&bytes).unwrap(), pair.new);

    let at = plain.len();
    let bent = |offset: usize, with: &[u8]| {
        let mut bent = bytes.clone();
        bent[at + offset..at + offset + with.len()].copy_from_slice(with);
        bent
    };
    for (what, bytes, problem) in [
        ("cut short", bytes[..bytes.len() - 1].to_vec(), "cut short"),
        ("longer", [&bytes[..], b"x"].concat(), "goes on"),
        ("an empty patch", bent(64, &[0; 8]), "impossible patch"),
        ("longer than the archive", bent(64, &[255; 8]), "impossible patch"),
        ("from itself", bent(0, pair.new.id.as_bytes()), "impossible patch"),
    ] {
        let error = DeltaHead::parse(&bytes).unwrap_err().to_string();
        assert!(error.contains(problem), "{what}: {error}");
    }
}

/// The example in the book.
#[test]
fn patches_are_as_documented() {
    let old = archive("1", &[("lines", b"dhow\n".repeat(300))]);
    let new = archive("2", &[("lines", b"dhow!\n".repeat(300))]);
    let directory = TempDir::new().unwrap();
    let store = Store::open(&directory.path().join("store")).unwrap();
    let mut ids = Vec::new();
    for archive in [&old, &new] {
        let staged = store.stage(archive.as_slice()).unwrap();
        ids.push(staged.commit(&json!({}), Standing::Verified).unwrap());
    }
    let mut patch = Vec::new();
    write_patch(&store, &ids[0], &ids[1], 19, directory.path(), &mut patch).unwrap();
    let book = include_str!("../../../../docs/src/formats/patch.md");
    let dump = book.split("in hexadecimal:\n\n```text\n").nth(1).unwrap();
    let expected = dump.split("```").next().unwrap().replace('\n', "");
    assert_eq!(hex::encode(&patch), expected);
    assert_eq!(
        (patch[..13].to_vec(), &patch[13..77]),
        (b"dhow patch 1\n".to_vec(), &ids[0].as_bytes()[..])
    );
}

/// Where the first frame begins, and where what is compressed in it.
const FRAME: usize = 13 + 64 + 64;
const RANGE: usize = FRAME + 12;

#[test]
fn patches_that_lie_are_refused() {
    let pair = Pair::small();
    let good = &pair.patch;
    let number = |at: usize| u32::from_le_bytes(good[at..at + 4].try_into().unwrap());
    let (stored, ranges) = (number(FRAME + 4) as usize, number(FRAME + 8) as usize);
    let compressed = RANGE + 16 * ranges;
    assert_eq!(compressed + stored, good.len(), "the pair has one frame");
    let at = |offset: usize, with: &[u8]| {
        let mut bent = good.clone();
        bent[offset..offset + with.len()].copy_from_slice(with);
        bent
    };
    // The frame with other bytes that are compressed, and another length of what they give.
    let frame = |length: u32, bytes: &[u8]| {
        let mut bent = good[..compressed].to_vec();
        bent[FRAME..FRAME + 4].copy_from_slice(&length.to_le_bytes());
        bent[FRAME + 4..FRAME + 8].copy_from_slice(&u32::try_from(bytes.len()).unwrap().to_le_bytes());
        bent.extend_from_slice(bytes);
        bent
    };
    let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 3).unwrap();
    let window = {
        let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
        encoder.window_log(27).unwrap();
        std::io::Write::write_all(&mut encoder, &[1; 9000]).unwrap();
        encoder.finish().unwrap()
    };
    let one = zstd::bulk::compress(&[0], 3).unwrap();
    let many = {
        let mut bent = good[..FRAME].to_vec();
        for number in [1u32, 1, 4096] {
            bent.extend_from_slice(&number.to_le_bytes());
        }
        for _ in 0..4096 {
            bent.extend_from_slice(&[&1u32.to_le_bytes()[..], &[0; 8], &5000u32.to_le_bytes()].concat());
        }
        bent
    };
    let huge = u32::MAX.to_le_bytes();
    let other = Pair::new(&[("a", noise(1, 5000))], &[("a", noise(2, 5000))]);
    let mut wrong = Vec::new();
    for (what, patch, problem) in [
        ("empty", Vec::new(), "cut short"),
        ("a web page", b"<html>not found</html>".to_vec(), "none of version 1"),
        ("another version", at(11, b"2"), "none of version 1"),
        (
            "from another image",
            at(20, &[good[20] ^ 1]),
            "starts from another image",
        ),
        ("another image's", other.patch, "starts from another image"),
        ("to another image", at(100, &[good[100] ^ 1]), "makes another image"),
        ("no frames", good[..FRAME].to_vec(), "cut short"),
        ("cut in a frame's head", good[..FRAME + 6].to_vec(), "cut short"),
        ("cut in a range", good[..RANGE + 6].to_vec(), "cut short"),
        ("cut in a frame", good[..good.len() - 1].to_vec(), "cut short"),
        ("longer by a byte", [&good[..], b"x"].concat(), "goes on"),
        ("a frame too many", [&good[..], &good[FRAME..]].concat(), "goes on"),
        ("a frame without bytes", at(FRAME, &[0; 4]), "impossible length"),
        ("a frame of 4 GiB", at(FRAME, &huge), "impossible length"),
        ("a frame that is nowhere", at(FRAME + 4, &[0; 4]), "impossible length"),
        ("a frame stored as 4 GiB", at(FRAME + 4, &huge), "impossible length"),
        ("ranges without an end", at(FRAME + 8, &huge), "impossible length"),
        ("a source that is none", at(RANGE, &huge), "not in the image"),
        (
            "a range after its source",
            at(RANGE + 4, &[0, 0, 0, 1, 0, 0, 0, 0]),
            "not in the image",
        ),
        ("a range that overflows", at(RANGE + 4, &[255; 8]), "not in the image"),
        (
            "a range longer than its source",
            at(RANGE + 12, &huge),
            "not in the image",
        ),
        ("prefixes out of proportion", many, "too long a prefix"),
        ("a bomb", frame(9000, &bomb), "does not decompress to its length"),
        (
            "a bomb that owns up",
            frame(4 << 20, &bomb),
            "does not decompress to its length",
        ),
        (
            "a window of 128 MiB",
            frame(9000, &window),
            "does not decompress to its length",
        ),
        (
            "two frames in one",
            frame(1, &[&one[..], &one].concat()),
            "does not decompress to its length",
        ),
        (
            "no frame of Zstandard's",
            frame(9000, &[7; 100]),
            "does not decompress to its length",
        ),
        (
            "a shorter frame",
            frame(9000, &one),
            "does not decompress to its length",
        ),
        ("a prefix from elsewhere", at(RANGE + 4, &[1]), "not in the image"),
        (
            "other bytes",
            frame(1 << 20, &zstd::bulk::compress(&vec![0; 1 << 20], 3).unwrap()),
            "not what its digest",
        ),
    ] {
        let said = pair.lie(&patch);
        if !said.contains(problem) {
            wrong.push(format!("{what}: {said}"));
        }
    }
    for place in (compressed..good.len()).step_by(97) {
        let said = pair.lie(&at(place, &[good[place] ^ 1]));
        if said == "it was believed" {
            wrong.push(format!("changed at {place}"));
        }
    }
    assert_eq!(wrong, [""; 0]);

    // Nobody signed it.
    let mut delta = pair.delta(pair.new.clone());
    let error = delta.apply(file(&at(good.len() - 1, &[0]))).unwrap_err().to_string();
    assert!(error.contains("not what the recipe says"), "{error}");
    assert_eq!(pair.lie(good), "it was believed");
}
