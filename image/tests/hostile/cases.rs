//! The hostile archives, by name, with what must become of each: shared by the tests of `dhow-image`, which read them,
//! and of `dhow-store`, which take them in and render them.

use std::io::Write;

use dhow_image::{Compression, Compressor};

use crate::tar::{Header, MANIFEST, Tar, pax_records};

/// What must become of an archive.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Outcome {
    /// Reading it is an error whose text, with its causes, has this part.
    Refused(&'static str),
    /// It is read, but its root file system is not made: the error has this part.
    NotRendered(&'static str),
    /// It is read and rendered, and harmless.
    Safe,
}

use Outcome::{NotRendered, Refused, Safe};

pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) archive: Vec<u8>,
    pub(crate) outcome: Outcome,
}

/// Every case. Files that must never come to be are called `escaped`.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name, outcome, archive: Vec<u8>| cases.push(Case { name, archive, outcome });
    names(&mut add);
    links(&mut add);
    layout(&mut add);
    manifests(&mut add);
    overlays(&mut add);
    numbers(&mut add);
    extensions(&mut add);
    sparse(&mut add);
    streams(&mut add);
    cases
}

type Add<'a> = dyn FnMut(&'static str, Outcome, Vec<u8>) + 'a;

fn file_named(name: &[u8]) -> Vec<u8> {
    Tar::image()
        .pax(&[("path", name)])
        .header(Header::new(b'0', b"x"))
        .end()
}

