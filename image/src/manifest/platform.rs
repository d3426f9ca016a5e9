//! Operating systems and architectures (appc spec, aci.md, "Image Manifest Schema"; schema/types/labels.go).

use super::reading::Reading;
use crate::label::Labels;

/// What an image's labels `os` and `arch` say together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Platform {
    /// The operating system.
    pub os: &'static str,
    /// The architecture, as the specification calls it.
    pub arch: &'static str,
}

/// A platform, with the name and the variant that Go and OCI give its architecture, where they have one.
type Row = (&'static str, &'static str, Option<(&'static str, &'static str)>);

/// The platforms that the specification permits.
const PLATFORMS: [Row; 15] = [
    ("linux", "amd64", Some(("amd64", ""))),
    ("linux", "i386", Some(("386", ""))),
    ("linux", "aarch64", Some(("arm64", ""))),
    ("linux", "aarch64_be", None),
    ("linux", "armv6l", Some(("arm", "6"))),
    ("linux", "armv7l", Some(("arm", "7"))),
    ("linux", "armv7b", None),
    ("linux", "ppc64", Some(("ppc64", ""))),
    ("linux", "ppc64le", Some(("ppc64le", ""))),
    ("linux", "s390x", Some(("s390x", ""))),
    ("freebsd", "amd64", Some(("amd64", ""))),
    ("freebsd", "i386", Some(("386", ""))),
    ("freebsd", "arm", Some(("arm", "6"))),
    ("darwin", "x86_64", Some(("amd64", ""))),
    ("darwin", "i386", Some(("386", ""))),
];

impl Platform {
    /// The platform of an image with these labels; `None` where it runs on any, or where they do not go together.
    pub fn of(labels: &Labels) -> Option<Self> {
        let (os, arch) = (labels.get("os")?, labels.get("arch")?);
        Self::find(|(known_os, known_arch, _)| *known_os == os && *known_arch == arch)
    }

    /// The platform that Go and OCI call so. A variant may begin with `v`; `arm` without one is version 6, as the
    /// specification's own tools have it.
    pub fn from_oci(os: &str, architecture: &str, variant: &str) -> Option<Self> {
        let variant = variant.strip_prefix('v').unwrap_or(variant);
        let variant = match (architecture, variant) {
            ("arm", "") => "6",
            ("arm", "5" | "7") if os == "freebsd" => "6",
            // Every 64-bit ARM is version 8.
            ("arm64", "8") => "",
            (_, variant) => variant,
        };
        Self::find(|(known, _, oci)| *known == os && *oci == Some((architecture, variant)))
    }

    /// What Go and OCI call it: operating system, architecture, variant (empty, or as in `7`).
    pub fn to_oci(self) -> Option<(&'static str, &'static str, &'static str)> {
        let is_this = |(os, arch, _): &&Row| *os == self.os && *arch == self.arch;
        let (os, _, oci) = PLATFORMS.iter().find(is_this)?;
        oci.map(|(architecture, variant)| (*os, architecture, variant))
    }

    fn find(matches: impl Fn(&Row) -> bool) -> Option<Self> {
        let (os, arch, _) = PLATFORMS.iter().find(|row| matches(row))?;
        Some(Self { os, arch })
    }
}

/// Checks the labels `os` and `arch` against each other.
pub(super) fn check(labels: &Labels, reading: &mut Reading) {
    let (Some(os), arch) = (labels.get("os"), labels.get("arch")) else {
        if let Some(arch) = labels.get("arch") {
            reading.warning(format!("has `arch={arch}`, which means nothing without `os`"));
        }
        return;
    };
    let of_os = || PLATFORMS.iter().filter(|(known, ..)| *known == os);
    if of_os().next().is_none() {
        return reading.error(format!("has `os={os}`; known are linux, freebsd and darwin"));
    }
    if let Some(arch) = arch.filter(|arch| of_os().all(|(_, known, _)| known != arch)) {
        let known: Vec<&str> = of_os().map(|(_, known, _)| *known).collect();
        reading.error(format!(
            "has `arch={arch}`; for `os={os}` known are {}",
            known.join(", ")
        ));
    }
}
