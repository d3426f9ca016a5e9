#![allow(clippy::unwrap_used)]
//! The attacks on update systems that TUF lists, one test each, and what a catalog resolves.

use chrono::TimeDelta;
use dhow_trust::{Certificate, KeyOptions, SecretKey, TrustPolicy, sign};
use openpgp::{cert::CertRevocationBuilder, parse::Parse as _, policy::StandardPolicy, serialize::Serialize as _};
use sequoia_openpgp as openpgp;
use tempfile::TempDir;

use super::*;

/// A keyring, a memory and a key that is trusted for `example.com`.
struct World {
    directory: TempDir,
    keyring: dhow_trust::Keyring,
    memory: CatalogMemory,
    key: SecretKey,
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn now() -> DateTime<Utc> {
    Utc::now()
}

fn key(user_id: &str) -> SecretKey {
    SecretKey::generate(user_id, &KeyOptions::default()).unwrap()
}

fn labels(version: &str) -> Labels {
    let mut labels = Labels::default();
    for (label, value) in [("version", version), ("os", "linux"), ("arch", "amd64")] {
        labels.insert(name(label), value).unwrap();
    }
    labels
}

fn image(text: &str, version: &str) -> CatalogImage {
    CatalogImage {
        name: name(text),
        labels: labels(version),
        id: ImageId::from_bytes([version.bytes().last().unwrap_or_default(); 64]),
        tar_size: 10_240,
        published: DateTime::UNIX_EPOCH,
        archive: FileFacts {
            size: 1000,
            sha256: "00".repeat(32),
        },
        recipe: None,
        torrent: None,
        yanked: None,
    }
}

fn catalog(serial: u64) -> Catalog {
    let images = vec![image("example.com/app", "1.0.0"), image("example.com/app", "1.1.0")];
    Catalog::new(name("example.com"), serial, now(), now() + TimeDelta::days(7), images)
}

fn signed_by(keys: &[&SecretKey], catalog: &Catalog) -> Vec<u8> {
    let json = catalog.to_json();
    let signatures = keys.iter().map(|key| {
        let signature = sign(key, json.as_slice()).unwrap();
        dhow_trust::Signature::parse(&signature).unwrap()
    });
    let all = signatures.reduce(dhow_trust::Signature::with).unwrap();
    SignedCatalog::new(json, all.to_armored()).into_bytes()
}

fn revoked(key: &SecretKey) -> Certificate {
    let cert = openpgp::Cert::from_bytes(&key.to_armored()).unwrap();
    let mut signer = cert
        .primary_key()
        .key()
        .clone()
        .parts_into_secret()
        .unwrap()
        .into_keypair()
        .unwrap();
    let revocation = CertRevocationBuilder::new()
        .set_reason_for_revocation(openpgp::types::ReasonForRevocation::KeyCompromised, b"stolen")
        .unwrap()
        .build(&mut signer, &cert, None)
        .unwrap();
    let (cert, _) = cert.insert_packets(revocation).unwrap();
    cert.with_policy(&StandardPolicy::new(), None).unwrap();
    let mut armored = Vec::new();
    cert.armored().serialize(&mut armored).unwrap();
    Certificate::parse(&armored).unwrap()
}

impl World {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let keyring = dhow_trust::Keyring::open(Vec::<std::path::PathBuf>::new(), directory.path().join("keys"));
        let world = Self {
            memory: CatalogMemory::open(directory.path().join("catalogs")),
            key: key("Carly <carly@example.com>"),
            keyring,
            directory,
        };
        world.trust(&world.key.certificate());
        world
    }

    fn trust(&self, certificate: &Certificate) {
        self.keyring.trust(Some(&name("example.com")), certificate).unwrap();
    }

    fn accept(&self, file: &[u8]) -> Result<Accepted, CatalogError> {
        self.accept_at(file, now())
    }

    fn accept_at(&self, file: &[u8], at: DateTime<Utc>) -> Result<Accepted, CatalogError> {
        self.memory.accept(file, &name("example.com"), &self.keyring, at)
    }

    fn sign(&self, catalog: &Catalog) -> Vec<u8> {
        signed_by(&[&self.key], catalog)
    }
}

/// Why a signature was not enough.
fn cause_of(error: CatalogError) -> dhow_trust::Error {
    match error {
        CatalogError::Signature { source, .. } => *source,
        other => panic!("{other}"),
    }
}

