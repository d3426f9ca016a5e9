//! [`OciPlatform`]: operating systems and architectures, as Go names them and as the appc specification does.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{label::Labels, manifest::Platform};

/// What an image runs on, in the words of OCI: `linux/amd64`, `linux/arm/v7`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OciPlatform {
    /// The architecture.
    pub architecture: String,
    /// The operating system.
    pub os: String,
    /// Which kind of that architecture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// Why a text is no platform.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("`{0}` is no platform of the form OS/ARCHITECTURE[/VARIANT], as in linux/amd64 or linux/arm/v7")]
pub struct OciPlatformError(String);

impl OciPlatform {
    /// The platform of this machine.
    pub fn host() -> Self {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", None),
            "x86" => ("386", None),
            "aarch64" => ("arm64", None),
            "arm" => ("arm", Some("v7")),
            "powerpc64" if cfg!(target_endian = "little") => ("ppc64le", None),
            "powerpc64" => ("ppc64", None),
            other => (other, None),
        };
        Self {
            architecture: architecture.to_owned(),
            os: std::env::consts::OS.to_owned(),
            variant: variant.map(str::to_owned),
        }
    }

    /// The platform that an ACI's labels `os` and `arch` name, if they do.
    pub fn from_labels(labels: &Labels) -> Option<Self> {
        let (os, architecture, variant) = Platform::of(labels)?.to_oci()?;
        Some(Self {
            architecture: architecture.to_owned(),
            os: os.to_owned(),
            variant: (!variant.is_empty()).then(|| format!("v{variant}")),
        })
    }

    /// The labels that the specification has for this platform, if it has any.
    pub(super) fn to_appc(&self) -> Option<Platform> {
        Platform::from_oci(
            &self.os,
            &self.architecture,
            self.variant.as_deref().unwrap_or_default(),
        )
    }

    /// Whether an image for `other` is meant by this.
    pub(super) fn accepts(&self, other: &OciPlatform) -> bool {
        let (wanted, found) = (self.normal(), other.normal());
        wanted.os == found.os
            && wanted.architecture == found.architecture
            && (wanted.variant.is_none() || wanted.variant == found.variant)
    }

    /// Without what goes without saying: all arm64 is v8, all amd64 is at least v1.
    fn normal(&self) -> Self {
        let mut normal = self.clone();
        match (self.architecture.as_str(), self.variant.as_deref()) {
            ("arm64", Some("v8")) | ("amd64", Some("v1")) | (_, Some("")) => normal.variant = None,
            _ => {}
        }
        normal
    }
}

impl FromStr for OciPlatform {
    type Err = OciPlatformError;

    fn from_str(text: &str) -> Result<Self, OciPlatformError> {
        let parts: Vec<&str> = text.split('/').collect();
        let (os, architecture, variant) = match parts.as_slice() {
            [os, architecture] => (os, architecture, None),
            [os, architecture, variant] if !variant.is_empty() => (os, architecture, Some((*variant).to_owned())),
            _ => return Err(OciPlatformError(text.to_owned())),
        };
        if os.is_empty() || architecture.is_empty() {
            return Err(OciPlatformError(text.to_owned()));
        }
        Ok(Self {
            architecture: (*architecture).to_owned(),
            os: (*os).to_owned(),
            variant,
        })
    }
}

impl fmt::Display for OciPlatform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_are_translated_both_ways() {
        for (text, arch) in [
            ("linux/amd64", "amd64"),
            ("linux/386", "i386"),
            ("linux/arm64", "aarch64"),
            ("linux/arm/v6", "armv6l"),
            ("linux/arm/v7", "armv7l"),
            ("linux/ppc64le", "ppc64le"),
            ("darwin/amd64", "x86_64"),
        ] {
            let platform: OciPlatform = text.parse().unwrap();
            assert_eq!(platform.to_appc().unwrap().arch, arch, "{text}");
            let mut labels = Labels::default();
            labels
                .insert(crate::Name::new("os").unwrap(), platform.os.clone())
                .unwrap();
            labels.insert(crate::Name::new("arch").unwrap(), arch).unwrap();
            assert_eq!(OciPlatform::from_labels(&labels), Some(platform));
        }
        let arm64: OciPlatform = "linux/arm64/v8".parse().unwrap();
        assert_eq!(arm64.to_appc().unwrap().arch, "aarch64");
        assert_eq!("linux/riscv64".parse::<OciPlatform>().unwrap().to_appc(), None);
        assert!("linux".parse::<OciPlatform>().is_err());
        assert!("linux/".parse::<OciPlatform>().is_err());
    }

    #[test]
    fn a_variant_counts_where_it_is_asked_for() {
        let arm: OciPlatform = "linux/arm".parse().unwrap();
        let v6: OciPlatform = "linux/arm/v6".parse().unwrap();
        let v7: OciPlatform = "linux/arm/v7".parse().unwrap();
        assert!(arm.accepts(&v6) && v6.accepts(&v6));
        assert!(!v7.accepts(&v6) && !v7.accepts(&arm));
        let arm64: OciPlatform = "linux/arm64".parse().unwrap();
        assert!("linux/arm64/v8".parse::<OciPlatform>().unwrap().accepts(&arm64));
    }
}
