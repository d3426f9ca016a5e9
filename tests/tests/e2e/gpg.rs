//! GnuPG and dhow believe each other's signatures.

use std::fs;

use dhow_tests::World;

#[test]
fn gpg_signs_and_dhow_verifies() {
    for algorithm in ["ed25519", "rsa4096"] {
        let world = World::new();
        let gpg = world.gpg();
        gpg.generate("Greta <greta@example.com>", algorithm);
        let id = world.image("example.com/app").version("1").build("app.aci");
        gpg.run(&[
            "--armor",
            "--detach-sign",
            "--output",
            &world.arg("app.aci.asc"),
            &world.arg("app.aci"),
        ])
        .success();
        gpg.run(&["--armor", "--export", "--output", &world.arg("greta.asc"), "greta"])
            .success();

        world
            .dhow(&["verify", "app.aci"])
            .exited(4)
            .says("no trusted key made the signature");
        world
            .dhow(&["trust", "add", "--prefix", "example.com", "greta.asc", "--yes"])
            .success();
        let verified = world.dhow(&["verify", "app.aci"]).success();
        assert!(verified.contains("Greta <greta@example.com>"), "{verified}");
        assert_eq!(world.dhow(&["fetch", "./app.aci"]).success().trim(), id);

        let mut bytes = fs::read(world.path("app.aci")).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(world.path("app.aci"), bytes).unwrap();
        world.dhow(&["verify", "app.aci"]).exited(4).says("altered");
    }
}

/// rkt, whose OpenPGP is Go's of its time, reads what this reads of RSA.
#[test]
fn a_key_is_of_rsa_where_that_is_asked_for() {
    let world = World::new();
    world
        .dhow(&["key", "generate", "--algorithm", "rsa", "Carly <carly@example.com>"])
        .success();
    world.image("example.com/app").version("1").build("app.aci");
    world.dhow(&["sign", "app.aci"]).success();
    world.dhow(&["key", "export", "carly", "-o", "carly.asc"]).success();
    let gpg = world.gpg();
    gpg.run(&["--import", &world.arg("carly.asc")]).success();
    let listed = gpg.run(&["--with-colons", "--list-keys"]).success();
    let kinds = listed
        .lines()
        .filter(|line| line.starts_with("pub:") || line.starts_with("sub:"));
    let kinds: Vec<_> = kinds
        .map(|line| line.split(':').skip(2).take(2).collect::<Vec<_>>())
        .collect();
    assert_eq!(kinds, [["3072", "1"], ["3072", "1"]], "{listed}");
    gpg.run(&["--verify", &world.arg("app.aci.asc"), &world.arg("app.aci")])
        .success();
}

#[test]
fn dhow_signs_and_gpg_verifies() {
    let world = World::new();
    world.key();
    world.image("example.com/app").version("1").build("app.aci");
    world.dhow(&["sign", "app.aci"]).success();
    world.dhow(&["key", "export", "carly", "-o", "carly.asc"]).success();

    let gpg = world.gpg();
    gpg.run(&["--import", &world.arg("carly.asc")]).success();
    let verify = || {
        gpg.run(&[
            "--status-fd",
            "1",
            "--verify",
            &world.arg("app.aci.asc"),
            &world.arg("app.aci"),
        ])
    };
    let status = verify().success();
    assert!(
        status.contains("GOODSIG") && status.contains("Carly <carly@example.com>"),
        "{status}"
    );

    let mut bytes = fs::read(world.path("app.aci")).unwrap();
    bytes[1000] ^= 1;
    fs::write(world.path("app.aci"), bytes).unwrap();
    let bad = verify();
    assert!(bad.code != 0 && bad.stdout.contains("BADSIG"), "{bad:?}");
}

