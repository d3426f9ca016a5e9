//! Names and links that lead where they should not.

use super::{
    Add,
    Outcome::{Refused, Safe},
    file_named,
};
use crate::tar::{Header, MANIFEST, Tar};

pub(super) fn names(add: &mut Add<'_>) {
    let file = |name: &str| Tar::image().file(name, b"!").end();
    add("absolute name", Refused("its name is absolute"), file("/escaped"));
    add(
        "absolute name into rootfs",
        Refused("its name is absolute"),
        file("/rootfs/escaped"),
    );
    add("parent name", Refused("a `..`"), file("../escaped"));
    add(
        "parent name beneath rootfs",
        Refused("a `..`"),
        file("rootfs/../../escaped"),
    );
    add(
        "parent name that comes back",
        Refused("a `..`"),
        file("rootfs/a/../../rootfs/b"),
    );
    add("parent name at the end", Refused("a `..`"), file("rootfs/a/.."));
    add(
        "parent name in PAX",
        Refused("a `..`"),
        file_named(b"rootfs/../escaped"),
    );
    add(
        "parent name in a GNU header",
        Refused("a `..`"),
        Tar::image()
            .extension(b'L', b"rootfs/../escaped\0")
            .header(Header::new(b'0', b"x"))
            .end(),
    );
    add(
        "parent name in the ustar prefix",
        Refused("a `..`"),
        Tar::image()
            .header(Header::new(b'0', b"escaped").field(345, b"rootfs/../.."))
            .end(),
    );
    add("backslashes are letters", Safe, file("rootfs/..\\..\\escaped"));
    add("dots are names", Safe, file("rootfs/..."));
    add("doubled slashes", Safe, file("rootfs//a///b"));
    add("name of 0 bytes", Refused("has no name"), file(""));
    add(
        "name of 255 bytes",
        Safe,
        file_named(&[b"rootfs/".as_slice(), &[b'n'; 255]].concat()),
    );
    add(
        "name of 256 bytes",
        Refused("a part over 255 bytes"),
        file_named(&[b"rootfs/".as_slice(), &[b'n'; 256]].concat()),
    );
    add(
        "name of 5,000 bytes",
        Refused("more than 4095 bytes"),
        file_named(&[b"rootfs/".as_slice(), &b"n/".repeat(2500)].concat()),
    );
    add(
        "name of 5,000 bytes in a GNU header",
        Refused("more than 4095 bytes"),
        Tar::image()
            .extension(b'L', &[b"rootfs/".as_slice(), &b"n/".repeat(2500)].concat())
            .header(Header::new(b'0', b"x"))
            .end(),
    );
    add(
        "2,000 directories deep",
        Safe,
        file_named(&[b"rootfs".as_slice(), &b"/d".repeat(1500)].concat()),
    );
    add("NUL in a PAX name", Refused("a NUL"), file_named(b"rootfs/a\0escaped"));
    add(
        "NUL in a GNU name",
        Refused("a NUL"),
        Tar::image()
            .extension(b'L', b"rootfs/a\0/../../escaped")
            .header(Header::new(b'0', b"x"))
            .end(),
    );
    add("name that is no UTF-8", Safe, file_named(b"rootfs/\xff\xfe"));
    add(
        "name with terminal commands",
        Refused("\\u{1b}[2J"),
        file_named(b"../\x1b[2Jescaped"),
    );
    add("newline in a name", Safe, file_named(b"rootfs/a\nb"));
}

