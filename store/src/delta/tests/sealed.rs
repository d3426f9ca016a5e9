//! Images in sealed packs: what comes, for whom, and what is refused.

use sha2::{Digest, Sha256};

use super::*;
use crate::{
    ObjectId,
    pack::{ContentKey, PackStore, Secret, WHOLE},
};

/// A sealed image, and what its recipients know of it.
struct Sealed {
    head: DeltaHead,
    recipe: SealedRecipe,
}

impl World {
    fn seal(&mut self, archive: &[u8], secret: &Secret) -> Sealed {
        let options = PackOptions {
            limits: Limits::default(),
            layers: Layers::plain().compressed(3).sealed(secret.clone()),
            scratch: self.directory.path(),
        };
        let packed = pack_image(archive, &self.packs, &self.known, &options).unwrap();
        self.known.clone_from(&packed.packs);
        let recipe = SealedRecipe {
            id: packed.id,
            records: packed.recipe,
            keys: packed.keys.unwrap(),
            chunker_seed: secret.chunker_seed(),
        };
        let head = DeltaHead {
            id: packed.id,
            tar_size: packed.tar_size,
            archive_sha512: [7; 64],
            archive_size: archive.len() as u64,
            recipe: HeadRecipe::Sealed(b"an OpenPGP message".to_vec()),
            up: 2,
            packs: packed.packs,
            patch: None,
        };
        assert_eq!(DeltaHead::parse(&head.to_bytes()).unwrap(), head);
        let bytes = recipe.to_bytes();
        assert_eq!(bytes.len(), SEALED_RECIPE);
        assert_eq!(SealedRecipe::parse(&bytes, &head).unwrap(), recipe);
        Sealed { head, recipe }
    }

    fn open(&self, sealed: &Sealed) -> Result<Fetched, DeltaError> {
        let (head, recipe) = (sealed.head.clone(), sealed.recipe.clone());
        self.follow(Delta::opened(self.store.clone(), head, recipe, &name())?)
    }

    /// Somebody else, who has nothing.
    fn stranger(&self) -> World {
        World {
            packs: self.packs.clone(),
            ..World::new()
        }
    }

    /// All bytes of all packs.
    fn bytes(&self) -> Vec<u8> {
        let packs = self.packs.list().unwrap();
        let whole = |pack| {
            let size = self.packs.size(pack).unwrap().unwrap();
            self.packs.read(pack, 0..size).unwrap().unwrap()
        };
        packs.iter().flat_map(whole).collect()
    }
}

fn secret(byte: u8) -> Secret {
    Secret::from_bytes([byte; 32])
}

