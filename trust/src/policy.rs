//! [`TrustPolicy`]: what a name's signatures must add up to.

use std::{fmt, num::NonZeroU32};

use dhow_image::Name;
use serde::{Deserialize, Serialize};

use crate::{Error, Fingerprint};

/// What is asked for beyond one good signature by one trusted key.
///
/// As a file it is TOML, and a key in it that is not known is an error: a misspelt demand must not be no demand.
///
/// ```toml
/// threshold = 2
/// require = ["8B86DE38890DDB7291867B025210BD8888182190"]
/// catalog-required = true
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct TrustPolicy {
    /// How many different trusted keys must have signed.
    pub threshold: NonZeroU32,
    /// Keys that must be among them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub require: Vec<Fingerprint>,
    /// Whether the image must be listed in the publisher's signed catalog as well. Kept here; it is for whoever reads
    /// catalogs to enforce.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub catalog_required: bool,
}

/// The policy that a set of signers met: a part of a [`crate::Verification`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyMet {
    /// Whose policy it is: that of this prefix, or of every name, if `None`.
    pub prefix: Option<Name>,
    /// What it asked for.
    pub threshold: NonZeroU32,
    /// Whose signatures it asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub require: Vec<Fingerprint>,
    /// Whether it asks for a catalog.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub catalog_required: bool,
    /// How many keys were trusted for the name then, from which the signers could be.
    pub trusted: usize,
}

/// How signers fall short of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PolicyProblem {
    /// There are too few.
    TooFew {
        /// How many there must be.
        threshold: NonZeroU32,
        /// Who there is.
        signers: Vec<Fingerprint>,
    },
    /// One that must be there is not.
    Missing(Fingerprint),
}

impl Default for TrustPolicy {
    fn default() -> Self {
        Self {
            threshold: NonZeroU32::MIN,
            require: Vec::new(),
            catalog_required: false,
        }
    }
}

impl TrustPolicy {
    pub(crate) fn from_toml(bytes: &[u8]) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(toml::from_str(std::str::from_utf8(bytes)?)?)
    }

    pub(crate) fn to_toml(&self, prefix: Option<&Name>) -> String {
        let policy = toml::to_string(self).expect("a policy is numbers and text");
        let whose = prefix.map_or_else(
            || "every name".to_owned(),
            |prefix| format!("`{prefix}` and all below it"),
        );
        format!("# What the signatures of {whose} must add up to: see `dhow trust policy --help`.\n{policy}")
    }

    /// Whether these signers, each given once, are enough.
    pub(crate) fn judge(&self, signers: &[Fingerprint]) -> Result<(), PolicyProblem> {
        if let Some(missing) = self.require.iter().find(|required| !signers.contains(required)) {
            return Err(PolicyProblem::Missing(missing.clone()));
        }
        if (signers.len() as u64) < u64::from(self.threshold.get()) {
            return Err(PolicyProblem::TooFew {
                threshold: self.threshold,
                signers: signers.to_vec(),
            });
        }
        Ok(())
    }
}

/// A policy and where it is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedPolicy {
    /// It is for this name and all below it that have no policy of a longer prefix; for every name, if `None`.
    pub prefix: Option<Name>,
    /// What it asks for.
    pub policy: TrustPolicy,
    /// The file that says so.
    pub path: std::path::PathBuf,
}

impl PlacedPolicy {
    /// The error that says how signers fall short, and why the most telling of the other signatures did not count.
    pub(crate) fn refuse(&self, name: &Name, problem: PolicyProblem, others: Option<Error>) -> Error {
        Error::PolicyNotMet {
            name: name.clone(),
            policy_of: scope(self.prefix.as_ref()),
            problem,
            source: others.map(Box::new),
        }
    }

    pub(crate) fn met(&self, trusted: usize) -> PolicyMet {
        PolicyMet {
            prefix: self.prefix.clone(),
            threshold: self.policy.threshold,
            require: self.policy.require.clone(),
            catalog_required: self.policy.catalog_required,
            trusted,
        }
    }
}

/// How a message names the names for which something holds.
pub(crate) fn scope(prefix: Option<&Name>) -> String {
    prefix.map_or_else(|| "every name".to_owned(), |prefix| format!("`{prefix}`"))
}

impl fmt::Display for TrustPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.threshold.get() {
            1 => f.write_str("1 trusted key must sign")?,
            count => write!(f, "{count} different trusted keys must sign")?,
        }
        for required in &self.require {
            write!(f, ", among them {required}")?;
        }
        if self.catalog_required {
            f.write_str("; the signed catalog must list the image")?;
        }
        Ok(())
    }
}

impl fmt::Display for PolicyProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(fingerprint) => write!(
                f,
                "it asks for a signature by {fingerprint}, and there is none that counts"
            ),
            Self::TooFew { threshold, signers } => {
                write!(
                    f,
                    "it asks for signatures by {threshold} different trusted keys, and there "
                )?;
                match &signers[..] {
                    [] => f.write_str("is none that counts"),
                    [only] => write!(f, "is one that counts, by {only}"),
                    several => write!(f, "are {} that count", several.len()),
                }
            }
        }
    }
}

impl fmt::Display for PolicyMet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whose = scope(self.prefix.as_ref());
        write!(
            f,
            "by the policy of {whose}: {} of {} trusted keys",
            self.threshold, self.trusted
        )?;
        for required in &self.require {
            write!(f, ", among them {required}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_misspelt_policy_is_an_error() {
        let read = |text: &str| TrustPolicy::from_toml(text.as_bytes());
        let policy =
            read("threshold = 2\nrequire = [\"8B86 DE38 890D DB72 9186 7B02 5210 BD88 8818 2190\"]\n").unwrap();
        assert_eq!(
            (policy.threshold.get(), policy.require.len(), policy.catalog_required),
            (2, 1, false)
        );
        assert_eq!(read(&policy.to_toml(None)).unwrap(), policy);
        assert_eq!(read("").unwrap(), TrustPolicy::default());
        for bad in [
            "treshold = 2",
            "threshold = 0",
            "threshold = -1",
            "require = [\"carly\"]",
            "catalog_required = true",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
