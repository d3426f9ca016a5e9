//! Where the commands that change a site find it.

use std::path::Path;

use anyhow::Result;
use clap::Args;
use dhow_site::{BaseUrl, Files, Site};
use url::Url;

use crate::context::Context;

/// Where a site is.
#[derive(Args)]
pub(crate) struct SiteArguments {
    /// The site's directory, made if there is none, or its bucket, as in s3://bucket/prefix
    #[arg(long, value_name = "DIR|URL")]
    site: String,
    /// Where on the web the site is
    #[arg(long, value_name = "URL")]
    url: Url,
}

impl SiteArguments {
    pub(crate) fn open(&self, context: &Context) -> Result<Site> {
        let base = BaseUrl::new(self.url.clone())?;
        Ok(match self.site.contains("://") {
            true => Site::with_files(Files::open_with(&self.site, &context.buckets()?)?, base),
            false => Site::open_directory(Path::new(&self.site), base)?,
        })
    }
}