fn told(error: &DeltaError) -> String {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn holds(bytes: &[u8], searched: &[u8]) -> bool {
    bytes.windows(searched.len()).any(|window| window == searched)
}

#[test]
fn a_sealed_image_comes_whole_and_its_packs_tell_nothing_of_it() {
    let mut world = World::new();
    let tar = archive("1", &files());
    let sealed = world.seal(&tar, &secret(1));
    let fetched = world.open(&sealed).unwrap();
    assert_eq!(fetched.id, sealed.head.id);
    assert_eq!(world.export(&fetched.id), tar);
    assert_eq!(world.left(), 0);

    let bytes = world.bytes();
    for (path, content) in files() {
        assert!(!holds(&bytes, path.as_bytes()), "{path}");
        assert!(!holds(&bytes, &Sha256::digest(&content)), "{path}");
        if content.len() > 32 {
            assert!(!holds(&bytes, &content[..32]), "{path}");
        }
    }
    // The same search finds all of it where packs are not sealed.
    let mut plain = World::new();
    plain.publish(&tar);
    let bytes = plain.bytes();
    assert!(holds(&bytes, &Sha256::digest(text(2, 3000))) && holds(&bytes, &noise(1, 8 << 20)[..32]));
}

#[test]
fn a_sealed_update_brings_and_adds_what_changed() {
    let mut world = World::new();
    let mut files = files();
    // So many that their keys are cut into chunks.
    let many: Vec<_> = (0..5000).map(|number| format!("many/{number:04}")).collect();
    files.extend(
        (0..)
            .zip(&many)
            .map(|(seed, path)| (path.as_str(), noise(seed + 100, 1100))),
    );
    let old = world.seal(&archive("1", &files), &secret(1));
    assert!(old.recipe.keys.length > WHOLE as u64);
    world.open(&old).unwrap();
    let before = world.bytes().len();
    files[0].1[4 << 20] ^= 1;
    files[3000].1 = noise(9, 50_000);
    let tar = archive("2", &files);
    let new = world.seal(&tar, &secret(1));
    assert_eq!(new.head.packs.len(), 2);
    // A chunk of each of the file, the recipe and the keys, and the lists: no other key, and no recipe as a whole.
    let added = world.bytes().len() - before;
    assert!(added < 50_000 + 150_000, "{added}");
    let fetched = world.open(&new).unwrap();
    assert_eq!(world.export(&fetched.id), tar);
    assert!(fetched.bytes as usize <= added, "{} of {added}", fetched.bytes);
    assert!(fetched.requests <= 2, "{}", fetched.requests);
    assert!(fetched.reused.chunks > 7 << 20, "{:?}", fetched.reused);

    // Whoever has nothing gets it from both packs, and what is here already costs its recipe alone.
    let stranger = world.stranger();
    stranger.open(&new).unwrap();
    assert_eq!(stranger.export(&new.head.id), tar);
    assert_eq!(world.open(&new).unwrap().reused.packs, 0);
    // To seal it again makes no new pack; with another secret nothing is shared.
    assert_eq!(world.seal(&tar, &secret(1)).head.packs, new.head.packs);
    let before = world.bytes().len();
    world.seal(&tar, &secret(2));
    assert!(world.bytes().len() - before > tar.len() / 2);
}

/// Where a file is cut depends on the secret, and with it what one byte costs: of none too much.
#[test]
fn one_byte_costs_well_below_100_kb_whatever_the_secret() {
    let many: Vec<_> = (0..600).map(|number| format!("many/{number:04}")).collect();
    let mut files: Vec<_> = (0..)
        .zip(&many)
        .map(|(seed, path)| (path.as_str(), noise(seed + 100, 1100)))
        .collect();
    files.push(("large", noise(1, 4 << 20)));
    let old = archive("1", &files);
    files[600].1[3 << 20] ^= 1;
    let new = archive("2", &files);
    for byte in 0..4 {
        let mut world = World::new();
        let held = world.seal(&old, &secret(byte));
        world.open(&held).unwrap();
        let sealed = world.seal(&new, &secret(byte));
        let fetched = world.open(&sealed).unwrap();
        assert_eq!(world.export(&fetched.id), new);
        assert_eq!(fetched.requests, 1);
        assert!(fetched.bytes < 90_000, "{byte}: {}", fetched.bytes);
        assert_eq!(fetched.bytes, sealed.head.packs.last().unwrap().size);
    }
}

/// What one image's recipients know opens no other image's contents, though the same secret sealed both.
#[test]
fn who_can_open_one_image_cannot_open_another() {
    let mut world = World::new();
    let shared = noise(1, 300_000);
    let own = world.seal(
        &archive("1", &[("shared", shared.clone()), ("a", noise(2, 5000))]),
        &secret(1),
    );
    let other = world.seal(&archive("2", &[("shared", shared), ("b", noise(3, 5000))]), &secret(1));
    let store = PackStore::open(world.packs.clone(), other.head.packs.iter().map(|pack| pack.id)).unwrap();
    // The keys of the one, by way of its recipe: they are those of `a` and of what is shared.
    let mut keys = Vec::new();
    store.get(&own.recipe.keys, &mut keys).unwrap();
    let names: Vec<_> = keys
        .chunks_exact(32)
        .map(|key| ContentKey::from_bytes(key.try_into().unwrap()).name())
        .collect();
    let of = |content: &[u8]| secret(1).key(&ObjectId(Sha256::digest(content).into()));
    assert_eq!(names.len(), 2);
    assert!(names.contains(&of(&noise(2, 5000)).name()) && !names.contains(&of(&noise(3, 5000)).name()));
    // Their sealed part is of no use with the other's head, nor is what it tells.
    let error = SealedRecipe::parse(&own.recipe.to_bytes(), &other.head).unwrap_err();
    assert!(error.to_string().contains("another image"), "{error}");
    let mixed = Sealed {
        head: other.head.clone(),
        recipe: SealedRecipe {
            keys: own.recipe.keys.clone(),
            ..other.recipe.clone()
        },
    };
    let error = told(&world.stranger().open(&mixed).map(|_| ()).unwrap_err());
    assert!(error.contains("not what its name says"), "{error}");
}

#[test]
fn an_image_of_small_files_alone_has_no_keys() {
    let mut world = World::new();
    let tar = archive("1", &[("a", b"small".to_vec()), ("empty", Vec::new())]);
    let sealed = world.seal(&tar, &secret(1));
    assert_eq!(sealed.recipe.keys.length, 0);
    let fetched = world.open(&sealed).unwrap();
    assert_eq!(world.export(&fetched.id), tar);
}

/// Each a lie that somebody signed, and what is said of it.
#[test]
fn sealed_recipes_that_lie_are_refused() {
    let mut world = World::new();
    let tar = archive("1", &[("a", noise(1, 5000)), ("b", noise(2, 300_000))]);
    let good = world.seal(&tar, &secret(1));
    let plain = world.stranger().publish(&tar);
    let key = |byte| Some(ContentKey::from_bytes([byte; 32]));
    let mut wrong = Vec::new();
    let mut check = |what: &str, bend: &dyn Fn(&mut Sealed), problem: &str| {
        let mut bent = Sealed {
            head: good.head.clone(),
            recipe: good.recipe.clone(),
        };
        bend(&mut bent);
        let stranger = world.stranger();
        let result = SealedRecipe::parse(&bent.recipe.to_bytes(), &bent.head).and_then(|_| stranger.open(&bent));
        match result {
            Err(error) if told(&error).contains(problem) => {}
            Err(error) => wrong.push(format!("{what}: {}", told(&error))),
            Ok(fetched) => wrong.push(format!("{what}: {}", fetched.id)),
        }
        assert!(stranger.store.images().unwrap().is_empty());
        assert_eq!(stranger.left(), 0, "{what}");
    };
    check("another key", &|bent| bent.recipe.records.key = key(9), "no pack in");
    check(
        "another key of the keys",
        &|bent| bent.recipe.keys.key = key(9),
        "no pack in",
    );
    check(
        "the keys for a recipe",
        &|bent| bent.recipe.records = bent.recipe.keys.clone(),
        "",
    );
    check(
        "the recipe for keys",
        &|bent| bent.recipe.keys = bent.recipe.records.clone(),
        "",
    );
    check(
        "a recipe that is another",
        &|bent| bent.recipe.records.digest = ObjectId([5; 32]),
        "its records are not what it says",
    );
    check(
        "another image",
        &|bent| bent.recipe.id = ImageId::from_bytes([5; 64]),
        "of another image",
    );
    check(
        "another image ID on both sides",
        &|bent| {
            bent.recipe.id = ImageId::from_bytes([5; 64]);
            bent.head.id = bent.recipe.id;
        },
        "and rebuilds",
    );
    check(
        "records without an end",
        &|bent| bent.recipe.records.length = u64::MAX,
        "impossible length",
    );
    check(
        "no records",
        &|bent| bent.recipe.records.length = 0,
        "impossible length",
    );
    check(
        "keys without an end",
        &|bent| bent.recipe.keys.length = u64::MAX / 32 * 32,
        "impossible length",
    );
    check("half a key", &|bent| bent.recipe.keys.length += 16, "impossible length");
    check(
        "a key too many",
        &|bent| bent.recipe.keys.length += 32,
        "not a key for each object",
    );
    check("no keys", &|bent| bent.recipe.keys.length = 0, "not a key for each");
    check("no seed", &|bent| bent.recipe.chunker_seed = 0, "not cut as sealed");
    check(
        "a plain pack",
        &|bent| bent.head.packs = plain.packs.clone(),
        "it is not sealed",
    );
    assert_eq!(wrong, [""; 0]);

    // Whatever is behind the seal, it is read as strictly as the head.
    let bytes = good.recipe.to_bytes();
    for (what, bytes, problem) in [
        ("empty", Vec::new(), "cut short"),
        ("cut short", bytes[..bytes.len() - 1].to_vec(), "cut short"),
        ("longer", [&bytes[..], b"x"].concat(), "goes on"),
        (
            "another version",
            [b"dhow sealed 2\n", &bytes[14..]].concat(),
            "none of version 1",
        ),
    ] {
        let error = SealedRecipe::parse(&bytes, &good.head).unwrap_err().to_string();
        assert!(error.contains(problem), "{what}: {error}");
    }
    // Who was not told cannot begin.
    let unopened = Delta::new(world.store.clone(), good.head.clone(), &name());
    let error = unopened.map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("was not opened"), "{error}");
}

