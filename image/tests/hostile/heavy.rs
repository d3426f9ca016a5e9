//! Archives that would take much memory from a reader that let them. Each is read by a process of its own, whose peak
//! is what the kernel says it was.

use std::{
    env,
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::Path,
    process::Command,
};

use dhow_image::{Compression, Compressor};

use crate::{
    cases::{compressed, noise},
    tar::{Header, MANIFEST, Tar},
};

/// What no archive may make a reader take, in kilobytes.
const MOST: u64 = 64_000;
const ARCHIVE: &str = "DHOW_HOSTILE_ARCHIVE";

pub(crate) struct Heavy {
    pub(crate) name: &'static str,
    /// Writes the archive; the number is how many MiB a bomb unfolds to.
    write: fn(&mut dyn Write, u64) -> io::Result<()>,
    /// What the error says; empty where the archive is read.
    refused: &'static str,
}

/// Every heavy archive.
pub(crate) const HEAVY: [Heavy; 11] = [
    heavy("gzip bomb", |out, size| bomb(out, Compression::Gzip, size), ""),
    heavy("bzip2 bomb", |out, size| bomb(out, Compression::Bzip2, size), ""),
    heavy("xz bomb", |out, size| bomb(out, Compression::Xz, size), ""),
    heavy("zstd bomb", |out, size| bomb(out, Compression::Zstd, size), ""),
    heavy("a million files", million, ""),
    heavy(
        "two million implied directories",
        implied_directories,
        "over 1500000 names",
    ),
    heavy("attributes of 1 MiB on each of 200 files", attributes, ""),
    heavy(
        "a manifest of 199,000 empty objects",
        |out, _| manifest(out, "{}", 99_500),
        "",
    ),
    heavy(
        "a manifest of nearly 4 MiB in one text",
        |out, _| manifest(out, &text(), 1),
        "",
    ),
    heavy("a manifest of 60,000 keys", keys, ""),
    heavy("an archive of empty gzip members", empty_members, "truncated"),
];

const fn heavy(name: &'static str, write: fn(&mut dyn Write, u64) -> io::Result<()>, refused: &'static str) -> Heavy {
    Heavy { name, write, refused }
}

