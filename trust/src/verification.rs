//! [`Verification`]: why some data is believed.

use std::fmt;

use chrono::{DateTime, Utc};
use dhow_image::Name;
use serde::{Deserialize, Serialize};

use crate::{Fingerprint, PolicyMet};

/// The proof that data is signed by trusted keys: kept with an image as its provenance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verification {
    /// Who signed, each certificate once. Never empty when this crate made it.
    pub signers: Vec<Signer>,
    /// The policy that the signers met. `None` where one signature by one trusted key is enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyMet>,
}

/// One good signature by a trusted key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Signer {
    /// The fingerprint of the certificate, by which it is trusted.
    pub fingerprint: Fingerprint,
    /// The fingerprint of the key that signed: the same, or that of a subkey.
    pub signing_key: Fingerprint,
    /// The certificate's primary user ID, if it has a valid one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// When the signature says it was made.
    pub signed_at: DateTime<Utc>,
    /// Why this signer counts.
    pub trusted_by: TrustRule,
}

/// Why a key's signature counts for a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum TrustRule {
    /// The keyring trusts the key for every name.
    Root,
    /// The keyring trusts the key for this name and all below it.
    Prefix(Name),
    /// The caller gave the key for this one verification.
    Given,
}

impl fmt::Display for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, signer) in self.signers.iter().enumerate() {
            let separator = if index == 0 { "signed by " } else { ", and by " };
            write!(f, "{separator}{signer}")?;
        }
        match &self.policy {
            Some(policy) => write!(f, "; accepted {policy}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            fingerprint,
            user_id,
            signed_at,
            trusted_by,
            ..
        } = self;
        match user_id {
            Some(user_id) => write!(f, "`{user_id}` ({fingerprint})")?,
            None => write!(f, "{fingerprint}")?,
        }
        write!(f, " on {}, {trusted_by}", signed_at.format("%Y-%m-%d %H:%M:%S UTC"))
    }
}

impl fmt::Display for TrustRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("trusted for every name"),
            Self::Prefix(prefix) => write!(f, "trusted for `{prefix}`"),
            Self::Given => f.write_str("the key given"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_verification_is_kept_as_json() {
        let fingerprint: Fingerprint = "8B86DE38890DDB7291867B025210BD8888182190".parse().unwrap();
        let signer = Signer {
            fingerprint: fingerprint.clone(),
            signing_key: fingerprint,
            user_id: Some("Carly <carly@example.com>".to_owned()),
            signed_at: "2014-12-01T10:00:00Z".parse().unwrap(),
            trusted_by: TrustRule::Prefix(Name::new("example.com/app").unwrap()),
        };
        let mut verification = Verification {
            signers: vec![signer],
            policy: None,
        };
        let json = serde_json::to_value(&verification).unwrap();
        let expected = serde_json::json!({"signers": [{
            "fingerprint": "8B86DE38890DDB7291867B025210BD8888182190",
            "signingKey": "8B86DE38890DDB7291867B025210BD8888182190",
            "userId": "Carly <carly@example.com>",
            "signedAt": "2014-12-01T10:00:00Z",
            "trustedBy": {"prefix": "example.com/app"},
        }]});
        assert_eq!(json, expected);
        assert_eq!(serde_json::from_value::<Verification>(json).unwrap(), verification);
        assert_eq!(
            verification.to_string(),
            "signed by `Carly <carly@example.com>` (8B86 DE38 890D DB72 9186 7B02 5210 BD88 8818 2190) \
             on 2014-12-01 10:00:00 UTC, trusted for `example.com/app`"
        );
        verification.policy = Some(PolicyMet {
            prefix: Some(Name::new("example.com").unwrap()),
            threshold: std::num::NonZeroU32::MIN,
            require: Vec::new(),
            catalog_required: false,
            trusted: 3,
        });
        let json = serde_json::to_value(&verification).unwrap();
        assert_eq!(
            json["policy"],
            serde_json::json!({"prefix": "example.com", "threshold": 1, "trusted": 3})
        );
        assert_eq!(serde_json::from_value::<Verification>(json).unwrap(), verification);
        assert!(
            verification
                .to_string()
                .ends_with("; accepted by the policy of `example.com`: 1 of 3 trusted keys")
        );
    }
}