/// The three steps of the specification's example (aci.md, "Image Archives"), made by gpg: the archive encrypted with a
/// passphrase, then signed.
#[test]
fn the_encrypted_image_of_the_specification_is_fetched() {
    let world = World::new();
    let gpg = world.gpg();
    gpg.generate("Greta <greta@example.com>", "ed25519");
    let id = world
        .image("example.com/reduce-worker")
        .version("1")
        .build("reduce-worker.aci");
    let (archive, sealed) = (world.arg("reduce-worker.aci"), world.arg("sealed.aci"));
    gpg.run(&[
        "--output",
        &sealed,
        "--digest-algo",
        "sha256",
        "--cipher-algo",
        "AES256",
        "--passphrase",
        "sekr3t",
        "--symmetric",
        &archive,
    ])
    .success();
    let signature = world.arg("sealed.aci.asc");
    gpg.run(&["--armor", "--output", &signature, "--detach-sig", &sealed])
        .success();
    gpg.run(&["--armor", "--export", "--output", &world.arg("greta.asc"), "greta"])
        .success();
    fs::write(world.path("right"), "sekr3t\n").unwrap();
    fs::write(world.path("wrong"), "secret\n").unwrap();

    // The signature first: a stranger's file is not decrypted.
    let fetch = |passphrase: &str| world.dhow(&["fetch", "./sealed.aci", "--passphrase-file", passphrase]);
    fetch("right").exited(4).says("no trusted key made the signature");
    world
        .dhow(&["trust", "add", "--prefix", "example.com", "greta.asc", "--yes"])
        .success();
    fetch("wrong").exited(1).says("could not decrypt");
    world
        .dhow(&["fetch", "./sealed.aci"])
        .exited(1)
        .says("--passphrase-file");
    assert!(!world.images().contains("reduce-worker"));
    assert_eq!(fetch("right").success().trim(), id);
    let shown = world.dhow(&["image", "show", "example.com/reduce-worker"]).success();
    assert!(
        shown.contains("encrypted yes (AES-256), opened with a passphrase"),
        "{shown}"
    );
    assert!(shown.contains("Greta <greta@example.com>"), "{shown}");

    let right = ["--passphrase-file", "right"];
    for command in [
        &["verify", "sealed.aci"][..],
        &["validate", "sealed.aci"],
        &["manifest", "sealed.aci"],
    ] {
        let told = world.dhow(&[command, &right].concat()).success();
        assert!(told.contains("sealed.aci") || told.contains("reduce-worker"), "{told}");
    }
    world
        .dhow(&["verify", "sealed.aci", "--name", "example.com/reduce-worker"])
        .success();
    let decrypt = ["decrypt", "sealed.aci", "-o", "plain.aci"];
    world.dhow(&[&decrypt[..], &right].concat()).success();
    assert_eq!(
        fs::read(world.path("plain.aci")).unwrap(),
        fs::read(world.path("reduce-worker.aci")).unwrap()
    );

    // Trusted, but for another name than the one that is inside.
    world
        .dhow(&["trust", "remove", "--prefix", "example.com", &trusted(&world)])
        .success();
    world
        .dhow(&["trust", "add", "--prefix", "example.org", "greta.asc", "--yes"])
        .success();
    fetch("right")
        .exited(4)
        .says("not trusted for `example.com/reduce-worker`");
}

/// The fingerprint of the one key that a keyring holds.
fn trusted(world: &World) -> String {
    let listed = world.dhow(&["trust", "list", "--format", "json"]).success();
    let start = listed.find("\"fingerprint\":\"").unwrap() + 15;
    listed[start..start + 40].to_owned()
}

