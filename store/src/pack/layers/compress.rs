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

/// Expands to exactly `length` bytes, in an empty buffer, whatever the frame claims of itself.
pub(in crate::pack) fn expand(body: &[u8], length: usize, out: &mut Vec<u8>) -> Result<(), &'static str> {
    out.reserve_exact(length);
    match body.split_first() {
        Some((&AS_IT_IS, bytes)) if bytes.len() == length => out.extend_from_slice(bytes),
        Some((&ZSTANDARD, frame)) => {
            decompress(frame, out).map_err(|_| "a frame does not decompress to its length")?;
        }
        Some((&AS_IT_IS, _)) => {}
        _ => return Err("a frame is compressed in an unknown way"),
    }
    match out.len() == length {
        true => Ok(()),
        false => Err("a frame does not decompress to its length"),
    }
}

/// What decompression works with is made once a thread: it has more bytes than most frames.
fn decompress(frame: &[u8], out: &mut Vec<u8>) -> io::Result<usize> {
    thread_local! {
        static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
    }
    DECOMPRESSOR.with_borrow_mut(|kept| {
        let decompressor = match kept {
            Some(decompressor) => decompressor,
            None => kept.insert(Decompressor::new()?),
        };
        decompressor.decompress_to_buffer(frame, out)
    })
}