/// Bent at any place, a pack is refused, also where a liar has signed what came of it; and so are frames that changed
/// places.
#[test]
fn sealed_packs_that_lie_are_refused() {
    let mut world = World::new();
    let tar = archive("1", &[("a", noise(1, 5000)), ("b", noise(2, 5000))]);
    let good = world.seal(&tar, &secret(1));
    let pack = good.head.packs[0];
    let whole = world.packs.read(&pack.id, 0..pack.size).unwrap().unwrap();
    let fetch = |bytes: &[u8], is_signed: bool| {
        let stranger = world.stranger();
        let mut head = good.head.clone();
        if is_signed {
            head.packs[0].end_digest = Sha256::digest(bytes).into();
        }
        let mut delta = Delta::opened(stranger.store.clone(), head, good.recipe.clone(), &name())?;
        loop {
            match delta.step()? {
                Step::Need(need) => {
                    for (pack, range) in need.ranges {
                        let part = &bytes[range.start as usize..range.end as usize];
                        delta.sparse().write(&pack, range.start, part).unwrap();
                        delta.sparse().came(&pack, range).unwrap();
                    }
                }
                Step::Ready(rebuild) => return Ok(*stranger.store.stage(rebuild)?.id()),
            }
        }
    };
    assert_eq!(fetch(&whole, true).unwrap(), good.head.id);
    let index = super::hostile::index_of(&whole);
    let refused = |bytes: &[u8], is_signed| -> String {
        let result: Result<ImageId, DeltaError> = fetch(bytes, is_signed);
        told(&result.unwrap_err())
    };
    // A small pack is all end, which the head has the digest of: a byte anywhere is noticed before anything is opened.
    for at in (12..whole.len()).step_by(331) {
        let mut bent = whole.clone();
        bent[at] ^= 1;
        assert!(refused(&bent, false).contains("its end is not"), "byte {at}");
        let error = refused(&bent, true);
        assert!(
            at >= index || error.contains("does not open with this key"),
            "byte {at}: {error}"
        );
    }
    // The first two contents are of one length, as are their frames: each lies now under the other's name.
    let length = u32::from_le_bytes(whole[index..index + 4].try_into().unwrap()) as usize;
    assert_eq!(whole[index..index + 8], whole[index + 8..index + 16]);
    let mut swapped = whole.clone();
    let (one, other) = swapped[12..].split_at_mut(length);
    one.swap_with_slice(&mut other[..length]);
    assert!(refused(&swapped, true).contains("does not open with this key"));
}

