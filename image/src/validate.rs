//! Telling all that is wrong with an archive or a manifest, not the first thing only.
//!
//! There are no rules here: those of archives are [`TarReader`]'s, which goes on past an entry that it refuses, and
//! those of manifests are the same reading that makes values of them.

use std::io::Read;

use serde::Serialize;

use crate::{
    archive::{ArchiveError, Compression, EntryKind, Limits, TarReader, check_manifest_json, with_tar},
    image_id::ImageId,
    manifest::{self, AcKind, Finding, MAX_FINDINGS, Outline, Severity},
};

const ARCHIVES: &str = "aci.md, \"Image Archives\"";

/// What is to be said of an archive or of a manifest.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Validation {
    /// What it is, where that can be made out.
    pub kind: Option<AcKind>,
    /// The names that it gives, none of them checked.
    #[serde(skip)]
    pub outline: Outline,
    /// The archive's image ID, where it could be read to its end.
    pub id: Option<ImageId>,
    /// How many bytes the archive's tar has, where it could be read to its end.
    pub tar_size: Option<u64>,
    /// How many entries the archive has beside its manifest, refused ones included.
    pub entries: u64,
    /// What is wrong, errors first, at most 1000 of them.
    pub findings: Vec<Finding>,
}

impl Validation {
    /// Whether nothing is wrong. There may be warnings nevertheless.
    pub fn is_valid(&self) -> bool {
        self.count(Severity::Error) == 0
    }

    /// How many findings there are of one severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.findings
            .iter()
            .filter(|finding| finding.severity == severity)
            .count()
    }

    /// Adds a finding about the file that the archive is in.
    pub fn warn(&mut self, problem: impl Into<String>) {
        self.findings.push(about_archive(Severity::Warning, "", problem.into()));
    }

    fn take_manifest(&mut self, json: &[u8]) {
        let (kind, findings) = manifest::findings(json);
        self.kind = kind;
        self.findings.extend(findings);
        self.outline = Outline::from_json(json).unwrap_or_default();
    }

    fn sorted(mut self) -> Self {
        self.findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        self.findings.truncate(MAX_FINDINGS);
        self
    }
}

/// Reads a manifest of an image or of a pod and tells all that is wrong with it.
pub fn validate_manifest(json: &[u8]) -> Validation {
    let mut validation = Validation::default();
    validation.take_manifest(json);
    validation.sorted()
}

/// Reads an archive to its end, or as far as it can be read, and tells all that is wrong with it and its manifest.
pub fn validate_archive(mut archive: impl Read + Send, limits: Limits) -> Validation {
    let mut validation = Validation::default();
    let mut start = Vec::new();
    if let Err(error) = archive.by_ref().take(6).read_to_end(&mut start) {
        validation.findings.push(of_error(&ArchiveError::Io(error)));
        return validation;
    }
    if matches!(Compression::detect(&start), Ok(Compression::Zstd)) {
        validation.warn("the archive is compressed with zstd, which only dhow and its kin read");
    }
    let read = with_tar(start.as_slice().chain(archive), |tar| {
        walk(&mut TarReader::with_limits(tar, limits), &mut validation)
    });
    match read {
        Ok(((), id, tar_size)) => {
            validation.id = Some(id);
            validation.tar_size = Some(tar_size);
        }
        Err(error) => {
            let is_empty = matches!(error, ArchiveError::NoManifest) && validation.entries == 0;
            validation.findings.push(of_error(&error));
            if is_empty {
                validation.findings.push(of_error(&ArchiveError::NoRootfs));
            }
        }
    }
    validation.sorted()
}

