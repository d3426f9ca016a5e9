//! Sealed images: published with `--delta --encrypt-to`, served by nginx, fetched by difference by those for whom they are,
//! and kept, carried and taken away by those for whom they are not.

use std::{
    fs,
    io::Read as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use dhow_tests::{Nginx, Outcome, Server, World};
use serde_json::json;

const SITE: [&str; 4] = ["--site", "site", "--url", "https://example.com"];
/// Texts that are in a file's name and content, and nowhere else.
const NAME: &str = "etc/plans-for-the-winter";
const TEXT: &str = "the ships sail at dawn, and nobody is to know; ";

/// Bytes that no compression makes smaller.
fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| random.u8(..)).take(size).collect()
}

/// A publisher, a site, and readers with worlds and keys of their own.
struct Scene {
    publisher: World,
    nginx: Option<Nginx>,
    large: Vec<u8>,
}

impl Scene {
    fn new() -> Self {
        let publisher = World::new();
        publisher.key();
        publisher.trust_own_key();
        Self {
            publisher,
            nginx: None,
            large: noise(1, 6 << 20),
        }
    }

    /// Builds a version. Gives its image ID and its file.
    fn build(&self, version: &str) -> (String, String) {
        let file = format!("app-{version}.aci");
        let id = self
            .publisher
            .image("example.com/app")
            .version(version)
            .file("bin/large", &self.large)
            .file("bin/same", &noise(7, 300_000))
            .file(NAME, TEXT.repeat(100).as_bytes())
            .file("version", version.as_bytes())
            .build(&file);
        (id, file)
    }

    /// Publishes a version. Gives its image ID.
    fn publish(&self, version: &str, more: &[&str]) -> String {
        let (id, file) = self.build(version);
        self.publish_file(&file, more).success();
        id
    }

    fn publish_file(&self, file: &str, more: &[&str]) -> Outcome {
        self.publisher.dhow(&[&["publish", file][..], &SITE, more].concat())
    }

    fn serve(&mut self) {
        self.nginx = Some(self.publisher.nginx("site"));
    }

    /// Somebody else, who trusts the publisher and has a key, whose public part the publisher has as a file.
    fn reader(&self, who: &str) -> World {
        let world = World::new();
        let user_id = format!("{who} <{who}@example.com>");
        world.dhow(&["key", "generate", &user_id]).success();
        let file = self.publisher.arg(&format!("{who}.asc"));
        world.dhow(&["key", "export", who, "-o", &file]).success();
        let carly = self.publisher.arg("carly.asc");
        world
            .dhow(&["trust", "add", "--prefix", "example.com", "--yes", &carly])
            .success();
        world
    }

    fn fetch(&self, reader: &mut World, more: &[&str]) -> Outcome {
        reader.connect("example.com", self.nginx.as_ref().unwrap().port());
        let ca = self.publisher.arg("ca.pem");
        reader.dhow(&[&["--ca", &ca, "fetch"], more].concat())
    }

    /// The requests since `before`: paths and bytes.
    fn requests(&self, before: usize) -> Vec<(String, u64)> {
        let log = self.nginx.as_ref().unwrap().requests();
        let request = |line: &str| {
            let mut parts = line.split('"');
            let path = parts.nth(1)?.split(' ').nth(1)?.to_owned();
            Some((path, parts.next()?.split_whitespace().nth(1)?.parse().ok()?))
        };
        log.lines().skip(before).filter_map(request).collect()
    }

    fn count(&self) -> usize {
        self.nginx.as_ref().unwrap().requests().lines().count()
    }

    fn recipe(&self, version: &str) -> PathBuf {
        let folder = self.publisher.path("site/ACI/example.com/app");
        folder.join(format!("{version}-linux-amd64.aci.recipe"))
    }

    /// How many bytes the packs have together.
    fn packs(&self) -> u64 {
        let packs = files(&self.publisher.path("site/PACKS"));
        packs.iter().map(|pack| pack.metadata().unwrap().len()).sum()
    }
}