#[test]
fn an_image_encrypted_for_a_key_is_published_and_fetched() {
    let mut world = World::new();
    let publisher = world.key();
    let id = world.image("example.com/app").version("1").build("app.aci");
    let gpg = world.gpg();
    gpg.run(&[
        "--quick-generate-key",
        "Greta <greta@example.com>",
        "rsa4096",
        "sign,encr",
        "never",
    ])
    .success();
    gpg.run(&["--armor", "--export", "--output", &world.arg("greta.asc"), "greta"])
        .success();
    let to = ["--to", "carly@example.com", "--to", "greta.asc"];
    world
        .dhow(&[&["encrypt", "app.aci", "-o", "sealed.aci"][..], &to].concat())
        .success();
    world.dhow(&["sign", "sealed.aci"]).success();

    // gpg opens it with its own key.
    gpg.run(&[
        "--output",
        &world.arg("by-gpg.aci"),
        "--decrypt",
        &world.arg("sealed.aci"),
    ])
    .success();
    assert_eq!(
        fs::read(world.path("by-gpg.aci")).unwrap(),
        fs::read(world.path("app.aci")).unwrap()
    );

    // Anybody serves it as it is; the client opens it with the user's key.
    fs::create_dir_all(world.path("site")).unwrap();
    let head = "<head><meta name=\"ac-discovery\" content=\"example.com https://example.com/{name}.{ext}\"></head>";
    fs::create_dir_all(world.path("site/example.com")).unwrap();
    fs::write(world.path("site/index.html"), head).unwrap();
    fs::copy(world.path("sealed.aci"), world.path("site/example.com/app.aci")).unwrap();
    fs::copy(world.path("sealed.aci.asc"), world.path("site/example.com/app.aci.asc")).unwrap();
    let _nginx = world.nginx("site");
    world.dhow(&["key", "export", "carly", "-o", "carly.asc"]).success();
    world
        .dhow(&[
            "trust",
            "add",
            "--prefix",
            "example.com",
            "carly.asc",
            "--fingerprint",
            &publisher,
        ])
        .success();
    assert_eq!(world.dhow(&["fetch", "example.com/app:1"]).success().trim(), id);
    let shown = world.dhow(&["image", "show", "example.com/app"]).success();
    assert!(shown.contains("opened with the key"), "{shown}");
}