fn request(version: Option<&str>) -> Request {
    let mut asked = Labels::default();
    if let Some(version) = version {
        asked.insert(name("version"), version).unwrap();
    }
    let mut host = Labels::default();
    host.insert(name("os"), "linux").unwrap();
    host.insert(name("arch"), "amd64").unwrap();
    Request::new(name("example.com/app"), asked).with_defaults(host)
}

#[test]
fn a_catalog_is_believed_and_remembered() {
    let world = World::new();
    assert!(world.memory.prefix_of(&name("example.com/app")).is_none());
    let first = world.sign(&catalog(1));
    let accepted = world.accept(&first).unwrap();
    assert_eq!(accepted.verification.signers[0].fingerprint, world.key.fingerprint());
    assert_eq!(accepted.catalog.to_json(), SignedCatalog::read(&first).unwrap().json());
    world.accept(&first).unwrap();
    world.accept(&world.sign(&catalog(2))).unwrap();
    let prefix = world.memory.prefix_of(&name("example.com/app/sub")).unwrap();
    assert_eq!(prefix, name("example.com"));
    let recalled = world.memory.recall(&prefix, &world.keyring, now()).unwrap().unwrap();
    assert_eq!(recalled.catalog.serial, 2);
}

#[test]
fn arbitrary_install_what_nobody_trusted_signed_is_refused() {
    let world = World::new();
    let file = signed_by(&[&key("Mallory <mallory@evil.example>")], &catalog(1));
    let error = world.accept(&file).unwrap_err();
    let cause = cause_of(error);
    assert!(matches!(cause, dhow_trust::Error::UnknownSigner { .. }), "{cause}");
    let mut altered = world.sign(&catalog(1));
    let at = altered.windows(5).position(|window| window == b"1.0.0").unwrap();
    altered[at] = b'9';
    assert!(matches!(world.accept(&altered), Err(CatalogError::Signature { .. })));
    assert!(matches!(
        world.accept(&catalog(1).to_json()),
        Err(CatalogError::Unsigned)
    ));
    assert!(
        world.memory.prefix_of(&name("example.com")).is_none(),
        "nothing was kept"
    );
}

#[test]
fn rollback_an_older_catalog_is_refused() {
    let world = World::new();
    let old = world.sign(&catalog(6));
    world.accept(&world.sign(&catalog(7))).unwrap();
    let error = world.accept(&old).unwrap_err();
    assert!(
        matches!(error, CatalogError::Rollback { found: 6, seen: 7, .. }),
        "{error}"
    );
    assert!(world.memory.forget(&name("example.com")).unwrap());
    world.accept(&old).unwrap();
}

#[test]
fn freeze_an_expired_catalog_is_refused_also_if_it_is_the_newest_that_was_seen() {
    let world = World::new();
    let file = world.sign(&catalog(1));
    world.accept(&file).unwrap();
    let later = now() + TimeDelta::days(8);
    assert!(matches!(
        world.accept_at(&file, later),
        Err(CatalogError::Expired { .. })
    ));
    let recalled = world.memory.recall(&name("example.com"), &world.keyring, later);
    assert!(matches!(recalled, Err(CatalogError::Expired { .. })));
}

#[test]
fn fast_forward_the_serials_of_a_stolen_key_end_with_its_revocation() {
    let world = World::new();
    let thief = key("Carly's second key");
    world.trust(&thief.certificate());
    world.accept(&signed_by(&[&thief], &catalog(u64::MAX))).unwrap();
    let honest = world.sign(&catalog(8));
    assert!(matches!(world.accept(&honest), Err(CatalogError::Rollback { .. })));
    let outcome = world
        .keyring
        .update(&name("example.com"), &[revoked(&thief)], false)
        .unwrap();
    assert_eq!(outcome.len(), 1);
    world.accept(&honest).unwrap();
    let recalled = world
        .memory
        .recall(&name("example.com"), &world.keyring, now())
        .unwrap();
    assert_eq!(recalled.unwrap().catalog.serial, 8);
}

#[test]
fn key_compromise_with_revocation_a_revoked_key_signs_nothing_any_more() {
    let world = World::new();
    let file = world.sign(&catalog(1));
    world
        .keyring
        .update(&name("example.com"), &[revoked(&world.key)], false)
        .unwrap();
    let error = world.accept(&file).unwrap_err();
    let cause = cause_of(error);
    assert!(matches!(cause, dhow_trust::Error::KeyRevoked { .. }), "{cause}");
}

