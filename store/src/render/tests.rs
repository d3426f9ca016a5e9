//! Small images and the trees that they make, as the text of ace.md ("Filesystem Setup") and aci.md (`pathWhitelist`,
//! "Dependency Matching") has it.

use std::collections::BTreeMap;

use dhow_image::{Dependency, Entry, EntryKind, ImageId, ImageManifest, Labels, Name, RootfsPath, TarWriter};
use serde_json::json;
use tempfile::TempDir;

use super::{layers, render};
use crate::{
    Standing, Store, StoreError,
    tree::{Content, NodeId, NodeKind, Tree},
};

/// Images, from those beneath to the one that is rendered, and its tree.
///
/// An image is `NAME > DEPENDENCIES | WHITELIST : ENTRIES`. An entry is a file (`path`, which contains the image's
/// name), a directory with its mode (`path/755`), a symbolic link (`path->target`) or a hard link (`path=>target`). In
/// the tree, a file is `path=NAME` by whom it is from, a hard link the name that comes first (`path==first`), and
/// directories with mode 755 that hold something are left out.
struct Case(&'static str, &'static [&'static str], &'static str);

const CASES: &[Case] = &[
    Case("an image alone", &["A : bin/a etc/755"], "bin/a=A etc/755"),
    Case("nothing but a root with a mode", &["A : /700"], "/700"),
    // The order.
    Case(
        "the image comes over its dependency",
        &["B : f g", "A > B : f"],
        "f=A g=B",
    ),
    Case(
        "later dependencies come over earlier ones",
        &["B : f g", "C : g h", "A > B C :"],
        "f=B g=C h=C",
    ),
    Case(
        "the example of the spec: B, D, C, A",
        &[
            "B : b bd bc bdc all",
            "D : bd bdc d all",
            "C > D : bc bdc dc all",
            "A > B C : all",
        ],
        "all=A b=B bc=C bd=D bdc=C d=D dc=C",
    ),
    Case(
        "depth first: what is beneath a later dependency comes over an earlier one",
        &["D : f", "B : f", "C > D : g", "A > B C :"],
        "f=D g=C",
    ),
    Case(
        "the second example: D, B, D, C, A",
        &["D : d db dc", "B > D : db", "C > D : dc", "A > B C :"],
        "d=D db=D dc=C",
    ),
    Case(
        "the same dependency twice in one list",
        &["B : f", "C : f", "A > B C B :"],
        "f=B",
    ),
    Case(
        "dependencies of dependencies, four deep",
        &["E : e f", "D > E : d f", "C > D : c", "B > C : b", "A > B : a"],
        "a=A b=B c=C d=D e=E f=D",
    ),
    // What takes the place of what.
    Case("directories merge", &["B : d/x", "A > B : d/y"], "d/x=B d/y=A"),
    Case(
        "a directory over a directory sets its mode",
        &["B : d/755 d/x", "A > B : d/700"],
        "d/700 d/x=B",
    ),
    Case(
        "a directory that is only implied leaves the mode alone",
        &["B : d/700 d/x", "A > B : d/y"],
        "d/700 d/x=B d/y=A",
    ),
    Case(
        "a file takes the place of a directory",
        &["B : a/b/c/f a/x", "A > B : a/b"],
        "a/b=A a/x=B",
    ),
    Case(
        "a directory takes the place of a file",
        &["B : a", "A > B : a/700"],
        "a/700",
    ),
    Case(
        "an implied directory takes the place of a file",
        &["B : a", "A > B : a/b"],
        "a/b=A",
    ),
    Case(
        "a link to a directory is replaced, not followed",
        &["B : real/kept link->real", "A > B : link/f"],
        "link/f=A real/kept=B",
    ),
    Case(
        "a link to a directory is replaced by a directory",
        &["B : real/kept link->real", "A > B : link/700"],
        "link/700 real/kept=B",
    ),
    Case(
        "a link to a file is replaced by a file",
        &["B : real link->real", "A > B : link"],
        "link=A real=B",
    ),
    Case(
        "a directory is replaced by a link",
        &["B : lib/x usr/lib/y", "A > B : lib->usr/lib"],
        "lib->usr/lib usr/lib/y=B",
    ),
    Case(
        "links deep in a path are replaced as well",
        &["B : a/b/kept a/l->b", "A > B : a/l/m/n"],
        "a/b/kept=B a/l/m/n=A",
    ),
    Case(
        "an absolute link is replaced as well",
        &["B : etc/passwd l->/etc", "A > B : l/passwd"],
        "etc/passwd=B l/passwd=A",
    ),
    Case(
        "names of whiteouts mean nothing",
        &["B : f d/x", "A > B : .wh.f d/.wh..wh..opq"],
        ".wh.f=A d/.wh..wh..opq=A d/x=B f=B",
    ),
    // Hard links.
    Case("a hard link is one file", &["A : x y=>x"], "x=A y==x"),
    Case(
        "a hard link loses one name to a later image",
        &["B : x y=>x z=>x", "A > B : x"],
        "x=A y=B z==y",
    ),
    Case(
        "a hard link is to the file of its own image",
        &["B : x", "C : x y=>x", "A > C B :"],
        "x=B y=C",
    ),
    // Whitelists.
    Case("an empty whitelist keeps all", &["A | : x d/y"], "d/y=A x=A"),
    Case(
        "a whitelist keeps what it names",
        &["A | /x /d/y : x y d/x d/y"],
        "d/y=A x=A",
    ),
    Case(
        "a whitelist counts for what is beneath",
        &["B : x y", "A > B | /x : z"],
        "x=B",
    ),
    Case(
        "a whitelist does not count for what is above",
        &["B | /x : x y", "A > B : y z"],
        "x=B y=A z=A",
    ),
    Case(
        "a whitelist does not count for a sibling",
        &["B | /x : x y", "C : y", "A > B C :"],
        "x=B y=C",
    ),
    Case(
        "a sibling's file stays beneath one that the whitelist left out",
        &["B : y", "C | /x : x y", "A > B C :"],
        "x=C y=B",
    ),
    Case(
        "a sibling's directory stays beneath a link that the whitelist left out",
        &["B : d/f", "C | /x : x d->x", "A > B C :"],
        "d/f=B x=C",
    ),
    Case(
        "both whitelists must keep a file",
        &["B | /x /y : x y z", "A > B | /y /z : z"],
        "y=B z=A",
    ),
    Case(
        "three whitelists, and an image without one between",
        &[
            "D | /a /b /c : a b c d",
            "C > D : d",
            "B > C | /b /c /d :",
            "A > B | /c /d :",
        ],
        "c=D d=C",
    ),
    Case(
        "whitelists that share nothing leave nothing",
        &["B | /x : x", "A > B | /y :"],
        "/755",
    ),
    Case(
        "the set is complete: a directory in it is kept without what is in it",
        &["A | /d : d/700 d/x e/y"],
        "d/700",
    ),
    Case(
        "a trailing slash is no part of a path",
        &["A | /d/ /x/ : d/700 d/y x"],
        "d/700 x=A",
    ),
    Case(
        "the directories that lead to a path have their modes",
        &["A | /d/e/x : d/700 d/e/711 d/e/x d/y"],
        "d/700 d/e/711 d/e/x=A",
    ),
    Case("but not where the path is not there", &["A | /d/x /y : d/700 y"], "y=A"),
    Case(
        "so they take no file's place either",
        &["B : d", "C | /d/x /y : d/700 y", "A > B C :"],
        "d=B y=C",
    ),
    Case(
        "a directory that is only implied can be kept",
        &["A | /d : d/x"],
        "d/755",
    ),
    Case(
        "and takes the place of a file",
        &["B : d", "C | /d : d/x", "A > B C :"],
        "d/755",
    ),
    Case(
        "an outer whitelist keeps a directory without what an inner one kept in it",
        &["B | /d/x : d/700 d/x", "A > B | /d :"],
        "d/700",
    ),
    Case("the root is kept, with its mode", &["A | /x : /700 x"], "/700 x=A"),
    Case(
        "a whitelist can name what is not there",
        &["A | /x /gone /d/gone : x"],
        "x=A",
    ),
    Case("a whitelist keeps links", &["A | /l : x l->x"], "l->x"),
    Case(
        "a hard link is kept without its target",
        &["A | /y /z : x y=>x z=>x"],
        "y=A z==y",
    ),
    Case(
        "a hard link kept without its target has nothing to do with what an earlier image has there",
        &["B : x", "C | /y : x y=>x", "A > B C :"],
        "x=B y=C",
    ),
    Case(
        "a hard link is left out, and its target kept",
        &["A | /x : x y=>x"],
        "x=A",
    ),
    Case(
        "the same image by two ways, whitelisted in one",
        &["D : d1 d2", "B > D | /d1 : b", "C > D : c", "A > B C :"],
        "c=C d1=D d2=D",
    ),
    Case(
        "the same image by two ways, each with its own whitelist",
        &["D : d1 d2 d3", "B > D | /d1 :", "C > D | /d2 :", "A > B C :"],
        "d1=D d2=D",
    ),
    Case(
        "the same image by two ways, the second not coming over what its whitelist leaves out",
        &["D : d1 d2", "B > D : d1", "C > D | /d2 :", "A > B C :"],
        "d1=B d2=D",
    ),
    // The images of the specification's own example implementation, as its comments tell what comes out.
    Case(
        "a whitelist of the dependency alone",
        &[
            "B | /a/1 /a/2 /b/link /c/ /d/ : a/1 a/2 a/3 b/link->1 c/700 c/1 d/700 d/1 e/1",
            "A > B : b/1 c/2",
        ],
        "a/1=B a/2=B b/1=A b/link->1 c/700 c/2=A d/700",
    ),
    Case(
        "a whitelist of the image alone",
        &[
            "B : a/1 a/2 a/3 b/link->1 c/755 c/1 d/700 d/1 e/1",
            "A > B | /a/1 /a/2 /b/link /b/1 /c/2 /d/ : a/1 c/2",
        ],
        "a/1=A a/2=B b/link->1 c/2=A d/700",
    ),
    Case(
        "two dependencies, the first with a whitelist",
        &[
            "B | /a/1 /a/2 /a/3 /a/4 /b/link /b/1 : a/1 a/2 a/3 a/4 b/link->1",
            "C : a/1 a/2 b/1",
            "A > B C | /a/1 /a/2 /a/3 /b/link /b/1 /b/2 /c/1 : a/1 b/2 c/1",
        ],
        "a/1=A a/2=C a/3=B b/1=C b/2=A b/link->1 c/1=A",
    ),
    Case(
        "two dependencies, the second with one beneath it",
        &[
            "B : a/1 a/2 a/3 a/4 b/link->1",
            "D : a/2 b/1 d/700 d/1",
            "C > D : a/1 a/2 b/1",
            "A > B C | /a/1 /a/2 /a/3 /b/link /b/1 /b/2 /c/1 : a/1 b/2 c/1",
        ],
        "a/1=A a/2=C a/3=B b/1=C b/2=A b/link->1 c/1=A",
    ),
];

#[test]
fn every_case_makes_the_tree_that_the_specification_tells_of() {
    let mut failures = Vec::new();
    for Case(title, images, expected) in CASES {
        let world = World::new();
        let ids: Vec<_> = images.iter().map(|image| world.add_written(image)).collect();
        let seen = world.rendered(ids.last().unwrap());
        if seen != *expected {
            failures.push(format!("{title}:\n  expected {expected}\n  but made {seen}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn dependencies_are_told_apart_by_labels_and_ids() {
    let world = World::new();
    let version = |number: &str| labels(&[("version", number)]);
    let one = world.add("b", version("1.0.0"), &[], "f");
    let two = world.add("b", version("2.0.0"), &[], "f");
    let by_label = wanted("b", version("1.0.0"), None, None);
    let by_id = wanted("b", Labels::default(), Some(one), None);
    let by_both = wanted("b", version("1.0.0"), Some(one), None);
    for (name, dependency, expected) in [
        ("a1", on("b"), two),
        ("a2", by_label, one),
        ("a3", by_id, one),
        ("a4", by_both, one),
    ] {
        let image = world.add(name, Labels::default(), &[dependency], "g");
        assert_eq!(world.layers(&image), [expected, image], "{name}");
    }
}

#[test]
fn dependencies_that_do_not_fit_are_refused_with_the_chain() {
    let world = World::new();
    let version = |number: &str| labels(&[("version", number)]);
    let one = world.add("b", version("1.0.0"), &[], "f");
    let short = one.short();
    let refused = |dependency: Dependency| {
        let middle = world.add("c", Labels::default(), &[dependency], "g");
        let on_it = wanted("c", Labels::default(), Some(middle), None);
        let image = world.add("a", Labels::default(), &[on_it], "h");
        layers(&world.store, &image).err().unwrap()
    };
    let other_name = wanted("other", Labels::default(), Some(one), None);
    assert_eq!(
        refused(other_name).to_string(),
        format!("`other ({short})`, on which `c` (a → c) depends, does not fit: the image with that ID is `b`")
    );
    let other_label = wanted("b", version("2.0.0"), Some(one), None);
    assert_eq!(
        refused(other_label).to_string(),
        format!(
            "`b,version=2.0.0 ({short})`, on which `c` (a → c) depends, does not fit: of the label `version`, the image \
             with that ID has `1.0.0`"
        )
    );
    let absent = wanted("b", Labels::default(), Some(ImageId::from_bytes([7; 64])), None);
    assert_eq!(
        refused(absent).to_string(),
        "`b (sha512-070707070707)`, on which `c` (a → c) depends, is not in the store"
    );
    let absent = wanted("b", version("3.0.0"), None, None);
    assert_eq!(
        refused(absent).to_string(),
        "`b,version=3.0.0`, on which `c` (a → c) depends, is not in the store"
    );
    for image_id in [None, Some(one)] {
        let error = refused(wanted("b", Labels::default(), image_id, Some(1)));
        assert!(matches!(error, StoreError::WrongDependency { .. }), "{error}");
        let told = error.to_string();
        assert!(told.contains("has the 1 bytes that are asked for"), "{told}");
    }
}

#[test]
fn a_size_is_that_of_the_tar_or_of_the_archive_that_travelled() {
    let world = World::new();
    let one = world.add("b", labels(&[("version", "1.0.0")]), &[], "f");
    let two = world.add("b", labels(&[("version", "2.0.0")]), &[], "f g h");
    let tar_size = world
        .store
        .images()
        .unwrap()
        .iter()
        .find(|image| image.id == one)
        .unwrap()
        .tar_size;
    let sized = |name, size| {
        let dependency = wanted("b", Labels::default(), None, Some(size));
        let image = world.add(name, Labels::default(), &[dependency], "g");
        world.layers(&image)[0]
    };
    // A size is part of what is asked for: it finds the older image.
    assert_eq!(sized("a1", tar_size), one);
    // What `World::commit` writes into the provenance.
    assert_eq!(sized("a2", 1234), two);
}

#[test]
fn circles_are_refused_with_all_of_the_chain() {
    let world = World::new();
    world.add_written("B > C :");
    world.add_written("C > D :");
    world.add_written("D > B :");
    let image = world.add_written("A > B :");
    let error = layers(&world.store, &image).err().unwrap();
    assert_eq!(
        error.to_string(),
        "images depend on each other in a circle: a → b → c → d → b"
    );
    let own = world.add_written("S > S :");
    let error = layers(&world.store, &own).err().unwrap();
    assert_eq!(error.to_string(), "images depend on each other in a circle: s → s");
}

#[test]
fn what_nobody_vouches_for_is_missed_with_a_word_about_it() {
    let world = World::new();
    let unverified = archive(&manifest("b", Labels::default(), &[], &[]), "f");
    let staged = world.store.stage(unverified.as_slice()).unwrap();
    staged.commit(&json!({}), Standing::Unverified).unwrap();
    let image = world.add_written("A > B :");
    assert_eq!(
        layers(&world.store, &image).err().unwrap().to_string(),
        "`b`, on which `a` depends, is not in the store, but for an image that nobody vouches for"
    );
}

/// Sixty images, each of which depends twice on the next, have 2^60 ways down.
#[test]
fn many_ways_to_one_image_take_no_time() {
    let world = World::new();
    world.add_written("L0 : f");
    let mut last = None;
    for level in 1..=30 {
        last = Some(world.add_written(&format!("L{level} > L{below} L{below} :", below = level - 1)));
    }
    assert_eq!(world.layers(&last.unwrap()).len(), 31);
    // With a whitelist at each turn all ways differ.
    world.add_written("W0 : f");
    for level in 1..=12 {
        let below = level - 1;
        world.add_written(&format!("X{level} > W{below} | /f /x{level} :"));
        world.add_written(&format!("Y{level} > W{below} | /f /y{level} :"));
        last = Some(world.add_written(&format!("W{level} > X{level} Y{level} :")));
    }
    let error = layers(&world.store, &last.unwrap()).err().unwrap();
    assert_eq!(error.to_string(), "the dependencies of `w12` make over 1000 layers");
}

#[test]
fn a_chain_that_is_too_long_is_refused() {
    let world = World::new();
    world.add_written("L0 : f");
    for level in 1..=31 {
        let image = world.add_written(&format!("L{level} > L{} :", level - 1));
        assert_eq!(world.layers(&image).len(), level + 1);
    }
    let image = world.add_written("L32 > L31 :");
    let error = layers(&world.store, &image).err().unwrap();
    assert_eq!(
        error.to_string(),
        "the dependencies of `l32` make a chain of over 32 images"
    );
}

#[test]
fn trees_are_cached_by_all_that_made_them() {
    let world = World::new();
    let trees = || std::fs::read_dir(world.store.trees_dir()).unwrap().count();
    world.add("b", labels(&[("version", "1.0.0")]), &[], "f");
    let image = world.add("a", Labels::default(), &[on("b")], "g");
    world.store.rootfs(&image).unwrap();
    world.store.rootfs(&image).unwrap();
    assert_eq!(trees(), 1);
    // The name now means another image: the tree is another.
    world.add("b", labels(&[("version", "2.0.0")]), &[], "new");
    world.store.rootfs(&image).unwrap();
    assert_eq!(trees(), 2);
    assert_eq!(world.rendered(&image), "g=a new=b");
    // An older one of that name changes nothing.
    world.add("b", labels(&[("version", "0.1.0")]), &[], "old");
    world.store.rootfs(&image).unwrap();
    assert_eq!(trees(), 2);
}

/// A store.
struct World {
    _directory: TempDir,
    store: Store,
}

impl World {
    fn new() -> Self {
        // In memory, where what is synced takes no time.
        let directory = TempDir::new_in("/dev/shm").unwrap();
        let store = Store::open(&directory.path().join("store")).unwrap();
        Self {
            _directory: directory,
            store,
        }
    }

    /// Adds an image as a [`Case`] writes it.
    fn add_written(&self, image: &str) -> ImageId {
        let (head, entries) = image.split_once(':').unwrap();
        let (head, whitelist) = head.split_once('|').unwrap_or((head, ""));
        let (name, dependencies) = head.split_once('>').unwrap_or((head, ""));
        let whitelist: Vec<_> = whitelist.split_whitespace().collect();
        let dependencies: Vec<_> = dependencies
            .split_whitespace()
            .map(|name| on(&name.to_lowercase()))
            .collect();
        let name = name.trim();
        let manifest = manifest(&name.to_lowercase(), Labels::default(), &dependencies, &whitelist);
        self.commit(&archive_of(name, &manifest, entries))
    }

    fn add(&self, name: &str, labels: Labels, dependencies: &[Dependency], entries: &str) -> ImageId {
        self.commit(&archive(&manifest(name, labels, dependencies, &[]), entries))
    }

    fn commit(&self, archive: &[u8]) -> ImageId {
        let staged = self.store.stage(archive).unwrap();
        staged
            .commit(&json!({ "archive": { "size": 1234 } }), Standing::Verified)
            .unwrap()
    }

    fn layers(&self, id: &ImageId) -> Vec<ImageId> {
        layers(&self.store, id).unwrap().iter().map(|layer| layer.id).collect()
    }

    /// The tree of an image, as a [`Case`] writes it.
    fn rendered(&self, id: &ImageId) -> String {
        let tree = render(&self.store, &layers(&self.store, id).unwrap()).unwrap();
        let mut first_names: BTreeMap<NodeId, String> = BTreeMap::new();
        let mut words = Vec::new();
        for visit in tree.iter() {
            let path = String::from_utf8(visit.path.clone()).unwrap();
            if let Some(first) = first_names.get(&visit.id) {
                words.push(format!("{path}=={first}"));
                continue;
            }
            let node = tree.node(visit.id).unwrap();
            match node.kind() {
                NodeKind::Directory => {
                    let mode = node.metadata().mode;
                    if mode != 0o755 || tree.children(visit.id).next().is_none() {
                        words.push(format!("{path}/{mode:o}"));
                    }
                }
                NodeKind::Symlink(target) => words.push(format!("{path}->{}", String::from_utf8_lossy(target))),
                NodeKind::File(content) => words.push(format!("{path}={}", self.text(content))),
                kind => panic!("{kind:?}"),
            }
            first_names.insert(visit.id, path);
        }
        words.join(" ")
    }

    fn text(&self, content: &Content) -> String {
        match content {
            Content::Inline(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Content::Object { id, .. } => {
                std::fs::read_to_string(self.store.objects_dir().join(id.relative_path())).unwrap()
            }
        }
    }
}

fn on(name: &str) -> Dependency {
    Dependency::new(Name::new(name).unwrap())
}

fn wanted(name: &str, labels: Labels, image_id: Option<ImageId>, size: Option<u64>) -> Dependency {
    let mut dependency = on(name);
    (dependency.labels, dependency.image_id, dependency.size) = (labels, image_id, size);
    dependency
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    let mut labels = Labels::default();
    for (name, value) in pairs {
        labels.insert(Name::new(*name).unwrap(), *value).unwrap();
    }
    labels
}

fn manifest(name: &str, labels: Labels, dependencies: &[Dependency], whitelist: &[&str]) -> ImageManifest {
    let mut manifest = ImageManifest::new(Name::new(name).unwrap());
    manifest.labels = labels;
    manifest.dependencies = dependencies.to_vec();
    manifest.path_whitelist = whitelist.iter().map(|path| (*path).to_owned()).collect();
    manifest
}

fn archive(manifest: &ImageManifest, entries: &str) -> Vec<u8> {
    archive_of(manifest.name.as_str(), manifest, entries)
}

/// The tar of an image with these entries, as a [`Case`] writes them; files contain `text`.
fn archive_of(text: &str, manifest: &ImageManifest, entries: &str) -> Vec<u8> {
    let json = serde_json::to_vec(manifest).unwrap();
    let mut tar = TarWriter::new(Vec::new());
    let size = json.len() as u64;
    tar.append(&entry("", EntryKind::Manifest { size }, 0o644), json.as_slice())
        .unwrap();
    // A root of its own keeps images without entries valid, and says what every root says.
    if !entries.split_whitespace().any(|word| word.starts_with('/')) {
        tar.append(&entry("", EntryKind::Directory, 0o755), &[][..]).unwrap();
    }
    for word in entries.split_whitespace() {
        let (path, kind, mode) = parse(word, text.len() as u64);
        let content = match kind {
            EntryKind::File { .. } => text.as_bytes(),
            _ => &[],
        };
        tar.append(&entry(path, kind, mode), content).unwrap();
    }
    tar.finish().unwrap()
}

fn parse(word: &str, size: u64) -> (&str, EntryKind, u16) {
    if let Some((path, target)) = word.split_once("=>") {
        let target = RootfsPath::new(target.as_bytes()).unwrap();
        return (path, EntryKind::HardLink { target }, 0o644);
    }
    if let Some((path, target)) = word.split_once("->") {
        let target = target.as_bytes().to_vec();
        return (path, EntryKind::Symlink { target }, 0o777);
    }
    match word.rsplit_once('/') {
        Some((path, mode)) if mode.len() == 3 && u16::from_str_radix(mode, 8).is_ok() => {
            (path, EntryKind::Directory, u16::from_str_radix(mode, 8).unwrap())
        }
        _ => (word, EntryKind::File { size }, 0o644),
    }
}

fn entry(path: &str, kind: EntryKind, mode: u16) -> Entry {
    Entry {
        kind,
        path: RootfsPath::new(path.as_bytes()).unwrap(),
        mode,
        uid: 0,
        gid: 0,
        mtime: 0,
        mtime_nanoseconds: 0,
        xattrs: BTreeMap::new(),
    }
}

/// What a layer is laid into is the tree of the layers beneath it, so a tree that is taken apart and laid again is the
/// same.
#[test]
fn a_layer_laid_twice_is_as_if_laid_once() {
    let world = World::new();
    world.add_written("D : d/700 d/x y z=>y l->d");
    world.add_written("B : d y/f l/g z");
    let once = world.add_written("A > B D :");
    let twice = world.add_written("C > D B D :");
    let names = |id| {
        let tree: Tree = render(&world.store, &layers(&world.store, id).unwrap()).unwrap();
        tree.iter().count()
    };
    assert_eq!(world.rendered(&once), world.rendered(&twice));
    assert_eq!(names(&once), names(&twice));
}
