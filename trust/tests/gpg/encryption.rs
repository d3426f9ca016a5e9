//! Both ways: encrypting for keys and with passphrases.

use std::{
    fs::File,
    io::{self, Read as _, Write},
    os::unix::fs::FileExt as _,
    process::Command,
};

use dhow_trust::{
    Decrypted, Decryption, EncryptOptions, Error, GivenSecrets, OpenedBy, SecretKey, encrypt, is_encrypted, sign,
    verify_with_certificates,
};

use super::{CARLY, data, home::Gpg, own_key};

fn decrypted(sealed: &[u8], secrets: &GivenSecrets) -> Result<(Vec<u8>, Decrypted), Error> {
    let mut content = Vec::new();
    let how = Decryption::open(sealed, secrets)?.copy_to(&mut content)?;
    Ok((content, how))
}

fn encrypted(options: &EncryptOptions, data: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::new();
    encrypt(options, data, &mut sealed).unwrap();
    sealed
}

fn with_passphrase(passphrase: &str) -> GivenSecrets {
    GivenSecrets {
        passphrase: Some(passphrase.into()),
        ..GivenSecrets::default()
    }
}

fn with_key(key: SecretKey) -> GivenSecrets {
    GivenSecrets {
        keys: vec![key],
        ..GivenSecrets::default()
    }
}

/// A key of gpg that signs and decrypts, by the name of its algorithm.
fn generate(gpg: &Gpg, algorithm: &str) -> String {
    let user_id = format!("{algorithm} <{algorithm}@example.com>");
    if algorithm == "ed25519" {
        let primary = gpg.generate(algorithm, &user_id);
        gpg.run(&["--quick-add-key", &primary, "cv25519", "encr", "never"], b"");
    } else {
        gpg.generate_with(algorithm, &user_id, "sign,encr", "never", &[]);
    }
    user_id
}

#[test]
fn gpg_and_dhow_read_each_others_encryption_and_signatures() {
    let gpg = Gpg::new();
    let data = data();
    for algorithm in ["ed25519", "rsa4096"] {
        let user_id = generate(&gpg, algorithm);
        let certificate = gpg.certificate(&user_id);
        let key = SecretKey::parse(&gpg.run(&["--export-secret-keys", &user_id], b"")).unwrap();

        // gpg encrypts, dhow decrypts; with gpg's own compression inside, and without.
        for options in [
            &["--armor"][..],
            &[],
            &["--compress-algo", "none"],
            &["--compress-algo", "bzip2"],
        ] {
            let sealed = gpg.run(
                &[
                    options,
                    &["--trust-model", "always", "--recipient", &user_id, "--encrypt"],
                ]
                .concat(),
                &data,
            );
            assert!(is_encrypted(&sealed));
            let (content, how) = decrypted(&sealed, &with_key(key.clone())).unwrap();
            assert!(content == data, "{algorithm} {options:?}");
            assert_eq!(how.opened_by, OpenedBy::Key(certificate.fingerprint()));
        }
        // dhow encrypts, gpg decrypts.
        let mut options = EncryptOptions::default();
        options.recipients = vec![certificate.clone(), own_key().certificate()];
        let sealed = encrypted(&options, &data);
        assert!(gpg.run(&["--decrypt"], &sealed) == data);
        assert!(decrypted(&sealed, &with_key(key.clone())).unwrap().0 == data);

        // gpg signs, dhow verifies; dhow signs, gpg verifies.
        let of_gpg = gpg.sign(&user_id, &sealed);
        verify_with_certificates(std::slice::from_ref(&certificate), &of_gpg, &sealed[..]).unwrap();
        let of_dhow = sign(&key, &sealed[..]).unwrap();
        gpg.verify(&of_dhow, &sealed).unwrap();
    }
}

#[test]
fn the_example_of_the_specification_is_read() {
    // appc spec, aci.md, "Image Archives": gzip, gpg --symmetric, gpg --detach-sig.
    let gpg = Gpg::new();
    gpg.generate("ed25519", CARLY);
    let archive = data();
    let sealed = gpg.run(
        &[
            "--digest-algo",
            "sha256",
            "--cipher-algo",
            "AES256",
            "--passphrase",
            "sekr3t",
            "--symmetric",
        ],
        &archive,
    );
    let signature = gpg.sign(CARLY, &sealed);
    verify_with_certificates(&[gpg.certificate(CARLY)], &signature, &sealed[..]).unwrap();
    let (content, how) = decrypted(&sealed, &with_passphrase("sekr3t")).unwrap();
    assert!(content == archive);
    assert_eq!((how.opened_by, &how.cipher[..]), (OpenedBy::Passphrase, "AES-256"));
    let wrong = decrypted(&sealed, &with_passphrase("secret")).unwrap_err();
    assert!(
        matches!(wrong, Error::WrongFilePassphrase | Error::DamagedEncryption(_)),
        "{wrong:?}"
    );
}