#[test]
fn sealed_heads_are_as_documented() {
    let head = documented_head(HeadRecipe::Sealed(vec![0x66; 300]));
    let expected = [
        "64686f772064656c746120330a".to_owned(),
        "11".repeat(64),
        "0028000000000000".to_owned(),
        "22".repeat(64),
        "1503000000000000".to_owned(),
        "2c010000".to_owned(),
        "0301".to_owned(),
        "44".repeat(32),
        "e093040000000000d06c040000000000".to_owned(),
        "55".repeat(32),
        "66".repeat(300),
    ];
    assert_eq!(hex::encode(head.to_bytes()), expected.concat());
    assert_eq!(DeltaHead::parse(&head.to_bytes()).unwrap(), head);
    for (what, bytes, problem) in [
        ("cut short", head.to_bytes()[..542].to_vec(), "cut short"),
        ("longer", [head.to_bytes(), vec![0]].concat(), "goes on"),
        (
            "a sealed part without an end",
            {
                let mut bytes = head.to_bytes();
                bytes[157..161].fill(255);
                bytes
            },
            "impossible length",
        ),
        (
            "an empty sealed part",
            {
                let mut bytes = head.to_bytes();
                bytes[157..161].fill(0);
                bytes
            },
            "impossible length",
        ),
    ] {
        let error = DeltaHead::parse(&bytes).unwrap_err().to_string();
        assert!(error.contains(problem), "{what}: {error}");
    }
}

/// The example of `docs/src/formats/sealed.md`: an image in a pack that is sealed with the secret `000102…1f`.
#[test]
fn the_example_is_as_documented() {
    let secret = Secret::from_bytes(std::array::from_fn(|at| at as u8));
    let mut world = World::new();
    let lines = b"dhow\n".repeat(300);
    let sealed = world.seal(
        &archive("1", &[("hi", b"hello\n".to_vec()), ("lines", lines.clone())]),
        &secret,
    );
    let key = secret.key(&ObjectId(Sha256::digest(&lines).into()));
    let mut keys = Vec::new();
    let store = PackStore::open(world.packs.clone(), [sealed.head.packs[0].id]).unwrap();
    store.get(&sealed.recipe.keys, &mut keys).unwrap();
    assert_eq!(keys, key.expose());
    let expected = include_str!("sealed.hex").split_whitespace().collect::<String>();
    assert_eq!(hex::encode(&*sealed.recipe.to_bytes()), expected);
    let documented = include_str!("../../../../docs/src/formats/sealed.md");
    for line in include_str!("sealed.hex").lines() {
        assert!(documented.contains(line), "{line}");
    }
}
