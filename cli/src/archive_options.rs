//! How archives are written.

use std::env;

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use dhow_image::Compression;

/// A compression as users name it.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum CompressionName {
    None,
    Gzip,
    Bzip2,
    Xz,
    Zstd,
}

impl From<CompressionName> for Compression {
    fn from(name: CompressionName) -> Self {
        match name {
            CompressionName::None => Self::None,
            CompressionName::Gzip => Self::Gzip,
            CompressionName::Bzip2 => Self::Bzip2,
            CompressionName::Xz => Self::Xz,
            CompressionName::Zstd => Self::Zstd,
        }
    }
}

/// The time that `SOURCE_DATE_EPOCH` sets, in seconds since 1970 (reproducible-builds.org).
pub(crate) fn source_date_epoch() -> Result<Option<i64>> {
    let Some(text) = env::var_os("SOURCE_DATE_EPOCH") else {
        return Ok(None);
    };
    let text = text.to_string_lossy();
    let seconds = text
        .parse()
        .with_context(|| format!("SOURCE_DATE_EPOCH is `{text}`, which is no number"))?;
    Ok(Some(seconds))
}