pub(super) fn links(add: &mut Add<'_>) {
    add(
        "symlink out of the root",
        Safe,
        Tar::image().symlink("rootfs/a", "../../../escaped").end(),
    );
    add(
        "absolute symlink",
        Safe,
        Tar::image().symlink("rootfs/a", "/escaped").end(),
    );
    add(
        "symlink to nothing",
        Refused("symbolic link to nothing"),
        Tar::image().symlink("rootfs/a", "").end(),
    );
    add(
        "symlink of 5,000 bytes",
        Refused("more than 4095 bytes"),
        Tar::image()
            .pax(&[("linkpath", &[b'x'; 5000])])
            .header(Header::new(b'2', b"rootfs/a"))
            .end(),
    );
    let beneath = "lies beneath what is no directory";
    add(
        "file through a symlink",
        Refused(beneath),
        Tar::image()
            .symlink("rootfs/a", "../..")
            .file("rootfs/a/escaped", b"!")
            .end(),
    );
    add(
        "file through a symlink with `.`",
        Refused(beneath),
        Tar::image()
            .symlink("rootfs/a", "../..")
            .file("rootfs/./a/./escaped", b"!")
            .end(),
    );
    add(
        "file through two symlinks",
        Refused(beneath),
        Tar::image()
            .symlink("rootfs/a", "b")
            .symlink("rootfs/b", "/")
            .file("rootfs/a/escaped", b"!")
            .end(),
    );
    add(
        "file through a hard link to a symlink",
        Refused(beneath),
        Tar::image()
            .symlink("rootfs/a", "/")
            .hard_link("rootfs/b", "rootfs/a")
            .file("rootfs/b/escaped", b"!")
            .end(),
    );
    add(
        "symlink in place of a directory",
        Refused("stands twice"),
        Tar::image()
            .dir("rootfs/a")
            .symlink("rootfs/a", "/")
            .file("rootfs/a/escaped", b"!")
            .end(),
    );
    add(
        "symlink in place of an implied directory",
        Refused("stands twice"),
        Tar::image().file("rootfs/a/b", b"").symlink("rootfs/a", "/").end(),
    );
    add(
        "directory in place of a symlink",
        Refused("stands twice"),
        Tar::image().symlink("rootfs/a", "/").dir("rootfs/a/").end(),
    );
    add(
        "rootfs is a symlink",
        Refused("must be a directory"),
        Tar::default()
            .file("manifest", MANIFEST.as_bytes())
            .symlink("rootfs", "/")
            .end(),
    );
    add(
        "manifest is a symlink",
        Refused("must be a regular file"),
        Tar::default().dir("rootfs").symlink("manifest", "/etc/passwd").end(),
    );
    add(
        "manifest is a hard link",
        Refused("must be a regular file"),
        Tar::default().dir("rootfs").hard_link("manifest", "rootfs/a").end(),
    );
    add(
        "symlink `/.`",
        Refused("must be a directory"),
        Tar::image().symlink("rootfs/.", "/").end(),
    );
    add("symlink to `/.`", Safe, Tar::image().symlink("rootfs/a", "/.").end());
    let outside = "hard link to outside";
    let no_file = "hard link to what is no file before it";
    let linked = |target: &str| Tar::image().file("rootfs/f", b"f").hard_link("rootfs/a", target).end();
    add("hard link to an absolute path", Refused(outside), linked("/etc/passwd"));
    add(
        "hard link to an absolute path of the image",
        Refused(outside),
        linked("/rootfs/f"),
    );
    add(
        "hard link to a parent",
        Refused(outside),
        linked("rootfs/../../../etc/passwd"),
    );
    add("hard link to the manifest", Refused(outside), linked("manifest"));
    add("hard link beside rootfs", Refused(outside), linked("f"));
    add("hard link to nothing", Refused(outside), linked(""));
    add("hard link to itself", Refused(no_file), linked("rootfs/a"));
    add(
        "hard link to what is missing",
        Refused(no_file),
        linked("rootfs/missing"),
    );
    add("hard link to the root", Refused(no_file), linked("rootfs"));
    add(
        "hard link to a directory",
        Refused(no_file),
        Tar::image().dir("rootfs/d").hard_link("rootfs/a", "rootfs/d").end(),
    );
    add(
        "hard link to what comes later",
        Refused(no_file),
        Tar::image()
            .hard_link("rootfs/a", "rootfs/f")
            .file("rootfs/f", b"")
            .end(),
    );
    add(
        "hard link through a symlink",
        Refused(no_file),
        Tar::image()
            .symlink("rootfs/s", "/etc")
            .hard_link("rootfs/a", "rootfs/s/passwd")
            .end(),
    );
    add(
        "hard link to a symlink",
        Safe,
        Tar::image()
            .symlink("rootfs/s", "/etc/passwd")
            .hard_link("rootfs/a", "rootfs/s")
            .end(),
    );
    add(
        "hard link with a content",
        Refused("has a size"),
        Tar::image()
            .file("rootfs/f", b"f")
            .header(Header::new(b'1', b"rootfs/a").link(b"rootfs/f").size(4))
            .content(b"evil")
            .end(),
    );
    let chain = (0..1000).fold(Tar::image().file("rootfs/0", b"0"), |tar, n| {
        tar.hard_link(&format!("rootfs/{}", n + 1), &format!("rootfs/{n}"))
    });
    add("hard links in a chain of 1,000", Safe, chain.end());
}
