//! What real programs write: every form of GNU tar, and libarchive's where it is installed.

#![allow(clippy::unwrap_used)]

use std::{
    fs,
    io::{Seek, SeekFrom, Write},
    os::unix::fs::symlink,
    path::Path,
    process::Command,
};

use dhow_image::{Entry, EntryKind, TarReader, read_summary};
use tempfile::TempDir;

const MANIFEST: &str = r#"{"acKind":"ImageManifest","acVersion":"0.8.11","name":"example.com/real"}"#;

/// An image's layout in a directory.
fn layout() -> TempDir {
    let directory = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    fs::write(directory.path().join("manifest"), MANIFEST).unwrap();
    fs::create_dir(directory.path().join("rootfs")).unwrap();
    directory
}

/// What a program writes to its standard output, run in `directory`.
fn output(directory: &Path, program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap_or_else(|error| panic!("`{program}` must be installed: {error}"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn gnu_tar(directory: &Path, arguments: &[&str]) -> Vec<u8> {
    output(
        directory,
        "tar",
        &[arguments, &["-cf", "-", "manifest", "rootfs"]].concat(),
    )
}

/// Every entry with its content, once it is sure that framing and contents are the tar.
fn entries(tar: &[u8]) -> Vec<(Entry, Vec<u8>)> {
    let mut reader = TarReader::new(tar);
    let (mut entries, mut rebuilt) = (Vec::new(), Vec::new());
    while let Some(entry) = reader.next_entry().unwrap() {
        rebuilt.extend(reader.take_framing());
        let content = reader.read_content_to_end().unwrap();
        rebuilt.extend_from_slice(&content);
        entries.push((entry, content));
    }
    rebuilt.extend(reader.take_framing());
    assert!(rebuilt == tar, "framing and contents are the tar");
    entries
}

fn entry<'a>(entries: &'a [(Entry, Vec<u8>)], path: &str) -> &'a (Entry, Vec<u8>) {
    entries
        .iter()
        .rfind(|(entry, _)| entry.path.as_bytes() == path.as_bytes())
        .unwrap()
}

#[test]
fn sparse_files_are_refused_by_name_in_every_form() {
    let directory = layout();
    let mut file = fs::File::create(directory.path().join("rootfs/holes")).unwrap();
    // More pieces than the four that a header of the old form has room for, so that it needs extension headers.
    for piece in 0..40 {
        file.seek(SeekFrom::Start(piece << 20)).unwrap();
        file.write_all(b"data").unwrap();
    }
    file.set_len(50 << 20).unwrap();
    file.sync_all().unwrap();
    xattr::set(directory.path().join("rootfs/holes"), "user.note", b"kept").unwrap();
    for options in [
        &["--sparse", "--format=gnu"][..],
        &["--sparse", "--format=oldgnu"],
        &["--sparse", "--format=posix", "--sparse-version=0.0"],
        &["--sparse", "--format=posix", "--sparse-version=0.1"],
        &["--sparse", "--format=posix", "--sparse-version=1.0"],
        &["--sparse", "--format=posix", "--xattrs"],
    ] {
        let tar = gnu_tar(directory.path(), options);
        assert!(tar.len() < 1 << 20, "{options:?} wrote it sparse: {} bytes", tar.len());
        let error = read_summary(tar.as_slice()).unwrap_err().to_string();
        assert!(
            error.contains("`rootfs/holes`, which is a sparse file"),
            "{options:?}: {error}"
        );
    }
    // Without holes there is nothing to refuse.
    fs::write(directory.path().join("rootfs/holes"), "data").unwrap();
    let tar = gnu_tar(directory.path(), &["--sparse", "--format=posix", "--xattrs"]);
    assert_eq!(entry(&entries(&tar), "holes").1, b"data");
}

#[test]
fn every_format_of_gnu_tar_is_read_alike() {
    let directory = layout();
    let rootfs = directory.path().join("rootfs");
    fs::create_dir(rootfs.join("d")).unwrap();
    fs::write(rootfs.join("d/f"), "content").unwrap();
    fs::hard_link(rootfs.join("d/f"), rootfs.join("g")).unwrap();
    symlink("d/f", rootfs.join("s")).unwrap();
    let long_name = format!("{}/{}", "n".repeat(120), "m".repeat(200));
    let long = ["--format=gnu", "--format=posix"];
    for format in [
        "--format=v7",
        "--format=oldgnu",
        "--format=ustar",
        "--format=gnu",
        "--format=posix",
    ] {
        if format == long[0] {
            fs::create_dir(rootfs.join("n".repeat(120))).unwrap();
            fs::write(rootfs.join(&long_name), "long").unwrap();
            symlink("t".repeat(1000), rootfs.join("to-long")).unwrap();
        }
        let tar = gnu_tar(
            directory.path(),
            &[format, "--numeric-owner", "--sort=name", "--mtime=@1000"],
        );
        let found = entries(&tar);
        assert_eq!(entry(&found, "d").0.kind, EntryKind::Directory, "{format}");
        assert_eq!(entry(&found, "d/f").1, b"content", "{format}");
        assert!(
            matches!(entry(&found, "g").0.kind, EntryKind::HardLink { .. }),
            "{format}"
        );
        let target = b"d/f".to_vec();
        assert_eq!(entry(&found, "s").0.kind, EntryKind::Symlink { target }, "{format}");
        if long.contains(&format) {
            assert_eq!(entry(&found, &long_name).1, b"long", "{format}");
            let target = vec![b't'; 1000];
            assert_eq!(
                entry(&found, "to-long").0.kind,
                EntryKind::Symlink { target },
                "{format}"
            );
        }
        read_summary(tar.as_slice()).unwrap();
    }
}

#[test]
fn numbers_and_times_of_every_size_are_read() {
    let directory = layout();
    fs::write(directory.path().join("rootfs/f"), "x").unwrap();
    for (format, time, expected) in [
        ("--format=gnu", "@-86401", (-86401, 0)),
        ("--format=gnu", "@99999999999", (99_999_999_999, 0)),
        ("--format=posix", "@-1.25", (-2, 750_000_000)),
        ("--format=posix", "@1234567890.123456789", (1_234_567_890, 123_456_789)),
        ("--format=posix", "@99999999999.5", (99_999_999_999, 500_000_000)),
    ] {
        let owner = ["--owner=u:4000000000", "--group=g:3000000"];
        let tar = gnu_tar(
            directory.path(),
            &[&[format, &format!("--mtime={time}")][..], &owner].concat(),
        );
        let found = entries(&tar);
        let (entry, _) = entry(&found, "f");
        assert_eq!((entry.mtime, entry.mtime_nanoseconds), expected, "{format} {time}");
        assert_eq!((entry.uid, entry.gid), (4_000_000_000, 3_000_000), "{format} {time}");
    }
}

#[test]
fn attributes_and_access_control_lists_are_read_as_the_kernel_has_them() {
    let directory = layout();
    let file = directory.path().join("rootfs/f");
    fs::write(&file, "x").unwrap();
    xattr::set(&file, "user.a=b%c", b"\0\n=\xff").unwrap();
    // user::rw-, user:1000:rw-, group::r--, group:7:r--, mask::rw-, other::r--
    let acl =
        "0200000001000600ffffffff02000600e803000004000400ffffffff080004000700000010000600ffffffff20000400ffffffff";
    let acl: Vec<u8> = (0..acl.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&acl[at..at + 2], 16).unwrap())
        .collect();
    xattr::set(&file, "system.posix_acl_access", &acl).unwrap();
    let tar = gnu_tar(directory.path(), &["--format=posix", "--xattrs", "--acls"]);
    let text = String::from_utf8_lossy(&tar).into_owned();
    assert!(text.contains("SCHILY.acl.access"), "GNU tar wrote the list");
    let found = entries(&tar);
    let (entry, _) = entry(&found, "f");
    assert_eq!(entry.xattrs.get(b"user.a=b%c".as_slice()).unwrap(), b"\0\n=\xff");
    assert_eq!(entry.xattrs.get(b"system.posix_acl_access".as_slice()), Some(&acl));
}