/// All files below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files.extend(self::files(&path)),
            false => files.push(path),
        }
    }
    files
}

/// Which of some texts are in a file, or in what decompresses in it, beginning anywhere.
fn found(bytes: &[u8], searched: &[(&'static str, Vec<u8>)]) -> Vec<&'static str> {
    let mut all = vec![bytes.to_vec()];
    for at in 0..bytes.len().saturating_sub(4) {
        let mut inner = Vec::new();
        // What comes before an error counts too.
        let _ = match bytes[at..] {
            [0x28, 0xb5, 0x2f, 0xfd, ..] => zstd::Decoder::new(&bytes[at..])
                .and_then(|decoder| decoder.single_frame().take(32 << 20).read_to_end(&mut inner)),
            [0x1f, 0x8b, 8, ..] => flate2::read::GzDecoder::new(&bytes[at..])
                .take(32 << 20)
                .read_to_end(&mut inner),
            _ => continue,
        };
        all.push(inner);
    }
    let has = |needle: &[u8]| {
        let finds = |hay: &Vec<u8>| {
            let first = needle[0];
            hay.iter()
                .enumerate()
                .any(|(at, byte)| *byte == first && hay[at..].starts_with(needle))
        };
        all.iter().any(finds)
    };
    let found = searched.iter().filter(|(_, needle)| has(needle));
    found.map(|(what, _)| *what).collect()
}

/// Has somebody make a site of a bundle, in the publisher's `carried`.
fn make_site_of(scene: &Scene, bundle: &str, who: &World) {
    let site = scene.publisher.arg("carried");
    let to = ["--site", &site, "--url", "https://example.com"];
    who.dhow(&[&["bundle", "import", bundle][..], &to].concat()).success();
}

#[test]
fn a_sealed_second_version_costs_what_changed_and_only_its_recipients_open_it() {
    let mut scene = Scene::new();
    let (mut bob, mut mallory) = (scene.reader("bob"), scene.reader("mallory"));
    let sealed = ["--delta", "--encrypt-to", "bob.asc"];
    let first = scene.publish("1.0.0", &sealed);
    scene.serve();
    // Whoever has nothing fetches the archive, as ever.
    let fetched = scene.fetch(&mut bob, &["example.com/app:1.0.0"]).success();
    assert_eq!(fetched.trim(), first);

    let before = scene.packs();
    scene.large[5 << 20] ^= 1;
    let second = scene.publish("1.0.1", &sealed);
    // One byte costs one chunk of the file, and what was never more than one: the recipe, its keys and the lists.
    assert!(scene.packs() - before < 200_000, "{}", scene.packs() - before);
    let before = scene.count();
    let fetched = scene.fetch(&mut bob, &["--delta", "always", "example.com/app:1.0.1"]);
    assert!(fetched.peak_memory < 64 << 20, "{}", fetched.peak_memory);
    assert_eq!(fetched.says("were here").success().trim(), second);
    let requests = scene.requests(before);
    assert!(
        requests
            .iter()
            .all(|(path, _)| !path.ends_with(".aci") && !path.ends_with(".patch")),
        "{requests:?}"
    );
    let packs = requests.iter().filter(|(path, _)| path.starts_with("/PACKS/"));
    let bytes: u64 = packs.map(|(_, bytes)| bytes).sum();
    assert!(bytes > 0 && bytes < 200_000, "{requests:?}");
    bob.dhow(&["image", "verify", "example.com/app:1.0.1"]).success();
    let shown = bob.dhow(&["image", "show", "example.com/app:1.0.1"]).success();
    assert!(shown.contains("by a signed recipe, the archive never came"), "{shown}");
    assert!(shown.contains("encrypted"), "{shown}");

    // From nothing, all comes from both packs.
    fs::remove_dir_all(bob.path("data")).unwrap();
    let fetched = scene.fetch(&mut bob, &["--delta", "always", "example.com/app:1.0.1"]);
    assert_eq!(fetched.success().trim(), second);
    bob.dhow(&["image", "verify", "example.com/app:1.0.1"]).success();

    // Without a key nothing is fetched but the head, and it is told whose key it takes.
    for delta in ["always", "never"] {
        let before = scene.count();
        scene
            .fetch(&mut mallory, &["--delta", delta, "example.com/app:1.0.1"])
            .exited(1)
            .says("could not decrypt")
            .says("which is encrypted for the key ");
        let requests = scene.requests(before);
        assert!(
            requests.iter().all(|(path, _)| !path.starts_with("/PACKS/")),
            "{requests:?}"
        );
    }
    assert_eq!(mallory.images().lines().count(), 1);

    // Who could read the last version cannot read the next, if that is not for him; nor has what he knows of its packs.
    scene.large[1 << 20] ^= 1;
    scene.publish("1.0.2", &["--delta", "--encrypt-to", "mallory.asc"]);
    scene
        .fetch(&mut bob, &["--delta", "always", "example.com/app:1.0.2"])
        .exited(1)
        .says("could not decrypt");
    scene
        .fetch(&mut mallory, &["--delta", "always", "example.com/app:1.0.2"])
        .success();
}

#[test]
fn nothing_of_a_sealed_site_tells_what_is_in_its_images() {
    let scene = Scene::new();
    scene.reader("bob");
    let sha256 = |content: &[u8]| {
        fs::write(scene.publisher.path("content"), content).unwrap();
        let mut command = std::process::Command::new("sha256sum");
        let printed = Outcome::of(command.arg(scene.publisher.path("content"))).success();
        printed.split_whitespace().next().unwrap().to_owned()
    };
    let raw = |hex: &str| -> Vec<u8> {
        (0..32)
            .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
            .collect()
    };
    let digest = sha256(TEXT.repeat(100).as_bytes());
    let same = sha256(&noise(7, 300_000));
    let searched = [
        ("a name", NAME.as_bytes().to_vec()),
        ("the end of a name", b"plans-for".to_vec()),
        ("a text", TEXT.as_bytes().to_vec()),
        ("noise", noise(7, 300_000)[..24].to_vec()),
        ("a digest", raw(&digest)),
        ("another digest", raw(&same)),
        ("an annotation", b"Carly the Captain".to_vec()),
    ];
    let search = || -> Vec<_> {
        let mut all: Vec<_> = files(&scene.publisher.path("site"))
            .iter()
            .flat_map(|path| found(&fs::read(path).unwrap(), &searched))
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    };
    let annotated = |version: &str| {
        let file = format!("app-{version}.aci");
        let image = scene.publisher.image("example.com/app").version(version);
        image
            .file(NAME, TEXT.repeat(100).as_bytes())
            .file("bin/same", &noise(7, 300_000))
            .file("version", version.as_bytes())
            .arg("--annotation")
            .arg("authors=Carly the Captain")
            .build(&file);
        file
    };
    for version in ["1.0.0", "1.0.1"] {
        let file = annotated(version);
        let sealed = ["--delta", "--torrent", "--encrypt-to", "bob.asc"];
        scene.publish_file(&file, &sealed).success();
    }
    assert_eq!(search(), [""; 0]);
    assert!(!scene.recipe("1.0.1").with_extension("patch").exists());

    // Whoever looks in the same way finds all of it in what is not sealed.
    fs::remove_dir_all(scene.publisher.path("site")).unwrap();
    scene.publish_file("app-1.0.0.aci", &["--delta"]).success();
    assert_eq!(search().len(), searched.len());
}

#[test]
fn what_a_sealed_version_adds_is_what_changed() {
    let scene = Scene::new();
    scene.reader("bob");
    let sealed = ["--delta", "--encrypt-to", "bob.asc"];
    scene.publish("1.0.0", &sealed);
    let before = scene.packs();
    let changed = noise(9, 1_000_000);
    let (_, file) = {
        let image = scene.publisher.image("example.com/app").version("1.0.1");
        let image = image.file("bin/same", &changed).file("version", b"1.0.1");
        (image.build("changed.aci"), "changed.aci")
    };
    scene.publish_file(file, &sealed).success();
    let added = scene.packs() - before;
    assert!(
        added > changed.len() as u64 && added * 10 <= changed.len() as u64 * 12,
        "{added} bytes were added"
    );
}

/// Everything that is done to a site by those who have no key: to publish again, to replace, to keep few versions, to take
/// away, and to carry elsewhere.
#[test]
fn sealed_images_are_kept_carried_and_taken_away_without_their_key() {
    let mut scene = Scene::new();
    let (mut bob, mallory) = (scene.reader("bob"), scene.reader("mallory"));
    let sealed = ["--delta", "--encrypt-to", "bob.asc"];
    let first = scene.publish("1.0.0", &sealed);
    let secret = scene.publisher.path("config/sealing/example.com,app.secret");
    assert_eq!(secret.metadata().unwrap().permissions().mode() & 0o777, 0o600);

    // Again: nothing is written, though to encrypt makes other bytes each time.
    let state = |scene: &Scene| -> Vec<_> {
        let mut all = files(&scene.publisher.path("site"));
        all.sort();
        all.into_iter().map(|path| (fs::read(&path).unwrap(), path)).collect()
    };
    let before = state(&scene);
    scene
        .publish_file("app-1.0.0.aci", &sealed)
        .says("was published already")
        .success();
    assert!(state(&scene) == before);
    // For others, or for nobody in particular: that is another archive.
    for others in [&["--delta", "--encrypt-to", "mallory.asc"][..], &["--delta"]] {
        scene
            .publish_file("app-1.0.0.aci", others)
            .exited(1)
            .says("not for just these recipients");
    }
    scene
        .publish_file("app-1.0.0.aci", &["--encrypt-to", "nobody"])
        .exited(3)
        .says("nobody");

    // What a disk has damaged is put right by making it anew, which is another archive.
    let archive = scene.recipe("1.0.0").with_extension("");
    let whole = fs::read(&archive).unwrap();
    let mut bent = whole.clone();
    bent[1000] ^= 1;
    fs::write(&archive, &bent).unwrap();
    scene.publish_file("app-1.0.0.aci", &sealed).exited(1);
    scene
        .publish_file("app-1.0.0.aci", &[&sealed[..], &["--replace"]].concat())
        .success();
    let anew = fs::read(&archive).unwrap();
    assert!(anew != bent && anew != whole);

    // Another publisher with the secret shares what is there; one without makes another.
    let other = scene.publisher.arg("other");
    let config = scene.publisher.path("config");
    let twin = |with_secret: bool| {
        let _ = fs::remove_dir_all(&other);
        for file in files(&config) {
            if with_secret || file != secret {
                let to = Path::new(&other).join(file.strip_prefix(&config).unwrap());
                fs::create_dir_all(to.parent().unwrap()).unwrap();
                fs::copy(&file, to).unwrap();
            }
        }
        let mut command = std::process::Command::new(dhow_tests::programs().join("dhow"));
        command.current_dir(scene.publisher.path(""));
        command.args(["--config-dir", &other, "--dir", &other, "publish", "app-1.0.1.aci"]);
        let before = scene.packs();
        Outcome::of(command.args(SITE).args(sealed)).success();
        let added = scene.packs() - before;
        let unpublish = [&["unpublish", "example.com/app:1.0.1"][..], &SITE].concat();
        scene.publisher.dhow(&unpublish).success();
        assert_eq!(scene.packs(), before, "packs go with the last recipe that names them");
        added
    };
    scene.build("1.0.1");
    let (shared, alone) = (twin(true), twin(false));
    assert!(shared < 200_000 && alone > 6 << 20, "{shared}, {alone}");

    // What a sealed image depends on stays, as what any depends on.
    let base = |version: &str| {
        let image = scene.publisher.image("example.com/base").version(version);
        image.file("etc/base", version.as_bytes()).build("base.aci");
    };
    base("1.0.0");
    scene.publish_file("base.aci", &sealed).success();
    let manifest = json!({"acKind": "ImageManifest", "acVersion": "0.8.11", "name": "example.com/top",
        "dependencies": [{"imageName": "example.com/base", "labels": [{"name": "version", "value": "1.0.0"}]}]});
    fs::write(scene.publisher.path("manifest.json"), manifest.to_string()).unwrap();
    let top = scene.publisher.image("example.com/top").version("1.0.0");
    let top = top.arg("--manifest").arg(&scene.publisher.arg("manifest.json"));
    let top = top.build("top.aci");
    scene.publish_file("top.aci", &sealed).success();
    base("1.1.0");
    scene
        .publish_file("base.aci", &[&sealed[..], &["--keep", "1"]].concat())
        .says("`example.com/top` depends on it")
        .success();

    // A bundle of it brings that along, and who has no key can make a site of it, from which others fetch.
    let bundle = scene.publisher.arg("sealed.bundle.tar");
    let export = [
        "bundle",
        "export",
        "example.com/top",
        "example.com/app",
        "--site",
        "site",
    ];
    let exported = scene.publisher.dhow(&[&export[..], &["-o", &bundle]].concat());
    assert_eq!(exported.success().lines().count(), 3);
    make_site_of(&scene, &bundle, &mallory);
    scene.nginx = Some(scene.publisher.nginx("carried"));
    assert_eq!(scene.fetch(&mut bob, &["example.com/top"]).success().trim(), top);
    fs::remove_dir_all(bob.path("data")).unwrap();
    let imported = bob.dhow(&["bundle", "import", &bundle]).success();
    assert!(imported.contains(&top) && imported.contains(&first), "{imported}");
    mallory
        .dhow(&["bundle", "import", &bundle])
        .exited(1)
        .says("could not decrypt");

    // An image that was open to all is sealed: its packs go.
    scene.publish_file("app-1.0.0.aci", &["--delta", "--replace"]).success();
    let open = scene.packs();
    scene
        .publish_file("app-1.0.0.aci", &[&sealed[..], &["--replace"]].concat())
        .success();
    let plain = files(&scene.publisher.path("site/PACKS")).into_iter().find(|pack| {
        let bytes = fs::read(pack).unwrap();
        // The byte of layers is the first of the tail.
        bytes[bytes.len() - 64] & 2 == 0
    });
    assert_eq!((plain, open > 0), (None, true));

    // And all of it goes in the end.
    for image in ["app:1.0.0", "top:1.0.0", "base:1.0.0", "base:1.1.0"] {
        let reference = format!("example.com/{image}");
        let unpublish = [&["unpublish", &reference][..], &SITE].concat();
        scene.publisher.dhow(&unpublish).success();
    }
    assert_eq!(scene.packs(), 0);
}

/// Heads that were altered, cut, or are another's, though all of them come from the publisher's own site.
#[test]
fn a_sealed_recipe_that_was_tampered_with_or_is_of_another_image_is_refused() {
    let mut scene = Scene::new();
    let mut bob = scene.reader("bob");
    let sealed = ["--delta", "--no-catalog", "--encrypt-to", "bob.asc"];
    scene.publish("1.0.0", &sealed);
    scene.large[1] ^= 1;
    scene.publish("1.0.1", &sealed);
    scene.serve();
    scene
        .fetch(&mut bob, &["--delta", "always", "example.com/app:1.0.0"])
        .success();
    let (old, new) = (scene.recipe("1.0.0"), scene.recipe("1.0.1"));
    let signature = |recipe: &Path| recipe.with_extension("recipe.asc");
    let good = fs::read(&new).unwrap();
    let refused = |scene: &Scene, bob: &mut World, said: &str| {
        let fetched = scene.fetch(bob, &["example.com/app:1.0.1"]);
        fetched.exited(4).says(said);
    };
    // In the open part, in the sealed one, and at the end.
    for at in [20, good.len() - 200, good.len() - 1] {
        let mut bent = good.clone();
        bent[at] ^= 1;
        fs::write(&new, bent).unwrap();
        refused(&scene, &mut bob, "was altered");
    }
    fs::write(&new, &good[..good.len() - 1]).unwrap();
    refused(&scene, &mut bob, "was altered");
    fs::copy(&old, &new).unwrap();
    refused(&scene, &mut bob, "was altered");
    fs::remove_dir_all(bob.path("data")).unwrap();
    fs::copy(signature(&old), signature(&new)).unwrap();
    scene
        .fetch(&mut bob, &["--delta", "always", "example.com/app:1.0.1"])
        .exited(4)
        .says("1.0.0");

    // The sealed part of the one behind the open part of the other: whoever signs that has not the publisher's word for
    // it, but for the signature. It is what is sealed that says which image it is.
    let sealed_at = |head: &[u8]| head.len() - u32::from_le_bytes(head[157..161].try_into().unwrap()) as usize;
    let other = fs::read(&old).unwrap();
    let mixed = [&good[..sealed_at(&good)], &other[sealed_at(&other)..]].concat();
    assert_eq!(mixed.len(), good.len());
    fs::write(&new, &mixed).unwrap();
    let new_signature = signature(&new);
    fs::remove_file(&new_signature).unwrap();
    scene.publisher.dhow(&["sign", new.to_str().unwrap()]).success();
    assert!(new_signature.exists());
    scene
        .fetch(&mut bob, &["--delta", "always", "example.com/app:1.0.1"])
        .exited(4)
        .says("that of another image");
}

/// Into a bucket, whose files nginx serves; packs go from it with the last recipe that names them.
#[test]
fn sealed_images_are_published_into_a_bucket_and_taken_away() {
    let mut scene = Scene::new();
    let (mut bob, mut mallory) = (scene.reader("bob"), scene.reader("mallory"));
    let server = Server::s3(&scene.publisher);
    let (access, secret) = Server::KEYS;
    let table = format!(
        "[[bucket]]\nurl = 's3://images'\nendpoint = 'http://127.0.0.1:{}'\nregion = 'us-east-1'\n\
         access-key-id = '{access}'\nsecret-access-key-file = 's3.secret'\ninsecure-http = true\n",
        server.port()
    );
    fs::write(scene.publisher.path("config/s3.secret"), format!("{secret}\n")).unwrap();
    fs::write(scene.publisher.path("config/config.toml"), table).unwrap();
    let site = ["--site", "s3://images/site", "--url", "https://example.com"];
    let publish = |scene: &Scene, version: &str| {
        let (id, file) = scene.build(version);
        let sealed = ["--delta", "--encrypt-to", "bob.asc"];
        let publish = [&["publish", &file][..], &site, &sealed].concat();
        (id, scene.publisher.dhow(&publish))
    };
    let bucket = scene.publisher.path("s3/images/site");
    let packs = |bucket: &Path| -> u64 {
        let packs = files(&bucket.join("PACKS"));
        packs.iter().map(|pack| pack.metadata().unwrap().len()).sum()
    };

    let (first, published) = publish(&scene, "1.0.0");
    published.success();
    publish(&scene, "1.0.0").1.says("was published already").success();
    let before = packs(&bucket);
    scene.large[5 << 20] ^= 1;
    let (second, published) = publish(&scene, "1.0.1");
    published.success();
    let added = packs(&bucket) - before;
    assert!(added > 0 && added < 100_000, "{added}");

    scene.nginx = Some(scene.publisher.nginx("s3/images/site"));
    let fetched = scene.fetch(&mut bob, &["example.com/app:1.0.0"]);
    assert_eq!(fetched.success().trim(), first);
    let before = scene.count();
    let fetched = scene.fetch(&mut bob, &["--delta", "always", "example.com/app:1.0.1"]);
    assert_eq!(fetched.success().trim(), second);
    let bytes: u64 = scene.requests(before).iter().map(|(_, bytes)| bytes).sum();
    assert!(bytes < 100_000, "{:?}", scene.requests(before));
    scene
        .fetch(&mut mallory, &["--delta", "always", "example.com/app:1.0.1"])
        .exited(1)
        .says("could not decrypt");
    let searched = [
        ("a name", NAME.as_bytes().to_vec()),
        ("a text", TEXT.as_bytes().to_vec()),
    ];
    for file in files(&bucket) {
        assert_eq!(
            found(&fs::read(&file).unwrap(), &searched),
            [""; 0],
            "{}",
            file.display()
        );
    }

    // The second needs what the first brought.
    let unpublish = |reference: &str| {
        let unpublish = [&["unpublish", reference][..], &site].concat();
        scene.publisher.dhow(&unpublish).success();
    };
    unpublish("example.com/app:1.0.0");
    fs::remove_dir_all(bob.path("data")).unwrap();
    let fetched = scene.fetch(&mut bob, &["--delta", "always", "example.com/app:1.0.1"]);
    assert_eq!(fetched.success().trim(), second);
    unpublish("example.com/app:1.0.1");
    assert_eq!(packs(&bucket), 0);
}

/// Without a site: found by their names, opened to see what they depend on, and carried as they were signed.
#[test]
fn sealed_images_are_carried_from_where_their_names_lead() {
    let mut scene = Scene::new();
    let (mut bob, mut mallory) = (scene.reader("bob"), scene.reader("mallory"));
    let sealed = ["--delta", "--encrypt-to", "bob.asc"];
    let first = scene.publish("1.0.0", &sealed);
    let manifest = json!({"acKind": "ImageManifest", "acVersion": "0.8.11", "name": "example.com/top",
        "dependencies": [{"imageName": "example.com/app", "labels": [{"name": "version", "value": "1.0.0"}]}]});
    fs::write(scene.publisher.path("manifest.json"), manifest.to_string()).unwrap();
    let top = scene.publisher.image("example.com/top").version("1.0.0");
    let top = top.arg("--manifest").arg(&scene.publisher.arg("manifest.json"));
    let top = top.build("top.aci");
    scene.publish_file("top.aci", &sealed).success();
    let open = scene
        .publisher
        .image("example.com/open")
        .version("1.0.0")
        .build("open.aci");
    scene.publish_file("open.aci", &[]).success();
    scene.serve();

    let bundle = scene.publisher.arg("sealed.bundle.tar");
    let export = |reader: &mut World, more: &[&str]| {
        reader.connect("example.com", scene.nginx.as_ref().unwrap().port());
        let ca = scene.publisher.arg("ca.pem");
        let export = ["--ca", &ca, "bundle", "export", "--overwrite", "-o", &bundle];
        reader.dhow(&[&export[..], more].concat())
    };
    export(&mut mallory, &["example.com/top"])
        .exited(1)
        .says("could not decrypt");
    assert!(!Path::new(&bundle).exists());
    let exported = export(&mut bob, &["--progress", "json", "example.com/top", "example.com/open"]);
    // What is done for each is told of each.
    for reference in ["example.com/top", "example.com/open"] {
        let is_of = |line: &str| {
            let event: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
            event["event"] == "begin" && event["reference"] == reference
        };
        assert!(exported.stderr.lines().any(is_of), "{}", exported.stderr);
    }
    let told = exported.success();
    let names: Vec<_> = told.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(names, ["example.com/app", "example.com/top", "example.com/open"]);
    // Nothing of it was kept, sealed or open.
    assert_eq!(bob.images().lines().count(), 1);
    let left = files(&bob.path("data/tmp"));
    assert!(left.is_empty(), "{left:?}");
    let bytes = fs::read(&bundle).unwrap();
    let archive = fs::read(scene.recipe("1.0.0").with_extension("")).unwrap();
    assert!(bytes.windows(archive.len()).any(|window| window == archive));
    assert_eq!(found(&bytes, &[("a text", TEXT.as_bytes().to_vec())]), [""; 0]);

    // Who has no key makes a site of it; who has one takes it in.
    make_site_of(&scene, &bundle, &mallory);
    let page = fs::read_to_string(scene.publisher.path("carried/app/index.html")).unwrap();
    assert!(page.contains(">encrypted<"), "{page}");
    let imported = bob.dhow(&["bundle", "import", &bundle]).success();
    for id in [&first, &top, &open] {
        assert!(imported.contains(id), "{imported}");
    }
}
