//! `--mount volume=NAME,target=PATH`, as rkt writes it: a volume at a place that the image did not foresee.

use std::str::FromStr;

use dhow_image::AcName;

/// Where a volume goes inside of an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MountFlag {
    /// The volume's name.
    pub(crate) volume: AcName,
    /// An absolute path inside of the app's root file system.
    pub(crate) target: String,
}

impl FromStr for MountFlag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (mut volume, mut target) = (None, None);
        for part in text.split(',') {
            match part.split_once('=') {
                Some(("volume", name)) => volume = Some(AcName::new(name).map_err(|error| error.to_string())?),
                Some(("target", path)) if path.starts_with('/') => target = Some(path.to_owned()),
                Some(("target", path)) => return Err(format!("`target` is an absolute path, not `{path}`")),
                _ => return Err(format!("`{part}` is neither `volume=NAME` nor `target=PATH`")),
            }
        }
        match (volume, target) {
            (Some(volume), Some(target)) => Ok(Self { volume, target }),
            _ => Err("it needs both `volume=NAME` and `target=PATH`".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_mount_names_a_volume_and_a_target() {
        let mount: MountFlag = "volume=logs,target=/var/log".parse().unwrap();
        assert_eq!((mount.volume.as_str(), mount.target.as_str()), ("logs", "/var/log"));
        for text in [
            "volume=logs",
            "target=/var/log",
            "volume=logs,target=var",
            "logs:/var/log",
        ] {
            assert!(text.parse::<MountFlag>().is_err(), "{text}");
        }
    }
}