#[test]
fn the_comment_of_git_archive_and_the_directory_above_are_passed_over() {
    let directory = layout();
    fs::write(directory.path().join("rootfs/f"), "x").unwrap();
    let tar = output(directory.path(), "tar", &["-cf", "-", "."]);
    assert_eq!(entry(&entries(&tar), "f").1, b"x");

    let git = |arguments: &[&str]| output(directory.path(), "git", arguments);
    git(&["init", "-q"]);
    git(&["add", "manifest", "rootfs"]);
    git(&[
        "-c",
        "user.name=n",
        "-c",
        "user.email=e@example.com",
        "commit",
        "-qm",
        "image",
    ]);
    let tar = git(&["archive", "HEAD"]);
    assert!(
        tar.windows(12).any(|bytes| bytes == b"pax_global_h"),
        "git wrote its comment"
    );
    assert_eq!(entry(&entries(&tar), "f").1, b"x");
}

#[test]
fn volumes_and_backups_are_refused() {
    let directory = layout();
    for (options, problem) in [
        (&["--format=gnu", "--label=tape"][..], "label of a volume"),
        (&["--format=gnu", "--listed-incremental=snapshot"], "incremental backup"),
    ] {
        let error = read_summary(gnu_tar(directory.path(), options).as_slice())
            .unwrap_err()
            .to_string();
        assert!(error.contains(problem), "{options:?}: {error}");
    }
}

#[test]
fn compressed_by_the_usual_programs_it_is_the_same_image() {
    let directory = layout();
    fs::write(directory.path().join("rootfs/f"), vec![7; 300_000]).unwrap();
    let tar = gnu_tar(directory.path(), &["--format=posix"]);
    let expected = read_summary(tar.as_slice()).unwrap().id;
    fs::write(directory.path().join("image.tar"), &tar).unwrap();
    for (program, level) in [
        ("gzip", "-9"),
        ("bzip2", "-9"),
        ("xz", "-9"),
        ("xz", "-9e"),
        ("zstd", "-19"),
    ] {
        let archive = output(directory.path(), program, &[level, "-c", "image.tar"]);
        assert_eq!(
            read_summary(archive.as_slice()).unwrap().id,
            expected,
            "{program} {level}"
        );
    }
}