/// Notes what is wrong with each entry. What makes the rest unreadable is the error.
fn walk(tar: &mut TarReader<impl Read>, validation: &mut Validation) -> Result<(), ArchiveError> {
    loop {
        let entry = match tar.next_entry() {
            Ok(Some(entry)) => entry,
            Ok(None) => return Ok(()),
            Err(error @ ArchiveError::Entry { .. }) if tar.can_go_on() && validation.findings.len() < MAX_FINDINGS => {
                validation.entries += 1;
                validation.findings.push(of_error(&error));
                continue;
            }
            Err(error) => return Err(error),
        };
        tar.take_framing();
        if !matches!(entry.kind, EntryKind::Manifest { .. }) {
            validation.entries += 1;
            continue;
        }
        let json = tar.read_content_to_end()?;
        validation.take_manifest(&json);
        match check_manifest_json(&json) {
            Err(error)
                if validation
                    .findings
                    .iter()
                    .all(|finding| finding.severity < Severity::Error) =>
            {
                validation.findings.extend(error.findings());
            }
            // What is no JSON at all has been noted as that.
            Err(error) if serde_json::from_slice::<serde::de::IgnoredAny>(&json).is_ok() => {
                validation.findings.extend(error.findings());
            }
            _ if validation.kind == Some(AcKind::PodManifest) => {
                let problem = "is `PodManifest`, where an image's is needed".to_owned();
                validation
                    .findings
                    .push(about_archive(Severity::Error, "acKind", problem));
            }
            _ => {}
        }
    }
}

fn of_error(error: &ArchiveError) -> Finding {
    match error {
        ArchiveError::Entry { path, problem } => about_archive(Severity::Error, path, problem.clone()),
        ArchiveError::Io(cause) => about_archive(Severity::Error, "", format!("{error}: {cause}")),
        other => about_archive(Severity::Error, "", other.to_string()),
    }
}