#[test]
fn an_expired_key_does_not_make_old_serials_good_again() {
    let world = World::new();
    let brief = KeyOptions::default();
    let mut options = brief.clone();
    options.created = Some(std::time::SystemTime::now() - std::time::Duration::from_secs(100));
    options.validity = Some(std::time::Duration::from_secs(102));
    let ending = SecretKey::generate("Ends soon", &options).unwrap();
    world.trust(&ending.certificate());
    world.accept(&signed_by(&[&ending], &catalog(9))).unwrap();
    std::thread::sleep(std::time::Duration::from_secs(3));
    let error = world.accept(&world.sign(&catalog(8))).unwrap_err();
    assert!(matches!(error, CatalogError::Rollback { .. }), "{error}");
}

#[test]
fn mix_and_match_a_catalog_of_another_prefix_or_with_the_same_serial_is_refused() {
    let world = World::new();
    let other = Catalog::new(
        name("example.com/app"),
        1,
        now(),
        now() + TimeDelta::days(1),
        Vec::new(),
    );
    assert!(matches!(
        world.accept(&world.sign(&other)),
        Err(CatalogError::OtherPrefix { .. })
    ));
    world.accept(&world.sign(&catalog(3))).unwrap();
    let mut fork = catalog(3);
    fork.images.pop();
    assert!(matches!(
        world.accept(&world.sign(&fork)),
        Err(CatalogError::Forked { serial: 3, .. })
    ));
}

#[test]
fn endless_data_a_file_beyond_all_measure_is_refused() {
    let world = World::new();
    let mut endless = catalog(1).to_json();
    endless.resize(SignedCatalog::MAX_SIZE + 1, b' ');
    assert!(matches!(world.accept(&endless), Err(CatalogError::TooLarge { .. })));
}

#[test]
fn extraneous_images_of_others_are_refused() {
    let world = World::new();
    for stranger in ["example.org/app", "example.community/app"] {
        let mut catalog = catalog(1);
        catalog.images.push(image(stranger, "1.0.0"));
        let error = world.accept(&world.sign(&catalog)).unwrap_err();
        assert!(error.to_string().contains(stranger), "{error}");
    }
}

#[test]
fn wrong_signer_a_key_for_another_prefix_is_refused() {
    let world = World::new();
    let other = key("Dora <dora@example.org>");
    world
        .keyring
        .trust(Some(&name("example.org")), &other.certificate())
        .unwrap();
    world
        .keyring
        .trust(Some(&name("example.com/app")), &other.certificate())
        .unwrap();
    let error = world.accept(&signed_by(&[&other], &catalog(1))).unwrap_err();
    let cause = cause_of(error);
    assert!(matches!(cause, dhow_trust::Error::NotTrustedForName { .. }), "{cause}");
}

#[test]
fn a_key_for_one_name_vouches_for_that_name_alone() {
    let world = World::new();
    let team = key("Team <team@example.com>");
    let app = name("example.com/app");
    world.keyring.trust(Some(&app), &team.certificate()).unwrap();
    let accept = |of: &Name, file: &[u8]| {
        world
            .memory
            .accept_for(of, file, &name("example.com"), &world.keyring, now())
    };
    let newer = signed_by(&[&team], &catalog(u64::MAX));
    assert_eq!(accept(&app, &newer).unwrap().catalog.serial, u64::MAX);
    let older = accept(&app, &signed_by(&[&team], &catalog(7)));
    assert!(matches!(older, Err(CatalogError::Rollback { .. })));
    let recalled = world.memory.recall_for(&app, &world.keyring, now()).unwrap().unwrap();
    assert_eq!(recalled.catalog.serial, u64::MAX);
    assert_eq!(world.memory.prefix_of(&app), Some(name("example.com")));

    let other = accept(&name("example.com/other"), &newer).unwrap_err();
    let cause = cause_of(other);
    assert!(matches!(cause, dhow_trust::Error::NotTrustedForName { .. }), "{cause}");
    assert_eq!(world.memory.prefix_of(&name("example.com/other")), None);
    // Nor can it make the serials of the whole prefix grow.
    let honest = world.sign(&catalog(8));
    accept(&app, &honest).unwrap();
    accept(&name("example.com/other"), &honest).unwrap();
}

