//! GnuPG and dhow believe each other's signatures.

use std::fs;

use dhow_tests::World;

#[test]
fn gpg_signs_and_dhow_verifies() {
    for algorithm in ["ed25519", "rsa3072"] {
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
