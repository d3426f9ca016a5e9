//! Writing what lies in pieces.

use std::{
    fs::File,
    io::{self, IoSlice},
};

use bytes::Bytes;
use nix::{errno::Errno, libc::off_t, sys::uio::pwritev};

/// The kernel takes no more pieces in one call (`IOV_MAX`).
const MOST: usize = 1024;

/// Writes these pieces one behind the other, from byte `at` of the file on, in as few calls as that takes.
pub(crate) fn write_all_at(file: &File, pieces: &[Bytes], mut at: u64) -> io::Result<()> {
    let mut slices: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
    let mut left = &mut slices[..];
    // Empty ones are left out.
    IoSlice::advance_slices(&mut left, 0);
    while !left.is_empty() {
        let now = &left[..left.len().min(MOST)];
        let offset = off_t::try_from(at).map_err(|_| io::ErrorKind::FileTooLarge)?;
        match pwritev(file, now, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                at += written as u64;
                IoSlice::advance_slices(&mut left, written);
            }
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Read;

    use super::*;

    #[test]
    fn pieces_of_any_number_and_length_come_one_behind_the_other() {
        for (count, length) in [(0, 1), (1, 0), (5, 0), (3, 70_000), (MOST, 1), (2 * MOST + 7, 3)] {
            let mut pieces: Vec<_> = (0..count).map(|n| Bytes::from(vec![(n % 251) as u8; length])).collect();
            pieces.insert(count / 2, Bytes::new());
            let mut file = tempfile::tempfile().unwrap();
            write_all_at(&file, &pieces, 5).unwrap();
            let mut written = Vec::new();
            file.read_to_end(&mut written).unwrap();
            let expected = pieces.concat();
            match expected.is_empty() {
                true => assert!(written.is_empty()),
                false => assert!(
                    written[..5] == [0; 5] && written[5..] == expected,
                    "{count} of {length}"
                ),
            }
        }
    }

    #[test]
    fn a_place_that_no_file_has_is_an_error() {
        let file = tempfile::tempfile().unwrap();
        assert!(write_all_at(&file, &[Bytes::from_static(b"x")], u64::MAX).is_err());
    }
}