#[test]
fn threshold_change_more_signers_are_asked_for_from_then_on() {
    let world = World::new();
    let second = key("Dora <dora@example.com>");
    world.trust(&second.certificate());
    world.accept(&world.sign(&catalog(1))).unwrap();
    let policy = TrustPolicy {
        threshold: 2.try_into().unwrap(),
        ..TrustPolicy::default()
    };
    world.keyring.set_policy(Some(&name("example.com")), &policy).unwrap();
    let alone = world.accept(&world.sign(&catalog(2))).unwrap_err();
    let cause = cause_of(alone);
    assert!(matches!(cause, dhow_trust::Error::PolicyNotMet { .. }), "{cause}");
    world.accept(&signed_by(&[&world.key, &second], &catalog(2))).unwrap();
    let older = world.accept(&signed_by(&[&world.key, &second], &catalog(1)));
    assert!(matches!(older, Err(CatalogError::Rollback { .. })));
}

#[test]
fn clock_set_back_and_catalogs_from_the_future_are_noticed() {
    let world = World::new();
    let file = world.sign(&catalog(1));
    world.accept(&file).unwrap();
    let error = world.accept_at(&file, now() - TimeDelta::days(30)).unwrap_err();
    assert!(matches!(error, CatalogError::ClockBehind { .. }), "{error}");
    let mut early = catalog(2);
    early.issued = now() + TimeDelta::days(1);
    early.expires = now() + TimeDelta::days(2);
    assert!(matches!(
        world.accept(&world.sign(&early)),
        Err(CatalogError::FromTheFuture { .. })
    ));
    let mut backwards = catalog(2);
    backwards.expires = backwards.issued - TimeDelta::days(1);
    assert!(world.accept(&world.sign(&backwards)).is_err());
}

#[test]
fn what_is_signed_but_no_catalog_is_refused() {
    let world = World::new();
    for json in [
        "{}\n".to_owned(),
        "[\n".to_owned(),
        String::from_utf8(catalog(1).to_json())
            .unwrap()
            .replace("dhow-catalog", "poem"),
        String::from_utf8(catalog(1).to_json())
            .unwrap()
            .replace("\"format\": 1", "\"format\": 2"),
    ] {
        let signature = sign(&world.key, json.as_bytes()).unwrap();
        let file = SignedCatalog::new(json.clone().into_bytes(), signature).into_bytes();
        assert!(
            matches!(
                world.accept(&file),
                Err(CatalogError::Malformed(_) | CatalogError::Format { .. })
            ),
            "{json}"
        );
    }
}

#[test]
fn a_damaged_memory_is_an_error_and_no_blank_sheet() {
    let world = World::new();
    world.accept(&world.sign(&catalog(5))).unwrap();
    std::fs::write(world.directory.path().join("catalogs/example.com.catalog"), "gone").unwrap();
    assert!(world.accept(&world.sign(&catalog(4))).is_err());
}

#[test]
fn versions_and_ranges_resolve() {
    let mut images: Vec<_> = ["0.9.0", "1.0.0", "1.2.0", "1.10.0", "2.0.0-rc.1", "2.0.0", "nightly"]
        .map(|version| image("example.com/app", version))
        .into();
    images.push(image("example.com/other", "3.0.0"));
    for image in &mut images {
        if image.labels.get("version") == Some("2.0.0") {
            image.yanked = Some("it eats data".to_owned());
        }
    }
    let catalog = Catalog::new(name("example.com"), 1, now(), now() + TimeDelta::days(1), images);
    let resolve = |version: Option<&str>| {
        let image = catalog.resolve(&request(version)).map_err(|error| error.to_string())?;
        Ok::<_, String>(image.labels.get("version").unwrap().to_owned())
    };
    for (wanted, found) in [
        (None, "1.10.0"),
        (Some("latest"), "1.10.0"),
        (Some(""), "1.10.0"),
        (Some("^1.0"), "1.10.0"),
        (Some("^1"), "1.10.0"),
        (Some("~1.2"), "1.2.0"),
        (Some("1.*"), "1.10.0"),
        (Some("*"), "1.10.0"),
        (Some(">=1 <1.10"), "1.2.0"),
        (Some("<1"), "0.9.0"),
        (Some("=1.2.0"), "1.2.0"),
        (Some("1.2.0"), "1.2.0"),
        (Some("nightly"), "nightly"),
        (Some("2.0.0"), "2.0.0"),
        (Some("^2.0.0-rc.1"), "2.0.0-rc.1"),
    ] {
        assert_eq!(resolve(wanted).as_deref(), Ok(found), "{wanted:?}");
    }
    assert!(resolve(Some("^2")).unwrap_err().contains("yanked"));
    assert!(resolve(Some("1.2")).unwrap_err().contains("`version=1.2`"));
    assert!(resolve(Some("^x")).unwrap_err().contains("`^x` is no range"));
    let other = Request::new(name("example.com/none"), Labels::default());
    assert!(catalog.resolve(&other).is_err());
}

