//! `SOURCE_DATE_EPOCH`.

use std::env;

use anyhow::{Context as _, Result};

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