#[test]
fn gpg_reads_what_dhow_encrypts_with_a_passphrase() {
    let gpg = Gpg::new();
    let mut options = EncryptOptions::default();
    options.passphrases = vec!["sekr3t".into()];
    let sealed = encrypted(&options, b"content");
    let output = gpg.output(&["--passphrase", "sekr3t", "--decrypt"], &sealed);
    let status = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.stdout, b"content", "{status}");
    // An integrity-protected packet, AES-256 (9), the MDC good.
    assert!(
        status.contains("DECRYPTION_INFO 2 9") && status.contains("GOODMDC"),
        "{status}"
    );
    assert!(
        !gpg.output(&["--passphrase", "secret", "--decrypt"], &sealed)
            .status
            .success()
    );
}

#[test]
fn gpg_refuses_what_we_say_it_cannot_read() {
    let gpg = Gpg::new();
    let mut options = EncryptOptions::default();
    options.passphrases = vec!["sekr3t".into()];
    options.aead = true;
    let sealed = encrypted(&options, b"content");
    assert!(
        !gpg.output(&["--passphrase", "sekr3t", "--decrypt"], &sealed)
            .status
            .success()
    );
}

#[test]
fn encryption_without_protection_is_refused() {
    // gpg 2.2 still writes it, if one insists: a packet of tag 9, in which alterations go unnoticed.
    let gpg = Gpg::new();
    let sealed = gpg.run(
        &[
            "--rfc2440",
            "--cipher-algo",
            "AES256",
            "--passphrase",
            "sekr3t",
            "--symmetric",
        ],
        b"content",
    );
    let packets = gpg.output(&["--passphrase", "sekr3t", "--list-packets"], &sealed);
    let packets = String::from_utf8_lossy(&packets.stdout).into_owned();
    assert!(
        packets.contains(":encrypted data packet:") && !packets.contains("mdc_method: 2"),
        "{packets}"
    );
    let error = decrypted(&sealed, &with_passphrase("sekr3t")).unwrap_err();
    assert!(matches!(error, Error::RefusedEncryption(_)), "{error:?}");
}

#[test]
fn a_locked_key_goes_both_ways() {
    let gpg = Gpg::new();
    let key = own_key();
    let locked = key.lock(&"sekr3t".into()).unwrap();
    gpg.run(&["--passphrase", "sekr3t", "--import"], &locked.to_armored());
    let signature = gpg.run(
        &[
            "--passphrase",
            "sekr3t",
            "--armor",
            "--local-user",
            CARLY,
            "--output",
            "-",
            "--detach-sign",
        ],
        b"data",
    );
    verify_with_certificates(&[key.certificate()], &signature, &b"data"[..]).unwrap();

    gpg.generate_with(
        "ed25519",
        "Locked <l@example.com>",
        "sign",
        "never",
        &["--passphrase", "other"],
    );
    let exported = gpg.run(&["--passphrase", "other", "--export-secret-keys", "Locked"], b"");
    let exported = SecretKey::parse(&exported).unwrap();
    assert!(exported.is_locked());
    assert!(matches!(
        exported.unlock(&"sekr3t".into()),
        Err(Error::WrongPassphrase { .. })
    ));
    let signature = sign(&exported.unlock(&"other".into()).unwrap(), &b"data"[..]).unwrap();
    gpg.verify(&signature, b"data").unwrap();
}

/// The largest resident set that this process has had, in KiB.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Writes nothing, and counts.
struct Counter(u64);

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// nextest gives each test a process of its own, so the peak is that of this test.
#[test]
fn three_hundred_megabytes_take_little_memory_and_a_late_alteration_is_noticed() {
    const SIZE: u64 = 300 << 20;
    let gpg = Gpg::new();
    let secrets = with_passphrase("sekr3t");
    for aead in [false, true] {
        let mut options = EncryptOptions::default();
        options.passphrases = vec!["sekr3t".into()];
        options.aead = aead;
        let path = gpg.path("sealed");
        encrypt(&options, io::repeat(b'x').take(SIZE), File::create(&path).unwrap()).unwrap();
        let mut counter = Counter(0);
        let how = Decryption::open(File::open(&path).unwrap(), &secrets)
            .unwrap()
            .copy_to(&mut counter)
            .unwrap();
        assert_eq!((how.size, counter.0), (SIZE, SIZE));

        // One bit, late in the file.
        let at = SIZE - (20 << 20);
        let mut byte = [0];
        let file = File::options().read(true).write(true).open(&path).unwrap();
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 1], at).unwrap();
        let mut counter = Counter(0);
        let error = Decryption::open(File::open(&path).unwrap(), &secrets)
            .unwrap()
            .copy_to(&mut counter)
            .unwrap_err();
        assert!(matches!(error, Error::DamagedEncryption(_)), "{error:?}");
        if !aead {
            assert!(
                counter.0 > SIZE / 2,
                "which is why nobody may use it before: {}",
                counter.0
            );
        }
    }
    let peak = peak_kib();
    assert!(peak < 64 << 10, "{peak} KiB at the most");
}

