//! Both ways between dhow and the gpg of this machine: keys, signatures, and every way to be refused.
#![allow(clippy::unwrap_used, missing_docs)]

mod encryption;
mod home;

use std::path::Path;

use dhow_image::Name;
use dhow_trust::{
    Certificate, Error, ErrorKind, KeyOptions, Keyring, SecretKey, Signature, TrustRule, Verification, sign,
    verify_detached, verify_with_certificates,
};
use home::{Gpg, text};

const CARLY: &str = "Carly Container <carly@example.com>";

fn data() -> Vec<u8> {
    (0..300_000_u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect()
}

fn own_key() -> SecretKey {
    SecretKey::generate(CARLY, &KeyOptions::default()).unwrap()
}

fn verify(certificate: &Certificate, signature: &[u8], data: &[u8]) -> Result<Verification, Error> {
    verify_with_certificates(std::slice::from_ref(certificate), signature, data)
}

#[test]
fn gpg_signs_and_dhow_verifies() {
    let gpg = Gpg::new();
    let data = data();
    for algorithm in ["ed25519", "rsa3072"] {
        let user_id = format!("{algorithm} <{algorithm}@example.com>");
        let fingerprint = gpg.generate(algorithm, &user_id);
        // The keyring is laid out by hand, with what gpg exports, as rkt's guide has it.
        let config = gpg.path(algorithm);
        let place = config.join("trustedkeys/prefix.d/example.com/app");
        std::fs::create_dir_all(&place).unwrap();
        std::fs::write(
            place.join(fingerprint.to_lowercase()),
            gpg.run(&["--export", &user_id], b""),
        )
        .unwrap();
        let keyring = Keyring::open(None::<&Path>, config);
        let name = Name::new("example.com/app/tool").unwrap();

        for options in [&["--armor"][..], &[]] {
            let signature = gpg.sign_with(&user_id, &data, options);
            keyring
                .may_verify(&name, &Signature::parse(&signature).unwrap())
                .unwrap();
            let verification = verify_detached(&keyring, &name, &signature, &data[..]).unwrap();
            let signer = &verification.signers[0];
            assert_eq!(format!("{:#}", signer.fingerprint), fingerprint);
            assert_eq!(signer.user_id.as_ref(), Some(&user_id));
            assert_eq!(
                signer.trusted_by,
                TrustRule::Prefix(Name::new("example.com/app").unwrap())
            );
        }
    }
}

#[test]
fn dhow_signs_and_gpg_verifies() {
    let gpg = Gpg::new();
    let data = data();
    let key = own_key();
    gpg.import(&key.certificate().to_armored());
    let signature = sign(&key, &data[..]).unwrap();
    let status = gpg.verify(&signature, &data).unwrap();
    let fingerprint = key.fingerprint().to_hex();
    assert!(
        status.contains(&format!("GOODSIG {} {CARLY}", &fingerprint[24..])),
        "{status}"
    );
    let valid = status
        .lines()
        .find_map(|line| line.strip_prefix("[GNUPG:] VALIDSIG "))
        .unwrap();
    let fields: Vec<_> = valid.split(' ').collect();
    assert_eq!(fields[0], fingerprint);
    // Signature version 4, EdDSA, SHA-256, class 00 (GnuPG, doc/DETAILS, VALIDSIG).
    assert_eq!(fields[4..9], ["4", "0", "22", "8", "00"]);

    let mut altered = data;
    altered[150_000] ^= 1;
    assert!(gpg.verify(&signature, &altered).unwrap_err().contains("BADSIG"));
}

#[test]
fn gpg_lists_our_key_as_we_meant_it() {
    let gpg = Gpg::new();
    let key = own_key();
    gpg.import(&key.certificate().to_armored());
    let listing = gpg.listing(CARLY);
    let fields = |kind: &str| -> Vec<String> {
        let line = listing
            .lines()
            .find(|line| line.starts_with(&format!("{kind}:")))
            .unwrap_or_else(|| panic!("{listing}"));
        line.split(':').map(str::to_owned).collect()
    };
    let (primary, user_id, subkey) = (fields("pub"), fields("uid"), fields("sub"));
    assert_eq!(
        (&primary[2][..], &primary[3][..], &primary[6][..]),
        ("255", "22", ""),
        "EdDSA, no expiry"
    );
    assert_eq!((&primary[11][..], &primary[16][..]), ("scESC", "ed25519"));
    assert_eq!(user_id[9], CARLY);
    assert_eq!(
        (&subkey[3][..], &subkey[11][..], &subkey[16][..]),
        ("18", "e", "cv25519")
    );
    assert_eq!(gpg.fingerprints(CARLY)[0], key.fingerprint().to_hex());
}

#[test]
fn gpg_works_with_our_secret_key() {
    let gpg = Gpg::new();
    let key = own_key();
    gpg.import(&key.to_armored());
    let signature = gpg.sign(CARLY, b"data");
    let verification = verify(&key.certificate(), &signature, b"data").unwrap();
    assert_eq!(verification.signers[0].trusted_by, TrustRule::Given);
    let sealed = gpg.run(
        &["--trust-model", "always", "--recipient", CARLY, "--encrypt"],
        b"for Carly",
    );
    assert_eq!(gpg.run(&["--decrypt"], &sealed), b"for Carly");
}

#[test]
fn dhow_works_with_secret_keys_of_gpg() {
    let gpg = Gpg::new();
    for algorithm in ["ed25519", "rsa3072"] {
        let user_id = format!("{algorithm} <{algorithm}@example.com>");
        gpg.generate(algorithm, &user_id);
        for armor in [&["--armor"][..], &[]] {
            let exported = gpg.run(&[armor, &["--export-secret-keys", &user_id]].concat(), b"");
            let key = SecretKey::from_reader(&exported[..]).unwrap();
            let signature = sign(&key, &b"data"[..]).unwrap();
            gpg.verify(&signature, b"data").unwrap();
            verify(&gpg.certificate(&user_id), &signature, b"data").unwrap();
        }
    }
}

#[test]
fn a_locked_key_says_so() {
    let gpg = Gpg::new();
    // The later option counts.
    gpg.generate_with("ed25519", CARLY, "sign", "never", &["--passphrase", "rkt"]);
    let exported = gpg.run(&["--passphrase", "rkt", "--export-secret-keys", CARLY], b"");
    let error = sign(&SecretKey::parse(&exported).unwrap(), &b"data"[..]).unwrap_err();
    assert!(matches!(&error, Error::Locked { .. }), "{error:?}");
}

#[test]
fn a_signing_subkey_signs_for_its_certificate() {
    let gpg = Gpg::new();
    let primary = gpg.generate_with("ed25519", CARLY, "cert", "never", &[]);
    gpg.run(&["--quick-add-key", &primary, "ed25519", "sign", "never"], b"");
    let subkey = gpg.fingerprints(CARLY)[1].clone();
    let signer = verify(&gpg.certificate(CARLY), &gpg.sign(CARLY, b"data"), b"data")
        .unwrap()
        .signers
        .remove(0);
    assert_eq!(
        (format!("{:#}", signer.fingerprint), format!("{:#}", signer.signing_key)),
        (primary, subkey.clone())
    );

    let secret = SecretKey::parse(&gpg.run(&["--export-secret-keys", CARLY], b"")).unwrap();
    let signature = sign(&secret, &b"data"[..]).unwrap();
    assert!(
        gpg.verify(&signature, b"data")
            .unwrap()
            .contains(&format!("VALIDSIG {subkey}"))
    );
}

#[test]
fn an_expired_key_is_refused_though_the_signature_is_older() {
    let gpg = Gpg::new();
    let then = ["--faked-system-time", "20240301T120000"];
    gpg.generate_with("ed25519", CARLY, "sign", "1d", &then);
    let signature = gpg.sign_with(CARLY, b"data", &then);
    let error = verify(&gpg.certificate(CARLY), &signature, b"data").unwrap_err();
    assert!(matches!(&error, Error::KeyExpired { .. }), "{error:?}");
    assert!(
        error
            .to_string()
            .ends_with("(`Carly Container <carly@example.com>`) expired on 2024-03-02"),
        "{error}"
    );
    assert_eq!(error.kind(), ErrorKind::Untrusted);
}

#[test]
fn a_revoked_key_is_refused_as_soon_as_the_revocation_is_known() {
    let gpg = Gpg::new();
    let fingerprint = gpg.generate("ed25519", CARLY);
    let signature = gpg.sign(CARLY, b"data");
    let before = gpg.certificate(CARLY);
    verify(&before, &signature, b"data").unwrap();

    // gpg makes the revocation along with the key, spoilt by a colon against accidents.
    let revocation = std::fs::read_to_string(gpg.path(&format!("openpgp-revocs.d/{fingerprint}.rev"))).unwrap();
    gpg.import(revocation.replace(":-----BEGIN", "-----BEGIN").as_bytes());
    let revoked = gpg.certificate(CARLY);
    let error = verify(&revoked, &signature, b"data").unwrap_err();
    assert!(matches!(&error, Error::KeyRevoked { .. }), "{error:?}");
    assert!(revoked.check().is_err() && before.check().is_ok());

    let keyring = Keyring::open([gpg.path("shared")], gpg.path("own"));
    let name = Name::new("example.com").unwrap();
    keyring.trust(Some(&name), &revoked).unwrap();
    keyring.trust(Some(&name), &before).unwrap();
    Keyring::open(None::<&Path>, gpg.path("shared"))
        .trust(None, &before)
        .unwrap();
    let error = verify_detached(&keyring, &name, &signature, &b"data"[..]).unwrap_err();
    assert!(
        matches!(error, Error::KeyRevoked { .. }),
        "an older copy undoes no revocation: {error:?}"
    );
}

#[test]
fn a_revoked_subkey_takes_only_its_own_signatures_along() {
    let gpg = Gpg::new();
    let primary = gpg.generate("ed25519", CARLY);
    gpg.run(&["--quick-add-key", &primary, "ed25519", "sign", "never"], b"");
    let subkey = gpg.fingerprints(CARLY)[1].clone();
    let by_subkey = gpg.sign(&format!("{subkey}!"), b"data");
    let by_primary = gpg.sign(&format!("{primary}!"), b"data");
    verify(&gpg.certificate(CARLY), &by_subkey, b"data").unwrap();
    gpg.run(
        &["--command-fd", "0", "--edit-key", &primary],
        b"key 1\nrevkey\ny\n1\nlost\n\ny\nsave\n",
    );
    let certificate = gpg.certificate(CARLY);
    let error = verify(&certificate, &by_subkey, b"data").unwrap_err();
    assert!(
        matches!(&error, Error::KeyRevoked { reason, .. } if reason.contains("lost")),
        "{error:?}"
    );
    let error = verify_with_certificates(std::slice::from_ref(&certificate), &by_subkey, std::io::empty()).unwrap_err();
    assert!(matches!(error, Error::KeyRevoked { .. }));
    let both = [by_subkey, by_primary.clone()].concat();
    for good in [&by_primary, &both] {
        let signers = verify(&certificate, good, b"data").unwrap().signers;
        assert_eq!(signers.len(), 1);
        assert_eq!(signers[0].signing_key.to_hex(), primary);
    }
}

#[test]
fn a_flip_of_any_bit_of_gpgs_signature_is_refused() {
    let gpg = Gpg::new();
    gpg.generate("ed25519", CARLY);
    let certificate = gpg.certificate(CARLY);
    let binary = gpg.sign_with(CARLY, b"data", &[]);
    verify(&certificate, &binary, b"data").unwrap();
    let mut accepted: Vec<usize> = Vec::new();
    for bit in 0..binary.len() * 8 {
        let mut flipped = binary.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        match verify(&certificate, &flipped, b"data") {
            Ok(_) => accepted.push(bit),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Untrusted, "{error:?}"),
        }
    }
    assert!(accepted.is_empty(), "{accepted:?} of {binary:x?}");
    let error = verify(&certificate, &binary, b"Data").unwrap_err();
    assert!(matches!(error, Error::BadSignature { .. }), "{error:?}");
}

