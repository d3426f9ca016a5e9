//! Hostile patches: whatever one claims, it takes little memory. The peak is what the kernel says of this process.

#![allow(clippy::unwrap_used)]

use std::{
    fs::{self, File},
    io::{Seek, Write},
    sync::Arc,
};

use dhow_image::{BuildOptions, Compression, ImageManifest, Limits, Name, build};
use dhow_store::{
    Standing, Store,
    delta::{Delta, DeltaHead, DeltaPatch, HeadRecipe, PackOptions, pack_image},
    pack::{Backend, ContentRef, Directory, Layers},
};
use sha2::{Digest, Sha256};

/// What no patch may make a reader take, in kilobytes.
const MOST: u64 = 64_000;

fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Zeros as Zstandard has them, without holding them.
fn zeros(mebibytes: usize, window_log: u32) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(window_log).unwrap();
    for _ in 0..mebibytes {
        encoder.write_all(&[0; 1 << 20]).unwrap();
    }
    encoder.finish().unwrap()
}

fn frame(patch: &mut File, length: u32, ranges: &[(u32, u64, u32)], stored: &[u8]) {
    for number in [
        length,
        u32::try_from(stored.len()).unwrap(),
        u32::try_from(ranges.len()).unwrap(),
    ] {
        patch.write_all(&number.to_le_bytes()).unwrap();
    }
    for (source, start, length) in ranges {
        patch.write_all(&source.to_le_bytes()).unwrap();
        patch.write_all(&start.to_le_bytes()).unwrap();
        patch.write_all(&length.to_le_bytes()).unwrap();
    }
    patch.write_all(stored).unwrap();
}

/// Bombs and windows with the longest prefix, and a stream that goes on and on.
#[test]
fn a_hostile_patch_takes_little_memory() {
    let directory = tempfile::tempdir().unwrap();
    let scratch = directory.path();
    let rootfs = scratch.join("rootfs");
    fs::create_dir(&rootfs).unwrap();
    File::create(rootfs.join("large")).unwrap().set_len(64 << 20).unwrap();
    let archive = scratch.join("app.aci");
    let options = BuildOptions {
        compression: Compression::Zstd,
        ..BuildOptions::default()
    };
    let name = Name::new("example.com/app").unwrap();
    let manifest = ImageManifest::new(name.clone());
    build(&manifest, &rootfs, &options, File::create(&archive).unwrap()).unwrap();
    let store = Arc::new(Store::open(&scratch.join("store")).unwrap());
    let staged = store.stage(File::open(&archive).unwrap()).unwrap();
    let base = staged.commit(&serde_json::json!({}), Standing::Verified).unwrap();
    fs::write(rootfs.join("new"), "new").unwrap();
    build(&manifest, &rootfs, &options, File::create(&archive).unwrap()).unwrap();
    let backend: Arc<dyn Backend> = Arc::new(Directory::open(&scratch.join("packs")).unwrap());
    let options = PackOptions {
        limits: Limits::default(),
        layers: Layers::plain().compressed(1),
        scratch,
    };
    let packed = pack_image(File::open(&archive).unwrap(), &backend, &[], &options).unwrap();
    let mut head = DeltaHead {
        id: packed.id,
        tar_size: packed.tar_size,
        archive_sha512: [0; 64],
        archive_size: 1 << 30,
        // Whoever signs this says that the records go on for as long as records can.
        recipe: HeadRecipe::Plain(ContentRef {
            length: packed.tar_size,
            ..packed.recipe
        }),
        up: 3,
        packs: packed.packs,
        patch: None,
    };

    let longest = [(1, 0, 12 << 20)];
    let (honest, bomb, window) = (zeros(4, 22), zeros(64, 22), zeros(64, 27));
    // What the publisher's part took does not count.
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = peak();
    for (what, length, ranges, stored, times, said) in [
        (
            "a long stream",
            4 << 20,
            &longest[..],
            &honest,
            40,
            "not what its digest says",
        ),
        ("a bomb", 4 << 20, &longest, &bomb, 1, "does not decompress"),
        ("a window", 4 << 20, &longest, &window, 1, "does not decompress"),
        (
            "a prefix too long",
            4 << 20,
            &[(1, 0, 64 << 20)],
            &honest,
            1,
            "too long a prefix",
        ),
        (
            "many prefixes",
            4 << 20,
            &[(1, 0, 1 << 20); 4096],
            &honest,
            1,
            "too long a prefix",
        ),
    ] {
        let mut patch = tempfile::tempfile().unwrap();
        patch.write_all(b"dhow patch 1\n").unwrap();
        patch.write_all(base.as_bytes()).unwrap();
        patch.write_all(head.id.as_bytes()).unwrap();
        for _ in 0..times {
            frame(&mut patch, length, ranges, stored);
        }
        patch.rewind().unwrap();
        let mut hasher = Sha256::new();
        std::io::copy(&mut patch, &mut Updating(&mut hasher)).unwrap();
        head.patch = Some(DeltaPatch {
            base,
            size: patch.metadata().unwrap().len(),
            digest: hasher.finalize().into(),
        });
        let mut delta = Delta::new(store.clone(), head.clone(), &name).unwrap();
        let error = delta.apply(patch).unwrap_err().to_string();
        assert!(error.contains(said), "{what}: {error}");
    }
    assert!(peak() < MOST, "{before} kB before, {} kB at the peak", peak());
}

struct Updating<'a>(&'a mut Sha256);

impl Write for Updating<'_> {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        self.0.update(buffer);
        Ok(buffer.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
