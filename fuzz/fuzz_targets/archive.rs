//! An archive of any bytes is read or refused; what is read keeps its promises: no path leaves the root, no directory
//! is another file too, and framing and contents together are the tar.
#![no_main]

use std::io::Read;

use dhow_image::{Compression, Decompressor, EntryKind, Limits, TarReader, read_summary_within};
use libfuzzer_sys::fuzz_target;

/// So that a bomb is a quick one.
const LIMITS: Limits = Limits {
    names: 10_000,
    tar_size: 8 << 20,
};

fuzz_target!(|archive: &[u8]| {
    let summary = read_summary_within(archive, LIMITS);
    let Ok(decompressor) = Decompressor::new(archive) else {
        assert!(summary.is_err());
        return;
    };
    let is_plain = decompressor.compression() == Compression::None;
    let mut tar = TarReader::with_limits(decompressor, LIMITS);
    let mut rebuilt = Vec::new();
    let mut entries = 0;
    let result = loop {
        let entry = match tar.next_entry() {
            Ok(Some(entry)) => entry,
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        };
        assert!(
            entry
                .path
                .parts()
                .all(|part| part != b".." && part != b"." && !part.contains(&0))
        );
        assert!(!entry.path.as_bytes().starts_with(b"/"));
        assert!(entry.mode <= 0o7777);
        rebuilt.extend(tar.take_framing());
        match entry.kind {
            EntryKind::Manifest { .. } => match tar.read_manifest() {
                Ok((_, json)) => rebuilt.extend(json),
                Err(error) => break Err(error),
            },
            _ => {
                entries += 1;
                let mut buffer = [0; 4096];
                let end = loop {
                    match tar.read_content(&mut buffer) {
                        Ok(0) => break Ok(()),
                        Ok(read) => rebuilt.extend(&buffer[..read]),
                        Err(error) => break Err(error),
                    }
                };
                if let Err(error) = end {
                    break Err(error);
                }
            }
        }
    };
    rebuilt.extend(tar.take_framing());
    assert_eq!(result.is_ok(), summary.is_ok(), "two ways of reading agree: {result:?}");
    if let Ok(summary) = summary {
        assert_eq!(summary.entries, entries);
        assert_eq!(summary.tar_size, rebuilt.len() as u64);
        let mut whole = Vec::new();
        Decompressor::new(archive)
            .and_then(|mut tar| Ok(tar.read_to_end(&mut whole)?))
            .expect("it was read before");
        assert_eq!(rebuilt, whole);
        assert!(!is_plain || rebuilt == archive);
    }
});
