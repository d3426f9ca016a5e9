//! Headers that say too much, or what no two programs understand alike.

use super::{
    Add,
    Outcome::{Refused, Safe},
};
use crate::tar::{Header, Tar, pax_records};

pub(super) fn numbers(add: &mut Add<'_>) {
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

pub(super) fn extensions(add: &mut Add<'_>) {
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

pub(super) fn sparse(add: &mut Add<'_>) {
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
