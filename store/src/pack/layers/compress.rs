//! The layer that compresses: a byte that says how, and the bytes.

use std::{cell::RefCell, io};

use zstd::bulk::Decompressor;

const AS_IT_IS: u8 = 0;
const ZSTANDARD: u8 = 1;

/// Compresses, unless that makes it no smaller.
pub(in crate::pack) fn compress(bytes: &[u8], level: i32) -> io::Result<Vec<u8>> {
    let mut body = zstd::bulk::compress(bytes, level)?;
    let method = if body.len() < bytes.len() {
        ZSTANDARD
    } else {
        body = bytes.to_vec();
        AS_IT_IS
    };
    body.insert(0, method);
    Ok(body)
}

/// Expands to exactly `length` bytes, and to no more whatever the frame claims of itself.
pub(in crate::pack) fn expand(body: &[u8], length: usize) -> Result<Vec<u8>, &'static str> {
    let bytes = match body.split_first() {
        Some((&AS_IT_IS, bytes)) => bytes.to_vec(),
        Some((&ZSTANDARD, frame)) => {
            decompress(frame, length).map_err(|_| "a frame does not decompress to its length")?
        }
        _ => return Err("a frame is compressed in an unknown way"),
    };
    if bytes.len() != length {
        return Err("a frame does not decompress to its length");
    }
    Ok(bytes)
}

/// What decompression works with is made once a thread: it has more bytes than most frames.
fn decompress(frame: &[u8], length: usize) -> io::Result<Vec<u8>> {
    thread_local! {
        static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
    }
    DECOMPRESSOR.with_borrow_mut(|kept| {
        let decompressor = match kept {
            Some(decompressor) => decompressor,
            None => kept.insert(Decompressor::new()?),
        };
        decompressor.decompress(frame, length)
    })
}