#[test]
fn signatures_that_prove_too_little_are_refused() {
    let gpg = Gpg::new();
    gpg.generate("rsa3072", CARLY);
    let certificate = gpg.certificate(CARLY);
    let weak = gpg.sign_with(CARLY, b"data", &["--digest-algo", "SHA1"]);
    let error = verify(&certificate, &weak, b"data").unwrap_err();
    assert!(matches!(error, Error::RefusedSignature { .. }), "{error:?}");
    let for_text = gpg.sign_with(CARLY, b"data\n", &["--textmode"]);
    let error = verify(&certificate, &for_text, b"data\n").unwrap_err();
    assert!(matches!(error, Error::MalformedSignature(_)), "{error:?}");
    let inside = gpg.run(&["--local-user", CARLY, "--clear-sign"], b"data\n");
    let error = verify(&certificate, &inside, b"data\n").unwrap_err();
    assert!(
        matches!(&error, Error::NotASignature { found } if found == "a text with its signature inside"),
        "{error:?}"
    );
    let inline = gpg.run(&["--local-user", CARLY, "--sign"], b"data");
    let error = verify(&certificate, &inline, b"data").unwrap_err();
    assert!(matches!(error, Error::NotASignature { .. }), "{error:?}");
    let future = gpg.sign_with(CARLY, b"data", &["--faked-system-time", "20990301T120000"]);
    let error = verify(&certificate, &future, b"data").unwrap_err();
    assert!(matches!(error, Error::RefusedSignature { .. }), "{error:?}");
}

