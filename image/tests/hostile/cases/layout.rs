//! What an image may hold: its two parts, its manifest, and what overlayfs would take for more than a file.

use super::{
    Add,
    Outcome::{NotRendered, Refused, Safe},
};
use crate::tar::{Header, MANIFEST, Tar};

pub(super) fn layout(add: &mut Add<'_>) {
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

pub(super) fn manifests(add: &mut Add<'_>) {
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
pub(super) fn overlays(add: &mut Add<'_>) {
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
