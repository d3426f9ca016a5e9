//! The hostile archives, by name, with what must become of each: shared by the tests of `dhow-image`, which read them,
//! and of `dhow-store`, which take them in and render them.

#[path = "cases/headers.rs"]
mod headers;
#[path = "cases/layout.rs"]
mod layout;
#[path = "cases/paths.rs"]
mod paths;
#[path = "cases/streams.rs"]
mod streams;

use std::io::Write;

use dhow_image::{Compression, Compressor};

use crate::tar::{Header, Tar};

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

pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) archive: Vec<u8>,
    pub(crate) outcome: Outcome,
}

/// Every case. Files that must never come to be are called `escaped`.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name, outcome, archive: Vec<u8>| cases.push(Case { name, archive, outcome });
    paths::names(&mut add);
    paths::links(&mut add);
    layout::layout(&mut add);
    layout::manifests(&mut add);
    layout::overlays(&mut add);
    headers::numbers(&mut add);
    headers::extensions(&mut add);
    headers::sparse(&mut add);
    streams::streams(&mut add);
    cases
}

type Add<'a> = dyn FnMut(&'static str, Outcome, Vec<u8>) + 'a;

fn file_named(name: &[u8]) -> Vec<u8> {
    Tar::image()
        .pax(&[("path", name)])
        .header(Header::new(b'0', b"x"))
        .end()
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