#[test]
fn a_signature_that_has_expired_is_refused() {
    let gpg = Gpg::new();
    let then = ["--faked-system-time", "20240301T120000"];
    gpg.generate_with("ed25519", CARLY, "sign", "never", &then);
    let good = gpg.sign_with(CARLY, b"data", &then);
    verify(&gpg.certificate(CARLY), &good, b"data").unwrap();
    let over = gpg.sign_with(CARLY, b"data", &[&then[..], &["--default-sig-expire", "1d"]].concat());
    let error = verify(&gpg.certificate(CARLY), &over, b"data").unwrap_err();
    assert!(matches!(error, Error::RefusedSignature { .. }), "{error:?}");
}

#[test]
fn a_ring_of_several_keys_is_read() {
    let gpg = Gpg::new();
    gpg.generate("ed25519", CARLY);
    gpg.generate("ed25519", "Bob <bob@example.com>");
    for armor in [&["--armor"][..], &[]] {
        let all = Certificate::parse_many(&gpg.run(&[armor, &["--export"]].concat(), b"")).unwrap();
        let user_ids: Vec<_> = all.iter().flat_map(Certificate::user_ids).collect();
        assert_eq!(user_ids, [CARLY, "Bob <bob@example.com>"]);
    }
    let file = gpg.file(
        "two.asc",
        &[
            own_key().certificate().to_armored(),
            own_key().certificate().to_armored(),
        ]
        .concat(),
    );
    let imported = gpg.output(&["--import", text(&file)], b"");
    assert!(
        String::from_utf8_lossy(&imported.stderr).contains("IMPORT_OK 1"),
        "gpg reads concatenated armor too"
    );
}