/// Writes each archive into `directory` and lets the ignored test `reader` of this program read it.
pub(crate) fn assert_memory_stays_bounded(directory: &Path, reader: &str, bomb_mib: u64) {
    let path = directory.join("heavy.aci");
    let mut failures = Vec::new();
    for heavy in HEAVY {
        let mut file = BufWriter::new(File::create(&path).unwrap());
        (heavy.write)(&mut file, bomb_mib).unwrap();
        file.flush().unwrap();
        let start = std::time::Instant::now();
        let output = Command::new(env::current_exe().unwrap())
            .args(["--exact", reader, "--ignored", "--nocapture"])
            .env(ARCHIVE, &path)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
        let (peak, told) = (line("peak: ").parse::<u64>().unwrap_or(u64::MAX), line("outcome: "));
        let size = fs::metadata(&path).unwrap().len();
        let summary = format!(
            "{}: {size} bytes, peak {peak} kB, {:.1?}, {told}",
            heavy.name,
            start.elapsed()
        );
        let is_as_expected = match heavy.refused {
            "" => told == "read",
            part => told.contains(part),
        };
        if peak > MOST || !is_as_expected {
            failures.push(summary);
        } else {
            #[expect(clippy::print_stderr, reason = "who runs this by hand wants the figures")]
            {
                eprintln!("{summary}");
            }
        }
    }
    fs::remove_file(&path).unwrap();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// The reader's side: reads the archive, and tells its outcome and the peak of this process.
pub(crate) fn read_and_tell(read: impl FnOnce(File) -> Result<(), String>) {
    let Some(path) = env::var_os(ARCHIVE) else { return };
    let outcome = match read(File::open(path).unwrap()) {
        Ok(()) => "read".to_owned(),
        Err(error) => error,
    };
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak = peak.trim().trim_end_matches(" kB");
    #[expect(clippy::print_stdout, reason = "this is how the figures come back")]
    {
        println!("\noutcome: {outcome}\npeak: {peak}");
    }
}

/// A file of zeros, in as many streams one behind the other as it takes.
fn bomb(out: &mut dyn Write, compression: Compression, mib: u64) -> io::Result<()> {
    const PIECE: u64 = 16;
    let pieces = mib / PIECE;
    let size = (pieces * PIECE) << 20;
    let header = Header::new(b'0', b"rootfs/zeros").size(0);
    let head = Tar::image()
        .pax(&[("size", size.to_string().as_bytes())])
        .header(if size < 1 << 33 { header.size(size) } else { header });
    out.write_all(&compressed(compression, &head.0))?;
    let zeros = compressed(compression, &vec![0; (PIECE as usize) << 20]);
    for _ in 0..pieces {
        out.write_all(&zeros)?;
    }
    out.write_all(&compressed(compression, &[0; 1024]))
}

fn million(out: &mut dyn Write, _: u64) -> io::Result<()> {
    out.write_all(&Tar::image().0)?;
    // One header, in which only the digits of the name and of the checksum change: a million are a long way to go.
    let mut block = Tar::default().header(Header::new(b'0', b"rootfs/000/000000")).0;
    let sum = block
        .iter()
        .enumerate()
        .filter(|(at, _)| !(148..156).contains(at))
        .map(|(_, &byte)| u32::from(byte));
    let sum = sum.sum::<u32>() + 8 * u32::from(b' ') - 9 * u32::from(b'0');
    for number in 0..1_000_000 {
        let name = format!("{:03}/{number:06}", number % 1000);
        let digits: u32 = name.bytes().filter(u8::is_ascii_digit).map(u32::from).sum();
        block[7..17].copy_from_slice(name.as_bytes());
        block[148..154].copy_from_slice(format!("{:06o}", sum + digits).as_bytes());
        out.write_all(&block)?;
    }
    out.write_all(&[0; 1024])
}

fn implied_directories(out: &mut dyn Write, _: u64) -> io::Result<()> {
    let mut tar = Compressor::new(Compression::Zstd, out)?;
    tar.write_all(&Tar::image().0)?;
    for number in 0..1000 {
        let name = format!("rootfs/{number}{}", "/d".repeat(2000));
        tar.write_all(&Tar::default().pax(&[("path", name.as_bytes())]).file("x", b"").0)?;
    }
    tar.write_all(&[0; 1024])?;
    tar.finish().map(drop)
}

fn attributes(out: &mut dyn Write, _: u64) -> io::Result<()> {
    let mut tar = Compressor::new(Compression::Zstd, out)?;
    tar.write_all(&Tar::image().0)?;
    let values: Vec<_> = (0..16)
        .map(|number| (format!("SCHILY.xattr.user.{number}"), noise(65_000)))
        .collect();
    let records: Vec<_> = values
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_slice()))
        .collect();
    for number in 0..200 {
        tar.write_all(&Tar::default().pax(&records).file(&format!("rootfs/{number}"), b"").0)?;
    }
    tar.write_all(&[0; 1024])?;
    tar.finish().map(drop)
}

fn text() -> String {
    format!("\"{}\"", "x".repeat(4_194_000))
}

fn manifest(out: &mut dyn Write, value: &str, count: usize) -> io::Result<()> {
    let values = vec![value; count].join(",");
    let json = format!("{},\"x\":[{values}]}}", MANIFEST.trim_end_matches('}'));
    out.write_all(&Tar::with_manifest(json.as_bytes()).end())
}

fn keys(out: &mut dyn Write, _: u64) -> io::Result<()> {
    let members: Vec<_> = (0..60_000).map(|number| format!("\"{number}\":{{}}")).collect();
    manifest(out, &format!("{{{}}}", members.join(",")), 1)
}

fn empty_members(out: &mut dyn Write, _: u64) -> io::Result<()> {
    let member = compressed(Compression::Gzip, b"");
    out.write_all(&member.repeat(1_000_000))
}
