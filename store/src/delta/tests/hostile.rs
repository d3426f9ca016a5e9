//! Recipes and packs that lie, though they may be signed: each is refused with a reason, and leaves nothing.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use super::*;
use crate::{
    ObjectId,
    pack::PackStore,
    recipe::{RecipeReader, Record, records_of},
};

/// What a liar signs and serves.
#[derive(Clone)]
struct Lie {
    head: DeltaHead,
    packs: HashMap<PackId, Vec<u8>>,
}

impl Lie {
    /// An honest image of a few files, whose records `bend` changes before they are packed.
    fn with_records(bend: impl FnOnce(&mut Vec<Record>) -> Option<Vec<u8>>) -> Self {
        let mut world = World::new();
        let tar = archive(
            "1",
            &[("a", noise(1, 5000)), ("b", noise(2, 5000)), ("c", noise(3, 300_000))],
        );
        let mut head = world.publish(&tar);
        world.fetch(&head).unwrap();
        let recipe = || world.store.image_dir(&head.id).unwrap().recipe().unwrap();
        let mut reader = RecipeReader::new(recipe()).unwrap();
        let mut records = Vec::new();
        while let Some(record) = reader.next().unwrap() {
            records.push(record);
        }
        let before = records.clone();
        let bytes = match bend(&mut records) {
            Some(bytes) => bytes,
            None if records == before => {
                let mut bytes = Vec::new();
                records_of(recipe()).unwrap().read_to_end(&mut bytes).unwrap();
                bytes
            }
            None => encode(&records),
        };
        let known = PackStore::open(world.packs.clone(), head.packs.iter().map(|pack| pack.id)).unwrap();
        let mut writer = known.writer(Layers::plain().compressed(3), world.directory.path());
        head.recipe = HeadRecipe::Plain(writer.put(bytes.as_slice()).unwrap());
        let (new, _) = writer.finish().unwrap();
        let mut packs = HashMap::new();
        for id in head
            .packs
            .iter()
            .map(|pack| pack.id)
            .chain(new.iter().copied())
            .collect::<Vec<_>>()
        {
            let size = world.packs.size(&id).unwrap().unwrap();
            packs.insert(id, world.packs.read(&id, 0..size).unwrap().unwrap());
        }
        head.packs.extend(new.iter().map(|id| of(*id, &packs[id])));
        Self { head, packs }
    }

    fn honest() -> Self {
        Self::with_records(|_| None)
    }

    /// Changes the oldest pack, which has all contents. The liar signs what came of it.
    fn with_pack(bend: impl FnOnce(&mut Vec<u8>, &mut DeltaPack)) -> Self {
        let mut lie = Self::honest();
        let pack = &mut lie.head.packs[0];
        let bytes = lie.packs.get_mut(&pack.id).unwrap();
        *pack = DeltaPack { end: 0, ..*pack };
        bend(bytes, pack);
        pack.size = bytes.len() as u64;
        pack.end_digest = Sha256::digest(&bytes[pack.end as usize..]).into();
        lie
    }

    fn with_head(bend: impl FnOnce(&mut DeltaHead)) -> Self {
        let mut lie = Self::honest();
        bend(&mut lie.head);
        lie
    }

    /// What becomes of it: the image, or what is said.
    fn try_it(&self) -> Result<ImageId, String> {
        let world = World::new();
        let told = |error: &dyn std::error::Error| {
            let causes = std::iter::successors(Some(error), |error| error.source());
            causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
        };
        let result = (|| {
            let name = Name::new("example.com/app").unwrap();
            let mut delta = Delta::new(world.store.clone(), self.head.clone(), &name).map_err(|error| told(&error))?;
            for _ in 0..100 {
                match delta.step().map_err(|error| told(&error))? {
                    Step::Need(need) => {
                        for (pack, range) in need.ranges {
                            let bytes = self.packs[&pack].get(range.start as usize..range.end as usize);
                            let bytes = bytes.ok_or("a server has no such range")?;
                            delta.sparse().write(&pack, range.start, bytes).unwrap();
                            delta.sparse().came(&pack, range).unwrap();
                        }
                    }
                    Step::Ready(rebuild) => {
                        let staged = world.store.stage(rebuild).map_err(|error| told(&error))?;
                        return match *staged.id() == self.head.id {
                            true => Ok(*staged.id()),
                            false => Err(told(&delta.wrong_image(&staged))),
                        };
                    }
                }
            }
            Err("it asks for ever".to_owned())
        })();
        assert_eq!(world.store.images().unwrap().len(), 0);
        assert_eq!(world.left(), 0, "{result:?}");
        result
    }
}

/// Where the head says that the records are.
fn records(head: &mut DeltaHead) -> &mut crate::pack::ContentRef {
    match &mut head.recipe {
        HeadRecipe::Plain(records) => records,
        HeadRecipe::Sealed(_) => panic!("it is not sealed"),
    }
}