#[test]
fn gpg_agent_signs_for_us() {
    let gpg = Gpg::new();
    for algorithm in ["ed25519", "rsa4096"] {
        let user_id = generate(&gpg, algorithm);
        for socket in ["agent-socket", "agent-extra-socket"] {
            let socket = Command::new("gpgconf")
                .env("GNUPGHOME", gpg.path(""))
                .args(["--list-dirs", socket])
                .output()
                .unwrap();
            let socket = String::from_utf8(socket.stdout).unwrap();
            let key = dhow_trust::AgentKey::with_socket(gpg.certificate(&user_id), socket.trim());
            let signature = dhow_trust::SigningKey::Agent(key).sign(&b"data"[..]).unwrap();
            gpg.verify(&signature, b"data").unwrap();
            verify_with_certificates(&[gpg.certificate(&user_id)], &signature, &b"data"[..]).unwrap();
        }
    }
    let stranger = dhow_trust::AgentKey::with_socket(own_key().certificate(), gpg.path("S.gpg-agent"));
    let error = dhow_trust::SigningKey::Agent(stranger).sign(&b"data"[..]).unwrap_err();
    assert!(matches!(error, Error::NotInAgent { .. }), "{error:?}");
    let nowhere = dhow_trust::AgentKey::with_socket(own_key().certificate(), gpg.path("nothing"));
    let error = dhow_trust::SigningKey::Agent(nowhere).sign(&b"data"[..]).unwrap_err();
    assert!(matches!(error, Error::Agent { .. }), "{error:?}");
}

#[test]
fn gpg_verifies_each_of_several_signatures_in_one_file() {
    let gpg = Gpg::new();
    let data = data();
    gpg.generate("ed25519", CARLY);
    let key = SecretKey::generate("Bob <bob@example.com>", &Default::default()).unwrap();
    gpg.import(&key.certificate().to_armored());
    let of_gpg = dhow_trust::Signature::parse(&gpg.sign(CARLY, &data)).unwrap();
    let of_dhow = dhow_trust::Signature::parse(&sign(&key, &data[..]).unwrap()).unwrap();
    let both = of_gpg.with(of_dhow).to_armored();
    let status = gpg.verify(&both, &data).unwrap();
    assert_eq!(status.matches("[GNUPG:] VALIDSIG ").count(), 2, "{status}");
}

#[test]
fn gpgs_certification_of_a_newer_key_makes_a_successor() {
    let gpg = Gpg::new();
    let then = ["--faked-system-time", "20240301T120000"];
    let old = gpg.generate_with("ed25519", CARLY, "sign", "never", &then);
    let new = own_key();
    gpg.import(&new.certificate().to_armored());
    let new_fingerprint = new.fingerprint().to_hex();
    gpg.run(&["--local-user", &old, "--quick-sign-key", &new_fingerprint], b"");
    let export = |fingerprint: &str| dhow_trust::Certificate::parse(&gpg.run(&["--export", fingerprint], b"")).unwrap();
    assert!(export(&new_fingerprint).succeeds(&export(&old)));
    assert!(!new.certificate().succeeds(&export(&old)));

    // And ours is what gpg takes for a certification.
    let secret = SecretKey::parse(&gpg.run(&["--export-secret-keys", &old], b"")).unwrap();
    let third = own_key();
    gpg.import(&secret.certify_successor(&third.certificate()).unwrap().to_armored());
    let checked = gpg.run(&["--with-colons", "--check-sigs", &third.fingerprint().to_hex()], b"");
    let checked = String::from_utf8(checked).unwrap();
    let good = format!("sig:!::22:{}:", &old[24..]);
    assert!(checked.contains(&good), "{checked}");

    // Once gpg has revoked it, it is none.
    gpg.run(
        &[
            "--command-fd",
            "0",
            "--local-user",
            &old,
            "--edit-key",
            &new_fingerprint,
        ],
        b"revsig\ny\ny\n0\n\ny\nsave\n",
    );
    assert!(!export(&new_fingerprint).succeeds(&export(&old)));
}
