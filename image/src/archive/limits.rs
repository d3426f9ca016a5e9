//! How much of an archive is believed before anything of it is known to be good.

/// The bounds of an archive. What is beyond them is refused as soon as it is seen, so that a few compressed megabytes
/// can neither exhaust the memory nor run for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many names the archive may have, those of directories that only the paths beneath them speak of included.
    /// One takes about 24 bytes of memory.
    pub names: usize,
    /// How many bytes the uncompressed tar may have.
    pub tar_size: u64,
}

impl Limits {
    /// No bounds, for what has been read within bounds before.
    pub const NONE: Self = Self {
        names: usize::MAX,
        tar_size: u64::MAX,
    };
}

impl Default for Limits {
    /// 1,500,000 names and 64 GiB: fifty times a Debian system in files, and less than 64 MB of memory.
    fn default() -> Self {
        Self {
            names: 1_500_000,
            tar_size: 64 << 30,
        }
    }
}