fn about_archive(severity: Severity, subject: &str, problem: String) -> Finding {
    Finding {
        severity,
        subject: subject.to_owned(),
        problem,
        section: ARCHIVES,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Write;

    use tar::{EntryType, Header};

    use super::*;
    use crate::archive::Compressor;

    /// A tar of entries as they are given, however wrong.
    fn tar(entries: &[(&str, EntryType, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (name, kind, content) in entries {
            let mut header = Header::new_ustar();
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(*kind);
            header.set_mode(0o755);
            header.set_size(content.len() as u64);
            if *kind == EntryType::Link {
                header.set_link_name("rootfs/none").unwrap();
            }
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            header.set_cksum();
            bytes.extend(header.as_bytes());
            bytes.extend(*content);
            bytes.resize(bytes.len().next_multiple_of(512), 0);
        }
        bytes.resize(bytes.len() + 1024, 0);
        bytes
    }

    const MANIFEST: &[u8] = br#"{"acKind":"ImageManifest","acVersion":"0.8.11","name":"example.com/app"}"#;

    fn errors(archive: &[u8]) -> Vec<String> {
        let validation = validate_archive(archive, Limits::default());
        let errors = validation
            .findings
            .iter()
            .filter(|finding| finding.severity == Severity::Error);
        errors.map(ToString::to_string).collect()
    }

    #[test]
    fn every_fault_of_archive_and_manifest_is_named() {
        let manifest = br#"{"acKind":"ImageManifest","acVersion":"0.8.11","name":"Example.com/App",
            "labels":[{"name":"os","value":"plan9"}],"app":{"exec":["/bin/app"],"user":"","environment":
            [{"name":"0X","value":""}]}}"#;
        let archive = tar(&[
            ("outside", EntryType::Regular, b"x"),
            ("manifest", EntryType::Regular, manifest),
            ("rootfs", EntryType::Directory, b""),
            ("rootfs/a", EntryType::Regular, &[1; 700]),
            ("rootfs/../b", EntryType::Regular, b"2"),
            ("rootfs/hard", EntryType::Link, b""),
            ("rootfs/a", EntryType::Regular, b"3"),
            ("rootfs/good", EntryType::Regular, b"4"),
        ]);
        let found = errors(&archive);
        let expected = [
            "`outside` is outside of `rootfs`",
            "`name` is wrong: `Example.com/App` is not a valid name",
            "`labels` has `os=plan9`",
            "`app.user` is empty",
            "`app.group` is missing",
            "`app.environment[0].name` is wrong: `0X`",
            "`rootfs/../b` has a name with a `..`",
            "`rootfs/hard` is a hard link to what is no file",
            "`rootfs/a` stands twice",
        ];
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.starts_with(expected), "{found}: {expected}");
        }
        let validation = validate_archive(archive.as_slice(), Limits::default());
        assert_eq!(validation.outline.name, "Example.com/App");
        assert_eq!(validation.entries, 7);
        assert!(
            validation
                .findings
                .iter()
                .all(|finding| finding.section.contains(".md"))
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(errors(&tar(&[])).len(), 2, "neither manifest nor rootfs");
        let no_rootfs = errors(&tar(&[("manifest", EntryType::Regular, MANIFEST)]));
        assert_eq!(
            no_rootfs,
            ["the archive has no `rootfs`, so it is not an App Container Image"]
        );
        let no_manifest = errors(&tar(&[("rootfs", EntryType::Directory, b"")]));
        assert_eq!(
            no_manifest,
            ["the archive has no `manifest`, so it is not an App Container Image"]
        );
    }

    #[test]
    fn a_valid_archive_has_an_id_and_may_have_warnings() {
        let tar = tar(&[
            ("manifest", EntryType::Regular, MANIFEST),
            ("rootfs", EntryType::Directory, b""),
        ]);
        let plain = validate_archive(tar.as_slice(), Limits::default());
        assert!(plain.is_valid() && plain.findings.is_empty(), "{plain:?}");
        let mut zstd = Compressor::new(Compression::Zstd, Vec::new()).unwrap();
        zstd.write_all(&tar).unwrap();
        let packed = validate_archive(zstd.finish().unwrap().as_slice(), Limits::default());
        assert_eq!((packed.is_valid(), packed.count(Severity::Warning)), (true, 1));
        assert_eq!(packed.id, plain.id);
    }

    #[test]
    fn what_cannot_be_read_on_is_one_fault() {
        assert_eq!(errors(b"").len(), 1);
        assert_eq!(errors(b"<html>nothing of the kind</html>").len(), 1);
        let whole = tar(&[
            ("manifest", EntryType::Regular, MANIFEST),
            ("rootfs", EntryType::Directory, b""),
        ]);
        let mut gzip = Compressor::new(Compression::Gzip, Vec::new()).unwrap();
        gzip.write_all(&whole).unwrap();
        let gzip = gzip.finish().unwrap();
        assert_eq!(errors(&gzip[..gzip.len() - 4]), ["the archive is truncated"]);
        // What went wrong before is told too.
        let mut broken = tar(&[
            ("outside", EntryType::Regular, b"x"),
            ("rootfs", EntryType::Directory, b""),
        ]);
        broken[1024 + 100] ^= 1;
        assert_eq!(errors(&broken).len(), 2);
    }

    #[test]
    fn json_that_readers_take_differently_is_named_beside_the_rest() {
        let twice = br#"{"acKind":"ImageManifest","acVersion":"0.8.11","name":"a","name":"B"}"#;
        let archive = tar(&[
            ("manifest", EntryType::Regular, twice),
            ("rootfs", EntryType::Directory, b""),
        ]);
        assert_eq!(errors(&archive).len(), 2);
        let nothing = tar(&[
            ("manifest", EntryType::Regular, b"{"),
            ("rootfs", EntryType::Directory, b""),
        ]);
        assert_eq!(errors(&nothing).len(), 1);
        let pod = br#"{"acKind":"PodManifest","acVersion":"0.8.11","apps":[]}"#;
        let pod = tar(&[
            ("manifest", EntryType::Regular, pod),
            ("rootfs", EntryType::Directory, b""),
        ]);
        assert_eq!(errors(&pod), ["`acKind` is `PodManifest`, where an image's is needed"]);
    }

    #[test]
    fn manifests_alone_are_of_either_kind() {
        assert!(validate_manifest(MANIFEST).is_valid());
        let pod = validate_manifest(br#"{"acKind":"PodManifest","acVersion":"0.8.11","apps":[],"volumes":[{}]}"#);
        assert_eq!(pod.kind, Some(AcKind::PodManifest));
        let subjects: Vec<_> = pod.findings.iter().map(|finding| finding.subject.as_str()).collect();
        assert_eq!(subjects, ["volumes[0].name", "volumes[0].kind"]);
        assert_eq!(pod.findings[0].section, "pods.md, \"Pod Manifest Schema\"");
        assert!(!validate_manifest(br#"{"acKind":"Bogus"}"#).is_valid());
        let hostile = format!("[{}]", "1,".repeat(20_000).trim_end_matches(','));
        let hostile = format!(r#"{{"acKind":"ImageManifest","labels":{hostile}}}"#);
        assert_eq!(validate_manifest(hostile.as_bytes()).findings.len(), 1000);
    }
}
