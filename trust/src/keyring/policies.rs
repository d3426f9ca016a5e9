//! The policies of a keyring, in files beside its keys:
//!
//! ```text
//! <dir>/trustedkeys/policy.d/POLICY.toml                    for every name
//! <dir>/trustedkeys/policy.d/example.com/POLICY.toml        for example.com and below
//! <dir>/trustedkeys/policy.d/example.com/app/POLICY.toml    for example.com/app and below
//! ```
//!
//! For a name counts **one** policy, that of the longest prefix; where several directories have one for that prefix,
//! the last directory's. An empty file says that there is none, and hides those of earlier directories. The file's
//! name has capitals, which no name has, so it is in the way of no prefix.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use dhow_image::Name;

use super::{Keyring, Removal, layers};
use crate::{Error, PlacedPolicy, TrustPolicy, policy::scope};

const FILE: &str = "POLICY.toml";

impl Keyring {
    /// Sets the policy of `prefix`, or of every name if `None`, and returns the file written.
    pub fn set_policy(&self, prefix: Option<&Name>, policy: &TrustPolicy) -> Result<PathBuf, Error> {
        let path = policy_path(&self.own, prefix);
        write(&path, policy.to_toml(prefix).as_bytes())?;
        Ok(path)
    }

    /// Ends the policy of exactly `prefix`, or that of every name if `None`.
    pub fn remove_policy(&self, prefix: Option<&Name>) -> Result<Removal, Error> {
        let path = policy_path(&self.own, prefix);
        let own = read(&path)?;
        let mut is_shared = false;
        for shared in &self.shared {
            match read(&policy_path(shared, prefix))? {
                File::None => {}
                File::Mask => is_shared = false,
                File::Policy(_) => is_shared = true,
            }
        }
        match own {
            File::Policy(_) | File::None if is_shared => {
                write(&path, b"")?;
                Ok(Removal::Masked(path))
            }
            File::Policy(_) => {
                fs::remove_file(&path).map_err(|source| Error::Write {
                    path: path.clone(),
                    source,
                })?;
                Ok(Removal::Deleted(path))
            }
            _ => Err(Error::PolicyNotFound { scope: scope(prefix) }),
        }
    }

    /// Every policy: that of every name first, then by prefix.
    pub fn policies(&self) -> Result<Vec<PlacedPolicy>, Error> {
        let mut prefixes = vec![None];
        for directory in self.directories() {
            layers::find_prefixes(&directory.join("trustedkeys/policy.d"), None, &mut prefixes)?;
        }
        prefixes.sort();
        prefixes.dedup();
        let policies = prefixes.into_iter().map(|prefix| self.policy_of(prefix.as_ref()));
        policies.filter_map(Result::transpose).collect()
    }

    /// The policy that counts for `name`, if there is one.
    pub fn policy_for(&self, name: &Name) -> Result<Option<PlacedPolicy>, Error> {
        for prefix in name.walk().map(Some).chain([None]) {
            if let Some(policy) = self.policy_of(prefix.as_ref())? {
                return Ok(Some(policy));
            }
        }
        Ok(None)
    }

    /// The policy of exactly `prefix`.
    pub fn policy_of(&self, prefix: Option<&Name>) -> Result<Option<PlacedPolicy>, Error> {
        let mut found = None;
        for directory in self.directories() {
            let path = policy_path(directory, prefix);
            match read(&path)? {
                File::None => {}
                File::Mask => found = None,
                File::Policy(policy) => {
                    found = Some(PlacedPolicy {
                        prefix: prefix.cloned(),
                        policy,
                        path,
                    });
                }
            }
        }
        Ok(found)
    }
}

enum File {
    None,
    Mask,
    Policy(TrustPolicy),
}

fn policy_path(directory: &Path, prefix: Option<&Name>) -> PathBuf {
    let directory = directory.join("trustedkeys/policy.d");
    match prefix {
        None => directory.join(FILE),
        Some(prefix) => directory.join(prefix.as_str()).join(FILE),
    }
}