#[test]
fn another_platform_s_images_are_passed_over() {
    let mut arm = image("example.com/app", "3.0.0");
    arm.labels = {
        let mut labels = Labels::default();
        for (label, value) in [("version", "3.0.0"), ("os", "linux"), ("arch", "aarch64")] {
            labels.insert(name(label), value).unwrap();
        }
        labels
    };
    let mut catalog = catalog(1);
    catalog.images.insert(0, arm);
    let found = catalog.resolve(&request(None)).unwrap();
    assert_eq!(found.labels.get("version"), Some("1.1.0"));
}

#[test]
fn lines_changed_one_by_one_are_those_of_the_whole() {
    let texts = [
        ("example.com/b", "1.2.0"),
        ("example.com/app", "1.10.0"),
        ("example.com/app", "1.9.0"),
        ("example.com/app", "nightly"),
        ("example.com/app", "2.0.0-rc.1"),
        ("example.com/app/sub", "1.0.0"),
        ("example.com/app-2", "1.0.0"),
        ("example.com", "3.0.0"),
    ];
    let images: Vec<_> = texts.iter().map(|(name, version)| image(name, version)).collect();
    let whole = |images: &[CatalogImage]| {
        let (issued, expires) = (DateTime::UNIX_EPOCH, DateTime::UNIX_EPOCH + TimeDelta::days(1));
        Catalog::new(name("example.com"), 7, issued, expires, images.to_vec())
    };
    let mut lines = CatalogLines::of(&whole(&[]));
    for (count, image) in (1..).zip(&images) {
        lines.insert(image).unwrap();
        let json = whole(&images[..count]).to_json();
        assert_eq!(lines.to_json(), json);
        assert_eq!(CatalogLines::from_json(&json.into()).unwrap(), lines);
    }
    assert_eq!(lines.len(), images.len());
    let names: Vec<_> = lines.names().map(|name| name.to_string()).collect();
    let expected = [
        "example.com",
        "example.com/app",
        "example.com/app-2",
        "example.com/app/sub",
        "example.com/b",
    ];
    assert_eq!(names, expected);

    // Another platform's, another version's and another name's stay.
    lines.remove(&name("example.com/app"), "1.9.0", |_| false).unwrap();
    lines.remove(&name("example.com/app"), "1.9", |_| true).unwrap();
    assert_eq!(lines.len(), images.len());
    lines
        .remove(&name("example.com/app"), "1.9.0", |labels| {
            labels.get("os") == Some("linux")
        })
        .unwrap();
    let left = images
        .iter()
        .filter(|image| image.labels.get("version") != Some("1.9.0"));
    let left: Vec<_> = left.cloned().collect();
    assert_eq!(lines.to_json(), whole(&left).to_json());
}

#[test]
fn lines_of_other_json_are_the_same() {
    let catalog = catalog(1);
    let pretty = serde_json::to_vec_pretty(&catalog).unwrap();
    assert_ne!(pretty, catalog.to_json());
    assert_eq!(
        CatalogLines::from_json(&pretty.into()).unwrap(),
        CatalogLines::of(&catalog)
    );
    let mut unsorted = catalog.clone();
    unsorted.images.insert(0, image("example.com/z", "1.0.0"));
    let unsorted = CatalogLines::of(&unsorted).to_json();
    let names: Vec<_> = CatalogLines::from_json(&unsorted.into()).unwrap().names().collect();
    assert_eq!(names, [name("example.com/app"), name("example.com/z")]);

    let mut foreign = catalog.clone();
    foreign.images.push(image("example.community/app", "1.0.0"));
    let error = CatalogLines::from_json(&foreign.to_json().into()).unwrap_err();
    assert!(matches!(error, CatalogError::Extraneous { .. }), "{error}");
    for text in [&b"{}"[..], b"", b"{\"kind\":\"dhow-catalog\"", b"\xff"] {
        CatalogLines::from_json(&text.into()).unwrap_err();
    }
}
