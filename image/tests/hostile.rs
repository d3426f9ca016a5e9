//! Hostile archives: each is refused with a reason, or read and harmless.

#![allow(clippy::unwrap_used)]

#[path = "hostile/cases.rs"]
mod cases;
#[path = "hostile/heavy.rs"]
mod heavy;
#[path = "hostile/tar.rs"]
mod tar;

use std::error::Error;

use cases::{Outcome, cases, compressed, noise};
use dhow_image::{ArchiveError, Compression, Limits, read_manifest, read_summary, read_summary_within};
use tar::Tar;

/// An error with its causes, as a person reads it.
fn told(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

#[test]
fn every_case_ends_as_it_must() {
    let cases = cases();
    assert!(cases.len() >= 60, "{} cases", cases.len());
    let mut names = std::collections::BTreeSet::new();
    let mut failures = Vec::new();
    for case in cases {
        assert!(names.insert(case.name), "`{}` stands twice", case.name);
        let result = read_summary(case.archive.as_slice());
        // Looking only as far as the manifest must not be what breaks.
        let _ = read_manifest(case.archive.as_slice());
        match (result, case.outcome) {
            (Err(error), Outcome::Refused(part)) => {
                let text = told(&error);
                if !text.contains(part) || text.len() > 1000 {
                    failures.push(format!("{}: should say `{part}`: {text}", case.name));
                }
            }
            (Ok(_), Outcome::Safe) => {}
            // The store's own test sees that it is not rendered.
            (Ok(_), Outcome::NotRendered(part)) => assert!(!part.is_empty()),
            (Ok(_), outcome) => failures.push(format!("{}: was read, should be {outcome:?}", case.name)),
            (Err(error), _) => failures.push(format!("{}: should be read: {}", case.name, told(&error))),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn a_tar_cut_at_any_block_is_truncated() {
    let tar = Tar::image()
        .file("rootfs/a", &noise(3000))
        .pax(&[("path", b"rootfs/long")])
        .file("b", b"b")
        .symlink("rootfs/s", "a")
        .end();
    read_summary(tar.as_slice()).unwrap();
    for cut in (0..tar.len()).step_by(512) {
        let error = read_summary(&tar[..cut]).unwrap_err();
        assert!(matches!(error, ArchiveError::Truncated), "cut at {cut}: {error}");
    }
}

#[test]
fn a_compressed_archive_cut_anywhere_is_an_error() {
    let tar = Tar::image().file("rootfs/a", &noise(100_000)).end();
    for compression in [
        Compression::Gzip,
        Compression::Bzip2,
        Compression::Xz,
        Compression::Zstd,
    ] {
        let archive = compressed(compression, &tar);
        let near_the_end = archive.len() - 20..archive.len();
        for cut in (0..archive.len()).step_by(512).chain(near_the_end) {
            let error = read_summary(&archive[..cut]).unwrap_err();
            assert!(
                matches!(
                    error,
                    ArchiveError::Truncated | ArchiveError::Io(_) | ArchiveError::NotAnArchive
                ),
                "{compression:?} cut at {cut}: {error}"
            );
        }
    }
}

#[test]
fn limits_are_of_the_callers_choice() {
    let files = (0..100).fold(Tar::image(), |tar, n| tar.file(&format!("rootfs/a/{n}"), b"12345"));
    let tar = files.end();
    let within = |names, tar_size| read_summary_within(tar.as_slice(), Limits { names, tar_size });
    assert!(within(102, tar.len() as u64).is_ok(), "100 files, rootfs and a");
    let error = within(101, tar.len() as u64).unwrap_err().to_string();
    assert_eq!(error, "the archive has over 101 names, which is the most that is read");
    let error = within(102, tar.len() as u64 - 1).unwrap_err().to_string();
    assert!(error.contains("bytes of tar"), "{error}");
}

#[test]
fn memory_stays_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let mib = std::env::var("DHOW_HOSTILE_BOMB_MIB").map_or(256, |text| text.parse().unwrap());
    heavy::assert_memory_stays_bounded(directory.path(), "in_a_process_of_its_own", mib);
}

#[test]
#[ignore = "`memory_stays_bounded` runs it in a process of its own"]
fn in_a_process_of_its_own() {
    heavy::read_and_tell(|archive| read_summary(archive).map(drop).map_err(|error| told(&error)));
}