fn read(path: &Path) -> Result<File, Error> {
    match fs::read(path) {
        Ok(bytes) if bytes.is_empty() => Ok(File::Mask),
        Ok(bytes) => match TrustPolicy::from_toml(&bytes) {
            Ok(policy) => Ok(File::Policy(policy)),
            Err(source) => Err(Error::PolicyFile {
                path: path.to_owned(),
                source,
            }),
        },
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(File::None),
        Err(source) => Err(Error::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

fn write(path: &Path, contents: &[u8]) -> Result<(), Error> {
    layers::write(
        path.parent().expect("a policy's file is in a directory"),
        path,
        contents,
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{
        num::NonZeroU32,
        time::{Duration, SystemTime},
    };

    use super::*;
    use crate::{KeyOptions, PolicyProblem, SecretKey, Signature, Verification, sign, verify_detached};

    const DATA: &[u8] = b"an archive, as far as a signature is concerned";

    fn key(user_id: &str) -> SecretKey {
        SecretKey::generate(user_id, &KeyOptions::default()).unwrap()
    }

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn threshold(count: u32) -> TrustPolicy {
        TrustPolicy {
            threshold: NonZeroU32::new(count).unwrap(),
            ..TrustPolicy::default()
        }
    }

    /// A keyring in which `example.com` trusts three keys.
    struct World {
        dir: tempfile::TempDir,
        keys: [SecretKey; 3],
    }

    impl World {
        fn new() -> Self {
            let world = Self {
                dir: tempfile::tempdir().unwrap(),
                keys: ["Ann", "Bob", "Carly"].map(key),
            };
            for key in &world.keys {
                world
                    .keyring()
                    .trust(Some(&name("example.com")), &key.certificate())
                    .unwrap();
            }
            world
        }

        fn keyring(&self) -> Keyring {
            Keyring::open([self.dir.path().join("shared")], self.dir.path().join("own"))
        }

        fn set(&self, policy: &TrustPolicy) {
            self.keyring().set_policy(Some(&name("example.com")), policy).unwrap();
        }

        /// Asks before and after the data is read, which must agree as far as the one can know.
        fn verify(&self, signature: &[u8]) -> Result<Verification, Error> {
            let name = name("example.com/app");
            let verified = verify_detached(&self.keyring(), &name, signature, DATA);
            if verified.is_ok() {
                let early = self.keyring().may_verify(&name, &Signature::parse(signature).unwrap());
                early.unwrap();
            }
            verified
        }
    }

    fn problem(result: Result<Verification, Error>) -> (PolicyProblem, Option<Box<Error>>) {
        match result {
            Err(error @ Error::PolicyNotMet { .. }) => {
                assert_eq!(error.kind(), crate::ErrorKind::Untrusted);
                let Error::PolicyNotMet { problem, source, .. } = error else {
                    unreachable!()
                };
                (problem, source)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn k_of_n_different_keys_must_sign() {
        let world = World::new();
        let [ann, bob, carly] = world.keys.each_ref().map(|key| sign(key, DATA).unwrap());
        world.verify(&ann).unwrap();
        world.set(&threshold(2));
        let verification = world.verify(&[ann.clone(), carly.clone()].concat()).unwrap();
        assert_eq!(verification.signers.len(), 2);
        let met = verification.policy.unwrap();
        assert_eq!(
            (met.threshold.get(), met.trusted, met.prefix),
            (2, 3, Some(name("example.com")))
        );
        assert_eq!(
            world.verify(&[ann.clone(), bob, carly].concat()).unwrap().signers.len(),
            3
        );

        let (short, _) = problem(world.verify(&ann));
        assert!(matches!(&short, PolicyProblem::TooFew { signers, .. } if *signers == [world.keys[0].fingerprint()]));
        let error = world.verify(&ann).unwrap_err().to_string();
        assert_eq!(
            error,
            format!(
                "the policy of `example.com` is not met for `example.com/app`: it asks for signatures by 2 different \
                 trusted keys, and there is one that counts, by {}",
                world.keys[0].fingerprint()
            )
        );
    }

    #[test]
    fn the_same_key_twice_is_one_signer() {
        let world = World::new();
        world.set(&threshold(2));
        let ann = &world.keys[0];
        let twice = [sign(ann, DATA).unwrap(), sign(ann, DATA).unwrap()].concat();
        assert!(matches!(problem(world.verify(&twice)).0, PolicyProblem::TooFew { signers, .. } if signers.len() == 1));

        // Trusted by two prefixes and in two directories: still one key.
        world.keyring().trust(None, &ann.certificate()).unwrap();
        let shared = Keyring::open(None::<PathBuf>, world.dir.path().join("shared"));
        shared
            .trust(Some(&name("example.com/app")), &ann.certificate())
            .unwrap();
        assert!(matches!(problem(world.verify(&twice)).0, PolicyProblem::TooFew { signers, .. } if signers.len() == 1));
    }

    #[test]
    fn signatures_that_do_not_count_for_themselves_count_for_no_policy() {
        let world = World::new();
        world.set(&threshold(2));
        let ann = sign(&world.keys[0], DATA).unwrap();
        let of_other_data = sign(&world.keys[1], &b"other"[..]).unwrap();
        let (_, source) = problem(world.verify(&[ann.clone(), of_other_data].concat()));
        assert!(matches!(*source.unwrap(), Error::BadSignature { .. }));
        let stranger = sign(&key("Stranger"), DATA).unwrap();
        problem(world.verify(&[ann.clone(), stranger].concat()));

        // A key that was good when it signed, and has expired since.
        let second = Duration::from_secs(1);
        let options = KeyOptions {
            created: Some(SystemTime::now() - 60 * second),
            validity: Some(62 * second),
            ..KeyOptions::default()
        };
        let brief = SecretKey::generate("Brief", &options).unwrap();
        world
            .keyring()
            .trust(Some(&name("example.com")), &brief.certificate())
            .unwrap();
        let both = [ann, sign(&brief, DATA).unwrap()].concat();
        assert_eq!(world.verify(&both).unwrap().signers.len(), 2);
        std::thread::sleep(3 * second);
        let (short, source) = problem(world.verify(&both));
        assert!(matches!(short, PolicyProblem::TooFew { signers, .. } if signers == [world.keys[0].fingerprint()]));
        assert!(matches!(*source.unwrap(), Error::KeyExpired { .. }));
    }

    #[test]
    fn a_required_signer_cannot_be_replaced_by_others() {
        let world = World::new();
        let [ann, bob, carly] = world.keys.each_ref().map(|key| sign(key, DATA).unwrap());
        world.set(&TrustPolicy {
            require: vec![world.keys[2].fingerprint()],
            ..threshold(2)
        });
        let (short, _) = problem(world.verify(&[ann.clone(), bob].concat()));
        assert_eq!(short, PolicyProblem::Missing(world.keys[2].fingerprint()));
        assert!(matches!(problem(world.verify(&carly)).0, PolicyProblem::TooFew { .. }));
        world.verify(&[ann, carly].concat()).unwrap();
    }

    #[test]
    fn what_cannot_meet_the_policy_is_refused_before_the_data_is_read() {
        struct Untouched;
        impl io::Read for Untouched {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                panic!("the data was read although the policy could not be met");
            }
        }
        let world = World::new();
        world.set(&threshold(2));
        let ann = sign(&world.keys[0], DATA).unwrap();
        problem(verify_detached(
            &world.keyring(),
            &name("example.com/app"),
            &ann,
            Untouched,
        ));
    }

    #[test]
    fn the_longest_prefix_decides_and_then_the_last_directory() {
        let world = World::new();
        let keyring = world.keyring();
        let shared = Keyring::open(None::<PathBuf>, world.dir.path().join("shared"));
        let of = |text: &str| {
            let policy = keyring.policy_for(&name(text)).unwrap();
            policy.map_or(0, |placed| placed.policy.threshold.get())
        };
        assert_eq!(of("example.com/app"), 0);
        shared.set_policy(None, &threshold(5)).unwrap();
        shared.set_policy(Some(&name("example.com")), &threshold(4)).unwrap();
        keyring
            .set_policy(Some(&name("example.com/app")), &threshold(2))
            .unwrap();
        assert_eq!(
            [of("example.com/app/x"), of("example.com/apps"), of("example.org")],
            [2, 4, 5]
        );
        keyring.set_policy(Some(&name("example.com")), &threshold(3)).unwrap();
        assert_eq!(of("example.com"), 3, "the user's own directory comes last");
        let listed: Vec<_> = keyring
            .policies()
            .unwrap()
            .into_iter()
            .map(|placed| placed.prefix)
            .collect();
        assert_eq!(listed, [None, Some(name("example.com")), Some(name("example.com/app"))]);

        let masked = keyring.remove_policy(Some(&name("example.com"))).unwrap();
        assert!(matches!(masked, Removal::Masked(_)));
        assert_eq!(of("example.com"), 5, "a masked policy leaves it to the shorter prefix");
        assert!(matches!(
            keyring.remove_policy(Some(&name("example.com"))),
            Err(Error::PolicyNotFound { .. })
        ));
        let path = policy_path(&world.dir.path().join("own"), Some(&name("example.com/app")));
        assert_eq!(
            path,
            world
                .dir
                .path()
                .join("own/trustedkeys/policy.d/example.com/app/POLICY.toml")
        );
        let removed = keyring.remove_policy(Some(&name("example.com/app"))).unwrap();
        assert_eq!(removed, Removal::Deleted(path.clone()));

        fs::write(&path, "treshold = 2").unwrap();
        let error = keyring.policy_for(&name("example.com/app")).unwrap_err();
        assert!(error.to_string().contains("POLICY.toml"), "{error}");
    }
}