#[test]
fn a_tampered_encrypted_file_leaves_nothing() {
    let world = World::new();
    world.key();
    let noise: Vec<u8> = (0..1_000_000_u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    fs::write(world.path("file"), noise).unwrap();
    world
        .dhow(&["encrypt", "file", "--to", "carly", "-o", "sealed"])
        .success();
    let mut bytes = fs::read(world.path("sealed")).unwrap();
    let late = bytes.len() - 1000;
    bytes[late] ^= 1;
    fs::write(world.path("sealed"), bytes).unwrap();
    let before = fs::read_dir(world.path("")).unwrap().count();
    world
        .dhow(&["decrypt", "sealed", "-o", "out"])
        .exited(4)
        .says("altered or cut short");
    assert!(!world.path("out").exists());
    assert_eq!(
        fs::read_dir(world.path("")).unwrap().count(),
        before,
        "no temporary file is left"
    );
    world
        .dhow(&["decrypt", "file", "-o", "out"])
        .exited(4)
        .says("no encrypted file");
}

#[test]
fn encrypting_needs_little_memory_and_can_take_compression_away() {
    let world = World::new();
    fs::write(world.path("passphrase"), "sekr3t\n").unwrap();
    let file = fs::File::create(world.path("large")).unwrap();
    file.set_len(300 << 20).unwrap();
    let given = ["--passphrase-file", "passphrase"];
    for aead in [&[][..], &["--aead"]] {
        let sealed = world.dhow(&[&["encrypt", "large", "-o", "sealed", "--overwrite"][..], &given, aead].concat());
        let opened = world.dhow(&[&["decrypt", "sealed", "-o", "opened", "--overwrite"][..], &given].concat());
        for outcome in [sealed.exited(0), opened.exited(0)] {
            assert!(
                outcome.peak_memory < 64 << 20,
                "{} bytes: {}",
                outcome.peak_memory,
                outcome.line
            );
        }
        assert_eq!(fs::metadata(world.path("opened")).unwrap().len(), 300 << 20);
    }

    let id = world
        .image("example.com/app")
        .version("1")
        .file("zeros", &[0; 1 << 20])
        .build("app.aci");
    let encrypt = |output: &str, more: &[&str]| {
        world
            .dhow(&[&["encrypt", "app.aci", "-o", output][..], &given, more].concat())
            .success();
        fs::metadata(world.path(output)).unwrap().len()
    };
    let compressed = encrypt("compressed.aci", &[]);
    let plain = encrypt("plain.aci", &["--no-compression"]);
    assert!(plain > compressed + (1 << 20), "{plain}, {compressed}");
    world
        .dhow(&[&["decrypt", "plain.aci", "-o", "app.tar"][..], &given].concat())
        .success();
    assert!(world.dhow(&["validate", "app.tar"]).success().contains(&id));
}

#[test]
fn keys_are_locked_imported_and_used_through_gpg_agent() {
    let world = World::new();
    fs::write(world.path("right"), "sekr3t\n").unwrap();
    fs::write(world.path("wrong"), "secret\n").unwrap();
    fs::write(world.path("new"), "other\n").unwrap();
    world.image("example.com/app").version("1").build("app.aci");
    let generate = [
        "key",
        "generate",
        "Carly <carly@example.com>",
        "--passphrase-file",
        "right",
    ];
    world.dhow(&generate).success();
    assert!(world.dhow(&["key", "list"]).success().contains("locked"));
    let sign = |more: &[&str]| world.dhow(&[&["sign", "app.aci", "--overwrite"][..], more].concat());
    sign(&[]).exited(1).says("--passphrase-file");
    sign(&["--passphrase-file", "wrong"]).exited(1).says("does not unlock");
    sign(&["--passphrase-file", "right"]).success();
    world
        .dhow(&[
            "key",
            "passphrase",
            "carly",
            "--passphrase-file",
            "right",
            "--new-passphrase-file",
            "new",
        ])
        .success();
    sign(&["--passphrase-file", "right"]).exited(1);
    sign(&["--passphrase-file", "new"]).success();

    // Out with its secret, into gpg, which signs with it.
    world
        .dhow(&["key", "export", "carly", "--secret", "-o", "carly.key.asc"])
        .success();
    let gpg = world.gpg();
    gpg.run(&["--passphrase", "other", "--import", &world.arg("carly.key.asc")])
        .success();

    // In from gpg: a secret key, and a public one, for which gpg-agent signs.
    gpg.generate("Greta <greta@example.com>", "rsa3072");
    gpg.generate("Agnes <agnes@example.com>", "ed25519");
    let export = |what: &str, who: &str, file: &str| {
        gpg.run(&["--armor", "--output", &world.arg(file), what, who]).success();
    };
    export("--export-secret-keys", "greta", "greta.key.asc");
    export("--export", "agnes", "agnes.asc");
    for file in ["greta.key.asc", "agnes.asc"] {
        world.dhow(&["key", "import", file]).success();
    }
    let listed = world.dhow(&["key", "list"]).success();
    assert!(
        listed.contains("not locked") && listed.contains("in gpg-agent"),
        "{listed}"
    );
    let mut command = world.dhow_command(&["sign", "app.aci", "--add", "--key", "agnes"]);
    dhow_tests::Outcome::of(command.env("GNUPGHOME", gpg.home())).success();
    world.dhow(&["sign", "app.aci", "--add", "--key", "greta"]).success();

    // Three signatures in one file, and gpg believes each.
    let (signature, archive) = (world.arg("app.aci.asc"), world.arg("app.aci"));
    let status = gpg
        .run(&["--status-fd", "1", "--verify", &signature, &archive])
        .success();
    assert_eq!(status.matches("VALIDSIG").count(), 3, "{status}");
}

#[test]
fn a_policy_asks_for_several_signers() {
    let world = World::new();
    for user_id in ["Ann <ann@example.com>", "Bob <bob@example.com>"] {
        world.dhow(&["key", "generate", user_id, "--no-passphrase"]).success();
    }
    let carly = world.key();
    world.image("example.com/app").version("1").build("app.aci");
    for who in ["ann", "bob", "carly"] {
        world.dhow(&["key", "export", who, "-o", "key.asc"]).success();
        world
            .dhow(&["trust", "add", "--prefix", "example.com", "key.asc", "--yes"])
            .success();
    }
    world.dhow(&["sign", "app.aci", "--key", "ann"]).success();
    world.dhow(&["fetch", "./app.aci"]).success();
    world
        .dhow(&[
            "trust",
            "policy",
            "set",
            "--prefix",
            "example.com",
            "--threshold",
            "2",
            "--require",
            &carly,
        ])
        .success();
    let shown = world
        .dhow(&["trust", "policy", "show", "--name", "example.com/app"])
        .success();
    assert!(shown.contains("2 different trusted keys must sign"), "{shown}");

    let fetch = || world.dhow(&["fetch", "./app.aci"]);
    fetch()
        .exited(4)
        .says("the policy of `example.com` is not met")
        .says("dhow trust policy show");
    world.dhow(&["sign", "app.aci", "--key", "ann", "--add"]).success();
    fetch().exited(4);
    world.dhow(&["sign", "app.aci", "--key", "bob", "--add"]).success();
    fetch().exited(4).says("asks for a signature by");
    world.dhow(&["sign", "app.aci", "--key", "carly", "--add"]).success();
    fetch().success();
    let verified = world.dhow(&["verify", "app.aci"]).success();
    assert!(
        verified.contains("accepted by the policy of `example.com`: 2 of 3 trusted keys"),
        "{verified}"
    );

    fs::write(
        world.path("config/trustedkeys/policy.d/example.com/POLICY.toml"),
        "treshold = 1\n",
    )
    .unwrap();
    world.dhow(&["verify", "app.aci"]).exited(1).says("POLICY.toml");
    world
        .dhow(&["trust", "policy", "remove", "--prefix", "example.com"])
        .exited(1);
}

#[test]
fn a_certified_successor_is_accepted_and_nobody_else() {
    let world = World::new();
    let gpg = world.gpg();
    let old_time = ["--faked-system-time", "20240301T120000"];
    let carly = "Carly <carly@example.com>";
    gpg.run(
        &[
            &old_time[..],
            &["--quick-generate-key", carly, "ed25519", "sign", "never"],
        ]
        .concat(),
    )
    .success();
    gpg.run(&[
        "--armor",
        "--export-secret-keys",
        "--output",
        &world.arg("old.key.asc"),
        "carly",
    ])
    .success();
    gpg.run(&["--armor", "--export", "--output", &world.arg("old.asc"), "carly"])
        .success();
    let new = world.key();
    let update = |file: &str| world.dhow(&["trust", "update", "--prefix", "example.com", file]);
    world
        .dhow(&["trust", "add", "--prefix", "example.com", "old.asc", "--yes"])
        .success();
    world.dhow(&["key", "export", "carly", "-o", "new.asc"]).success();
    assert_eq!(update("new.asc").says("Left alone").success(), "");
    world.image("example.com/app").version("1").build("app.aci");
    world.dhow(&["sign", "app.aci"]).success();
    world.dhow(&["verify", "app.aci"]).exited(4);

    world
        .dhow(&["key", "certify", "carly", "--by", "old.key.asc"])
        .success();
    world.dhow(&["key", "export", "carly", "-o", "certified.asc"]).success();
    assert_eq!(update("certified.asc").success().trim(), new);
    world.dhow(&["verify", "app.aci"]).success();
}

#[test]
fn a_signature_is_not_put_beside_those_of_other_bytes() {
    let world = World::new();
    let gpg = world.gpg();
    gpg.generate("Greta <greta@example.com>", "ed25519");
    world.key();
    let archive = world.arg("app.aci");
    let sign = || {
        let signature = world.arg("app.aci.asc");
        gpg.run(&["--armor", "--yes", "--detach-sign", "--output", &signature, &archive])
            .success();
    };
    world.image("example.com/app").version("1").build("app.aci");
    sign();
    // Nobody here knows Greta's key, but her signature fits.
    world.dhow(&["sign", "app.aci", "--add"]).success();
    world.dhow(&["sign", "app.aci", "--add"]).success();
    let before = fs::read(world.path("app.aci.asc")).unwrap();

    world
        .dhow(&["patch", "app.aci", "--label", "version=2", "--overwrite"])
        .success();
    world
        .dhow(&["sign", "app.aci", "--add"])
        .exited(4)
        .says("Could not add to `app.aci.asc`")
        .says("is of other bytes");
    assert_eq!(fs::read(world.path("app.aci.asc")).unwrap(), before);
    sign();
    world.dhow(&["sign", "app.aci", "--add"]).success();
    // One's own of the old bytes is replaced.
    world.dhow(&["sign", "app.aci", "--overwrite"]).success();
    world
        .dhow(&["patch", "app.aci", "--label", "version=3", "--overwrite"])
        .success();
    world.dhow(&["sign", "app.aci", "--add"]).success();
}