fn names(add: &mut Add<'_>) {
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

fn links(add: &mut Add<'_>) {
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

fn layout(add: &mut Add<'_>) {
    let twice = "stands twice";
    let pair = |a: &str, b: &str| Tar::image().file(a, b"1").file(b, b"2").end();
    add("the same file twice", Refused(twice), pair("rootfs/a", "rootfs/a"));
    add(
        "the same file, once with `.`",
        Refused(twice),
        pair("rootfs/a", "./rootfs/./a"),
    );
    add(
        "the same file, once with slashes",
        Refused(twice),
        pair("rootfs/a", "rootfs//a"),
    );
    add(
        "the same directory twice",
        Refused(twice),
        Tar::image().dir("rootfs/a").dir("rootfs/a/").end(),
    );
    add(
        "a file and a directory",
        Refused(twice),
        Tar::image().file("rootfs/a", b"").dir("rootfs/a/").end(),
    );
    add(
        "a file beneath a file",
        Refused("beneath what is no directory"),
        pair("rootfs/a", "rootfs/a/b"),
    );
    add("rootfs twice", Refused(twice), Tar::image().dir("./rootfs/").end());
    add(
        "the top directory",
        Safe,
        Tar::default()
            .dir("./")
            .0
            .into_iter()
            .chain(Tar::image().end())
            .collect(),
    );
    add(
        "the top directory twice",
        Refused(twice),
        Tar::image().dir("./").dir(".").end(),
    );
    add(
        "the top as a file",
        Refused("is outside of `rootfs`"),
        Tar::image().file("./", b"").end(),
    );
    add(
        "two manifests",
        Refused(twice),
        Tar::image().file("manifest", MANIFEST.as_bytes()).end(),
    );
    add(
        "two manifests, one with `.`",
        Refused(twice),
        Tar::image().file("./manifest", b"{}").end(),
    );
    add("manifest in PAX and header", Refused(twice), {
        let tar = Tar::image().pax(&[("path", b"manifest")]);
        tar.file("rootfs/a", b"{}").end()
    });
    add(
        "an entry outside of rootfs",
        Refused("is outside of `rootfs`"),
        Tar::image().file("escaped", b"!").end(),
    );
    add(
        "an entry beside rootfs",
        Refused("is outside of `rootfs`"),
        Tar::image().file("rootfs2/a", b"!").end(),
    );
    add("an entry beneath the manifest", Refused("is outside of `rootfs`"), {
        Tar::image().file("manifest/a", b"!").end()
    });
    add(
        "no manifest",
        Refused("no `manifest`"),
        Tar::default().dir("rootfs").end(),
    );
    add(
        "no rootfs",
        Refused("no `rootfs`"),
        Tar::default().file("manifest", MANIFEST.as_bytes()).end(),
    );
    add("nothing but zeros", Refused("no `manifest`"), Tar::default().end());
    add("an empty file", Refused("truncated"), Vec::new());
    add(
        "a text",
        Refused("not an image archive"),
        b"Hello, I am an image. ".repeat(100),
    );
    add(
        "a signature in place of an archive",
        Refused("encrypted"),
        b"-----BEGIN PGP SIGNATURE-----\n".repeat(30),
    );
    let kind = |kind: u8| Tar::image().header(Header::new(kind, b"rootfs/a")).end();
    add("an unknown type", Refused("of the unknown type `Q`"), kind(b'Q'));
    add("a volume label", Refused("label of a volume"), kind(b'V'));
    add("a part of a volume", Refused("several volumes"), kind(b'M'));
    add("an incremental backup", Refused("incremental backup"), kind(b'D'));
    add("old long names", Refused("older than GNU tar 1.12"), kind(b'N'));
}

fn manifests(add: &mut Add<'_>) {
    let with = |json: &str| Tar::with_manifest(json.as_bytes()).end();
    let unknown = |value: &str| with(&format!("{},\"x\":{value}}}", MANIFEST.trim_end_matches('}')));
    add("manifest of 5 MiB", Refused("is over 4 MiB"), {
        let json = format!("{MANIFEST}{}", " ".repeat(5 << 20));
        with(&json)
    });
    add("manifest that says it has 8 GiB", Refused("is over 4 MiB"), {
        let header = Header::new(b'0', b"manifest").size(8 << 30);
        Tar::default().header(header).end()
    });
    add("manifest that is no UTF-8", Refused("manifest is not valid"), {
        Tar::with_manifest(b"{\"acKind\":\"\xff\"}").end()
    });
    add("manifest that is empty", Refused("manifest is not valid"), with(""));
    add(
        "manifest that is a number",
        Refused("manifest is not valid"),
        with("17"),
    );
    add(
        "manifest and more",
        Refused("manifest is not valid"),
        with(&format!("{MANIFEST} {{}}")),
    );
    add(
        "manifest nested 10,000 deep",
        Refused("recursion limit"),
        with(&"[".repeat(10_000)),
    );
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    add(
        "unknown field nested 10,000 deep",
        Refused("recursion limit"),
        unknown(&deep),
    );
    let deep = format!("{}1{}", "{\"a\":".repeat(10_000), "}".repeat(10_000));
    add(
        "unknown objects nested 10,000 deep",
        Refused("recursion limit"),
        unknown(&deep),
    );
    add("a known key twice", Refused("`name` stands twice"), {
        with(&MANIFEST.replace("{\"ac", "{\"name\":\"example.com/other\",\"ac"))
    });
    add(
        "an unknown key twice",
        Refused("`y` stands twice"),
        unknown(r#"[{"y":1,"y":2}]"#),
    );
    add(
        "a key twice by an escape",
        Refused("`y` stands twice"),
        unknown(r#"[{"y":1,"\u0079":2}]"#),
    );
    add(
        "a million values",
        Refused("over 200000 values"),
        unknown(&format!("[{}0]", "0,".repeat(1_000_000))),
    );
    add(
        "a name that climbs",
        Refused("manifest is not valid"),
        with(&MANIFEST.replace("example.com/hostile", "../../escaped")),
    );
    add("a whitelist that climbs", Safe, {
        with(&MANIFEST.replace('}', ",\"pathWhitelist\":[\"/../../escaped\"]}"))
    });
}

/// What overlayfs, and container engines, would take for more than a file.
fn overlays(add: &mut Add<'_>) {
    let attribute = |name: &str, value: &[u8]| {
        let key = format!("SCHILY.xattr.{name}");
        Tar::image().pax(&[(&key, value)]).file("rootfs/a", b"a").end()
    };
    add(
        "a whiteout's name is a name",
        Safe,
        Tar::image().file("rootfs/.wh.etc", b"").end(),
    );
    add(
        "an opaque mark's name is a name",
        Safe,
        Tar::image().file("rootfs/d/.wh..wh..opq", b"").end(),
    );
    let device = |kind: u8, major, minor| {
        Tar::image()
            .header(Header::new(kind, b"rootfs/a").device(major, minor))
            .end()
    };
    add(
        "character device 0:0",
        NotRendered("overlayfs takes for a deleted file"),
        device(b'3', 0, 0),
    );
    add("block device 8:0", Safe, device(b'4', 8, 0));
    add("character device 1:1, the memory", Safe, device(b'3', 1, 1));
    add(
        "device number too large",
        NotRendered("cannot be stored"),
        device(b'3', 5000, 1),
    );
    add(
        "a named pipe",
        Safe,
        Tar::image().header(Header::new(b'6', b"rootfs/a")).end(),
    );
    add(
        "set-user-ID root",
        Safe,
        Tar::image().header(Header::new(b'0', b"rootfs/a").mode(0o6755)).end(),
    );
    add(
        "type bits in the mode",
        Safe,
        Tar::image()
            .header(Header::new(b'0', b"rootfs/a").mode(0o120_777))
            .end(),
    );
    let reserved = "reserved for overlayfs";
    add(
        "user.overlay.redirect",
        NotRendered(reserved),
        attribute("user.overlay.redirect", b"/../../../etc/shadow"),
    );
    add(
        "user.overlay.metacopy",
        NotRendered(reserved),
        attribute("user.overlay.metacopy", b""),
    );
    add(
        "user.overlay.opaque",
        NotRendered(reserved),
        attribute("user.overlay.opaque", b"y"),
    );
    add(
        "trusted.overlay.redirect",
        NotRendered(reserved),
        attribute("trusted.overlay.redirect", b"/etc/shadow"),
    );
    add(
        "trusted.overlay.whiteout",
        NotRendered(reserved),
        attribute("trusted.overlay.whiteout", b"y"),
    );
    add("trusted.other", Safe, attribute("trusted.other", b"1"));
    add("security.capability", Safe, {
        attribute(
            "security.capability",
            b"\x01\0\0\x02\xff\xff\xff\xff\0\0\0\0\xff\xff\xff\xff\0\0\0\0",
        )
    });
    add(
        "attribute of another system",
        Safe,
        attribute("com.apple.quarantine", b"1"),
    );
    add(
        "attribute without a name",
        Refused("attribute whose name is empty"),
        attribute("", b"1"),
    );
    add(
        "attribute with a NUL in its name",
        Refused("has a NUL"),
        attribute("user.a\0b", b"1"),
    );
    let long = format!("user.{}", "n".repeat(300));
    add(
        "attribute name of 305 bytes",
        Refused("over 255 bytes"),
        attribute(&long, b"1"),
    );
    add(
        "attribute of 100,000 bytes",
        NotRendered("cannot be stored"),
        attribute("user.a", &vec![b'v'; 100_000]),
    );
}

fn numbers(add: &mut Add<'_>) {
    let with = |header: Header| Tar::image().header(header).end();
    let file = || Header::new(b'0', b"rootfs/a");
    let bad = "a number that is malformed or too large";
    add("checksum wrong", Refused("checksum is wrong"), {
        let mut tar = Tar::image().file("rootfs/a", b"");
        let at = tar.0.len() - 500;
        tar.0[at] ^= 1;
        tar.end()
    });
    add("checksum no number", Refused("checksum is no number"), {
        let mut tar = Tar::image().file("rootfs/a", b"");
        let at = tar.0.len() - 512 + 148;
        tar.0[at..at + 8].copy_from_slice(b"zzzzzzzz");
        tar.end()
    });
    add(
        "uid over 32 bits",
        Refused(bad),
        with(file().field(108, b"\x80\0\0\x01\0\0\0\0")),
    );
    add(
        "uid over 64 bits",
        Refused("malformed"),
        Tar::image()
            .pax(&[("uid", b"99999999999999999999")])
            .header(file())
            .end(),
    );
    add(
        "uid 4294967295, which chown takes for none",
        Refused("takes for none"),
        Tar::image().pax(&[("uid", b"4294967295")]).header(file()).end(),
    );
    add("gid 4294967295", Refused("takes for none"), {
        Tar::image().pax(&[("gid", b"4294967295")]).header(file()).end()
    });
    add(
        "negative uid",
        Refused(bad),
        with(file().field(108, b"\xff\xff\xff\xff\xff\xff\xff\xfe")),
    );
    add("negative uid in PAX", Refused("PAX record is malformed"), {
        Tar::image().pax(&[("uid", b"-1")]).header(file()).end()
    });
    add(
        "negative size",
        Refused(bad),
        with(file().field(124, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe\0")),
    );
    add(
        "negative size in PAX",
        Refused("malformed"),
        Tar::image().pax(&[("size", b"-512")]).header(file()).end(),
    );
    add(
        "size with letters",
        Refused(bad),
        with(file().field(124, b"0000000000x\0")),
    );
    add(
        "size larger than the file",
        Refused("truncated"),
        with(file().size(1 << 20)),
    );
    add(
        "size of 8 EiB",
        Refused("bytes of tar"),
        with(file().field(124, b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff")),
    );
    add("size of 16 EiB in PAX", Refused("bytes of tar"), {
        Tar::image()
            .pax(&[("size", b"18446744073709551615")])
            .header(file())
            .end()
    });
    add("size of 65 GiB", Refused("bytes of tar"), {
        Tar::image().pax(&[("size", b"69793218560")]).header(file()).end()
    });
    let two_sizes = |pax: &[u8], header: u64| {
        let inner = Tar::default().file("rootfs/hidden", b"evil").0;
        Tar::image()
            .pax(&[("size", pax)])
            .header(file().size(header))
            .content(&inner)
            .end()
    };
    add(
        "two sizes, the header's 0",
        Refused("has two sizes"),
        two_sizes(b"1024", 0),
    );
    add("two sizes, PAX's 0", Refused("has two sizes"), two_sizes(b"0", 1024));
    add("two sizes that agree", Safe, two_sizes(b"1024", 1024));
    add("directory with a size", Refused("has a size"), {
        Tar::image()
            .header(Header::new(b'5', b"rootfs/d").size(1024))
            .content(&Tar::default().file("rootfs/hidden", b"evil").0)
            .end()
    });
    add(
        "symlink with a size",
        Refused("has a size"),
        with(Header::new(b'2', b"rootfs/s").link(b"a").size(512)),
    );
    add(
        "device with a size",
        Refused("has a size"),
        with(Header::new(b'3', b"rootfs/c").device(1, 3).size(512)),
    );
    add(
        "file that is a directory by its slash, with a size",
        Refused("has a size"),
        Tar::image().file("rootfs/d/", b"content").end(),
    );
    add(
        "time before 1970",
        Safe,
        with(file().field(136, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe")),
    );
    add("time that only looks negative", Refused(bad), {
        with(file().field(136, b"\xff\0\0\0\xff\xff\xff\xff\xff\xff\xff\xfe"))
    });
    add("time at the end of 64 bits", Safe, {
        Tar::image()
            .pax(&[("mtime", b"9223372036854775807.999999999")])
            .header(file())
            .end()
    });
    add("time beyond 64 bits", Refused("malformed"), {
        Tar::image()
            .pax(&[("mtime", b"9223372036854775808")])
            .header(file())
            .end()
    });
    add("time that is not a number", Refused("malformed"), {
        Tar::image().pax(&[("mtime", b"nan")]).header(file()).end()
    });
    add("device without numbers, as version 7 has it", Refused(bad), {
        with(Header::new(b'3', b"rootfs/a").field(257, &[0; 8]))
    });
}

fn extensions(add: &mut Add<'_>) {
    let malformed = "PAX record is malformed";
    let body = |body: &[u8]| Tar::image().extension(b'x', body).file("rootfs/a", b"").end();
    add("PAX length too long", Refused(malformed), body(b"99 path=rootfs/b\n"));
    add("PAX length too short", Refused(malformed), body(b"4 path=rootfs/b\n"));
    add("PAX length of 0", Refused(malformed), body(b"0 path=rootfs/b\n"));
    add(
        "PAX length with a sign",
        Refused(malformed),
        body(b"+18 path=rootfs/b\n"),
    );
    add(
        "PAX length beyond 64 bits",
        Refused(malformed),
        body(b"99999999999999999999 path=rootfs/b\n"),
    );
    add("PAX without `=`", Refused(malformed), body(b"10 abcdef\n"));
    add("PAX records behind zeros", Refused(malformed), {
        body(&[b"\0\0\0\0".as_slice(), &pax_records(&[("path", b"rootfs/../escaped")])].concat())
    });
    add(
        "extension header of 2 MiB",
        Refused("over 1 MiB"),
        body(&pax_records(&[("comment", &vec![b'c'; 2 << 20])])),
    );
    add("extension header that says it has 8 GiB", Refused("over 1 MiB"), {
        Tar::image().header(Header::new(b'x', b"x").size(8 << 30)).end()
    });
    add("10,000 extension headers before an entry", Refused("over 1 MiB"), {
        let header = Tar::default().pax(&[("comment", b"c")]).0.repeat(10_000);
        Tar([Tar::image().0, header].concat()).file("rootfs/a", b"").end()
    });
    add(
        "extension header at the end",
        Refused("no entry after it"),
        Tar::image().pax(&[("path", b"rootfs/a")]).end(),
    );
    add("two names that differ", Refused("different names"), {
        Tar::image()
            .extension(b'L', b"rootfs/a\0")
            .pax(&[("path", b"rootfs/b")])
            .file("rootfs/c", b"")
            .end()
    });
    let global = |records: &[(&str, &[u8])]| {
        Tar::image()
            .extension(b'g', &pax_records(records))
            .file("rootfs/a", b"")
            .end()
    };
    let changes = "global PAX header changes the entries";
    add("global comment", Safe, global(&[("comment", b"0123456789")]));
    add(
        "global path",
        Refused(changes),
        global(&[("path", b"rootfs/../escaped")]),
    );
    add("global size", Refused(changes), global(&[("size", b"1024")]));
    add("global owner", Refused(changes), global(&[("uid", b"0")]));
    add(
        "global attribute",
        Refused(changes),
        global(&[("SCHILY.xattr.security.capability", b"x")]),
    );
    add("global sparse", Refused(changes), global(&[("GNU.sparse.major", b"1")]));
    add("character set of somebody", Refused("character set"), {
        Tar::image()
            .pax(&[("hdrcharset", b"EBCDIC")])
            .file("rootfs/a", b"")
            .end()
    });
    add(
        "two values of an attribute",
        Refused("two values of the extended attribute"),
        {
            let records: &[(&str, &[u8])] = &[
                ("SCHILY.xattr.security.capability", b"one"),
                ("LIBARCHIVE.xattr.security.capability", b"dHdv"),
            ];
            Tar::image().pax(records).file("rootfs/a", b"").end()
        },
    );
    add("attribute in bad base64", Refused(malformed), {
        Tar::image()
            .pax(&[("LIBARCHIVE.xattr.user.a", b"!!!")])
            .file("rootfs/a", b"")
            .end()
    });
    add("access control by an unknown name", Refused("`user:mallory:rwx`"), {
        let acl = b"user::rw-,user:mallory:rwx,group::r--,mask::rwx,other::r--";
        Tar::image()
            .pax(&[("SCHILY.acl.access", acl)])
            .file("rootfs/a", b"")
            .end()
    });
    add("NFSv4 access control", Refused("NFSv4"), {
        Tar::image()
            .pax(&[("SCHILY.acl.ace", b"owner@:rwx::allow")])
            .file("rootfs/a", b"")
            .end()
    });
    add("a volume in PAX", Refused("several volumes"), {
        Tar::image()
            .pax(&[("GNU.volume.filename", b"a")])
            .file("rootfs/a", b"")
            .end()
    });
}

fn sparse(add: &mut Add<'_>) {
    let refused = Refused("is a sparse file");
    let pax = |records: &[(&str, &[u8])]| {
        Tar::image()
            .pax(records)
            .file("rootfs/GNUSparseFile.1/giant", b"x")
            .end()
    };
    add("old GNU sparse giant", refused, {
        let header = Header::new(b'S', b"rootfs/giant")
            .field(257, b"ustar  \0")
            .field(386, b"00000000000\x0000000000001\0")
            .field(483, b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff");
        Tar::image().header(header.size(1)).content(b"x").end()
    });
    add("PAX 0.0 sparse giant", refused, {
        let records: &[(&str, &[u8])] = &[
            ("GNU.sparse.size", b"9223372036854775807"),
            ("GNU.sparse.numblocks", b"1"),
            ("GNU.sparse.offset", b"9223372036854775806"),
            ("GNU.sparse.numbytes", b"1"),
        ];
        pax(records)
    });
    add("PAX 0.1 sparse giant", refused, {
        pax(&[("GNU.sparse.size", b"9223372036854775807"), ("GNU.sparse.map", b"0,1")])
    });
    add(
        "PAX 1.0 sparse giant",
        Refused("the entry `rootfs/giant`, which is a sparse file"),
        {
            let records: &[(&str, &[u8])] = &[
                ("GNU.sparse.major", b"1"),
                ("GNU.sparse.minor", b"0"),
                ("GNU.sparse.name", b"rootfs/giant"),
                ("GNU.sparse.realsize", b"9223372036854775807"),
            ];
            pax(records)
        },
    );
    add(
        "star's sparse file",
        refused,
        pax(&[("SCHILY.realsize", b"1099511627776")]),
    );
}

fn streams(add: &mut Add<'_>) {
    const COMPRESSIONS: [(Compression, [&str; 4]); 4] = [
        (
            Compression::Gzip,
            ["gzip: good", "gzip: trailing data", "gzip: two members", "gzip: broken"],
        ),
        (
            Compression::Bzip2,
            [
                "bzip2: good",
                "bzip2: trailing data",
                "bzip2: two streams",
                "bzip2: broken",
            ],
        ),
        (
            Compression::Xz,
            ["xz: good", "xz: trailing data", "xz: two streams", "xz: broken"],
        ),
        (
            Compression::Zstd,
            ["zstd: good", "zstd: trailing data", "zstd: two frames", "zstd: broken"],
        ),
    ];
    let tar = Tar::image().file("rootfs/a", &noise(20_000)).end();
    for (compression, [good, trailing, two, broken]) in COMPRESSIONS {
        let archive = compressed(compression, &tar);
        add(good, Safe, archive.clone());
        let more = [archive.as_slice(), b"trailing data, which is no stream of any kind"].concat();
        add(trailing, Refused("could not read the archive"), more);
        let (head, tail) = tar.split_at(3000);
        add(
            two,
            Safe,
            [compressed(compression, head), compressed(compression, tail)].concat(),
        );
        let mut damaged = archive.clone();
        damaged[archive.len() / 2] ^= 0x10;
        // A flipped bit is seen by the stream's own checksum, or before it by the tar's.
        add(broken, Refused("archive"), damaged);
    }
    add("two compressions around each other", Refused("not an image archive"), {
        compressed(Compression::Gzip, &compressed(Compression::Gzip, &tar))
    });
    add(
        "two tars in one file",
        Refused("other than zeros follows"),
        [tar.clone(), tar.clone()].concat(),
    );
    add(
        "text behind the tar",
        Refused("other than zeros follows"),
        [tar.clone(), b"text".to_vec()].concat(),
    );
    add(
        "1 MiB of zeros behind the tar",
        Safe,
        [tar.clone(), vec![0; (1 << 20) - 512]].concat(),
    );
    add(
        "2 MiB of zeros behind the tar",
        Refused("1 MiB of zeros"),
        [tar.clone(), vec![0; 2 << 20]].concat(),
    );
    add(
        "one block of zeros at the end",
        Refused("truncated"),
        tar[..tar.len() - 512].to_vec(),
    );
    add(
        "xz with a dictionary of 4 GiB",
        Refused("memory limit"),
        xz_with_large_dictionary(&tar),
    );
    add(
        "zstd with a window of 2 GiB",
        Refused("too much memory"),
        zstd_with_window(&tar, 31),
    );
}

/// Bytes that do not compress, always the same.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(length).collect()
}

pub(crate) fn compressed(compression: Compression, bytes: &[u8]) -> Vec<u8> {
    let mut compressor = Compressor::new(compression, Vec::new()).expect("a vector can be written to");
    compressor.write_all(bytes).expect("a vector can be written to");
    compressor.finish().expect("a vector can be written to")
}

/// An xz stream whose block header asks for a dictionary of 4 GiB, its CRC made right again.
fn xz_with_large_dictionary(bytes: &[u8]) -> Vec<u8> {
    let mut archive = compressed(Compression::Xz, bytes);
    // Stream header of 12 bytes; block header: size, flags, filter 21, one byte of properties, which is the dictionary.
    assert_eq!(archive[14..16], [0x21, 1], "LZMA2 with one byte of properties");
    archive[16] = 40;
    let length = (usize::from(archive[12]) + 1) * 4;
    let crc = crc32(&archive[12..12 + length - 4]).to_le_bytes();
    archive[12 + length - 4..12 + length].copy_from_slice(&crc);
    archive
}

/// A Zstandard frame of raw blocks whose header asks for a window of `1 << log` bytes.
fn zstd_with_window(bytes: &[u8], log: u8) -> Vec<u8> {
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, (log - 10) << 3];
    let mut blocks = bytes.chunks(100_000).peekable();
    while let Some(block) = blocks.next() {
        let last = u32::from(blocks.peek().is_none());
        let header = u32::try_from(block.len()).expect("blocks are small") << 3 | last;
        frame.extend(&header.to_le_bytes()[..3]);
        frame.extend(block);
    }
    frame
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 * (crc & 1)))
    })
}