fn of(id: PackId, bytes: &[u8]) -> DeltaPack {
    DeltaPack {
        id,
        size: bytes.len() as u64,
        end: 0,
        end_digest: Sha256::digest(bytes).into(),
    }
}

/// Records as they travel.
fn encode(records: &[Record]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for record in records {
        match record {
            Record::Framing(framing) => {
                bytes.push(1);
                bytes.extend_from_slice(&(framing.len() as u32).to_le_bytes());
                bytes.extend_from_slice(framing);
            }
            Record::Object(id, size) => {
                bytes.push(2);
                bytes.extend_from_slice(id.as_bytes());
                bytes.extend_from_slice(&size.to_le_bytes());
            }
        }
    }
    bytes
}

/// Where the objects are among the records.
fn objects(records: &[Record]) -> Vec<usize> {
    let is_object = |place: &usize| matches!(records[*place], Record::Object(..));
    (0..records.len()).filter(is_object).collect()
}

fn raw(bytes: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Lie {
    Lie::with_records(|records| Some(bytes(encode(records))))
}

/// Changes the digest of a pack's index as well, as a liar would.
fn put_right(bytes: &mut [u8], index: usize) {
    let tail = bytes.len() - 64;
    let digest = Sha256::new()
        .chain_update(&bytes[tail..tail + 16])
        .chain_update(&bytes[index..tail])
        .finalize();
    bytes[tail + 16..tail + 48].copy_from_slice(&digest);
}

/// Where the index of a pack begins.
pub(super) fn index_of(bytes: &[u8]) -> usize {
    let tail = bytes.len() - 64;
    let number = |at: usize| u32::from_le_bytes(bytes[tail + at..tail + at + 4].try_into().unwrap()) as usize;
    tail - number(4) * 8 - number(12) * 36
}

/// Notes a lie that is believed, or of which something else is said.
fn check(what: &str, lie: &Lie, problem: &str, wrong: &mut Vec<String>) {
    match lie.try_it() {
        Err(error) if error.contains(problem) => {}
        result => wrong.push(format!("{what}: {result:?}")),
    }
}

#[test]
fn what_is_not_bent_is_taken() {
    let lie = Lie::honest();
    assert_eq!(lie.try_it(), Ok(lie.head.id));
}

#[test]
fn recipes_that_lie_are_refused() {
    let mut wrong = Vec::new();
    let swap = |records: &mut Vec<Record>| {
        let places = objects(records);
        records.swap(places[0], places[1]);
        None
    };
    let resize = |records: &mut Vec<Record>, change: fn(u64) -> u64| {
        let place = objects(records)[0];
        if let Record::Object(_, size) = &mut records[place] {
            *size = change(*size);
        }
        None
    };
    for (what, lie, problem) in [
        ("swapped objects", Lie::with_records(swap), "and rebuilds"),
        (
            "an object longer than its file",
            Lie::with_records(|r| resize(r, |size| size + 1)),
            "not as long as its file",
        ),
        (
            "an object shorter than its file",
            Lie::with_records(|r| resize(r, |size| size - 1)),
            "not as long as its file",
        ),
        (
            "an object without an end",
            Lie::with_records(|r| resize(r, |_| u64::MAX)),
            "more bytes than it says",
        ),
        (
            "an empty object",
            Lie::with_records(|r| resize(r, |_| 0)),
            "an empty record",
        ),
        (
            "an object that nobody has",
            Lie::with_records(|records| {
                let place = objects(records)[0];
                records[place] = Record::Object(ObjectId([9; 32]), 5000);
                None
            }),
            "no pack in",
        ),
        (
            "an object first",
            Lie::with_records(|records| {
                records.insert(0, Record::Object(ObjectId([9; 32]), 5000));
                None
            }),
            "where no content begins",
        ),
        (
            "a header that was changed",
            Lie::with_records(|records| {
                if let Record::Framing(bytes) = &mut records[0] {
                    bytes[100] ^= 1;
                }
                None
            }),
            "",
        ),
        (
            "no tar at all",
            Lie::with_records(|records| {
                if let Record::Framing(bytes) = &mut records[0] {
                    bytes.fill(b'x');
                }
                None
            }),
            "",
        ),
        ("cut short", raw(|bytes| bytes[..bytes.len() - 1].to_vec()), "truncated"),
        (
            "longer than the tar",
            raw(|bytes| [&bytes[..], &[1, 1, 0, 0, 0, 0]].concat()),
            "more bytes than it says",
        ),
        (
            "framing without an end",
            raw(|bytes| [&bytes[..], &[1, 255, 255, 255, 255]].concat()),
            "too long",
        ),
        (
            "an unknown record",
            raw(|bytes| [&[3][..], &bytes[..]].concat()),
            "unknown kind",
        ),
        (
            "notes without an end",
            raw(|bytes| [&[0x90, 255, 255, 255, 255][..], &bytes[..]].concat()),
            "notes are longer",
        ),
        (
            "nothing but framing of zeros",
            raw(|_| [&[1, 0, 2, 0, 0][..], &[0; 512][..]].concat()),
            "",
        ),
    ] {
        check(what, &lie, problem, &mut wrong);
    }
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn heads_that_are_signed_and_lie_are_refused() {
    let mut wrong = Vec::new();
    for (what, lie, problem) in [
        (
            "another image ID",
            Lie::with_head(|head| head.id = ImageId::from_bytes([1; 64])),
            "and rebuilds",
        ),
        (
            "a smaller tar",
            Lie::with_head(|head| head.tar_size -= 512),
            "more bytes than it says",
        ),
        (
            "a larger tar",
            Lie::with_head(|head| head.tar_size += 512),
            "fewer bytes than it says",
        ),
        (
            "a tar beyond all limits",
            Lie::with_head(|head| head.tar_size = u64::MAX),
            "which is the most",
        ),
        (
            "a longer recipe",
            Lie::with_head(|head| records(head).length += 1),
            "not what its name says",
        ),
        (
            "a recipe that is none",
            Lie::with_head(|head| records(head).digest = ObjectId([5; 32])),
            "no pack in",
        ),
        (
            "a content for a recipe",
            Lie::with_head(|head| {
                *records(head) = crate::pack::ContentRef::plain(ObjectId(Sha256::digest(noise(1, 5000)).into()), 5000);
            }),
            "what the recipe describes",
        ),
        (
            "a pack that is missing",
            Lie::with_head(|head| {
                head.packs.remove(0);
            }),
            "no pack in",
        ),
        (
            "an end of another pack",
            Lie::with_head(|head| head.packs[0].end_digest = [0; 32]),
            "not what the recipe",
        ),
        (
            "a pack longer than it is",
            Lie::with_head(|head| head.packs[0].size += 1),
            "no such range",
        ),
        (
            "an end without the index",
            { Lie::with_pack(|bytes, pack| pack.end = bytes.len() as u64 - 70) },
            "shorter than its index",
        ),
        (
            "an end without the tail",
            { Lie::with_pack(|bytes, pack| pack.end = bytes.len() as u64 - 1) },
            "has not come",
        ),
    ] {
        check(what, &lie, problem, &mut wrong);
    }
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn packs_that_lie_are_refused() {
    let mut wrong = Vec::new();
    for (what, lie, problem) in [
        ("a changed frame", Lie::with_pack(|bytes, _| bytes[200] ^= 1), ""),
        (
            "contents in another order",
            Lie::with_pack(|bytes, _| {
                let (index, tail) = (index_of(bytes), bytes.len() - 64);
                let frames = u32::from_le_bytes(bytes[tail + 4..tail + 8].try_into().unwrap()) as usize;
                let first = index + frames * 8;
                let (one, other) = bytes[first..].split_at_mut(36);
                one[..32].swap_with_slice(&mut other[..32]);
                put_right(bytes, index);
            }),
            "not what its name says",
        ),
        (
            "a frame longer than the pack",
            Lie::with_pack(|bytes, _| {
                let index = index_of(bytes);
                bytes[index] ^= 1;
                put_right(bytes, index);
            }),
            "not as long as the pack",
        ),
        (
            "an index that is not the tail's",
            Lie::with_pack(|bytes, _| {
                let index = index_of(bytes);
                bytes[index + 20] ^= 1;
            }),
            "not what its tail says",
        ),
        (
            "contents without an end",
            Lie::with_pack(|bytes, _| {
                let tail = bytes.len() - 64;
                bytes[tail + 12..tail + 16].fill(255);
            }),
            "impossible number",
        ),
        (
            "layers of another kind",
            Lie::with_pack(|bytes, _| {
                let tail = bytes.len() - 64;
                bytes[tail] = 4;
            }),
            "unknown kind",
        ),
        (
            "a sealed pack",
            Lie::with_pack(|bytes, _| {
                let (index, tail) = (index_of(bytes), bytes.len() - 64);
                bytes[tail] = 3;
                put_right(bytes, index);
            }),
            "",
        ),
        (
            "no pack",
            Lie::with_pack(|bytes, _| bytes.fill(0)),
            "no pack of version 1",
        ),
        (
            "a content of more bytes than its frame",
            Lie::with_pack(|bytes, _| {
                let (index, tail) = (index_of(bytes), bytes.len() - 64);
                let frames = u32::from_le_bytes(bytes[tail + 4..tail + 8].try_into().unwrap()) as usize;
                bytes[index + frames * 8 + 34] = 15;
                put_right(bytes, index);
            }),
            "",
        ),
    ] {
        check(what, &lie, problem, &mut wrong);
    }
    assert_eq!(wrong, [""; 0]);
}
