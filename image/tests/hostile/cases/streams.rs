//! Compressed streams, and what they unfold to.

use dhow_image::Compression;

use super::{
    Add,
    Outcome::{Refused, Safe},
    compressed, noise,
};
use crate::tar::Tar;

pub(super) fn streams(add: &mut Add<'_>) {
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
