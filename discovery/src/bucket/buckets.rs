//! [`Buckets`]: how each bucket is reached.

use std::collections::HashMap;

use super::{BucketError, BucketSettings};
use crate::scheme::Scheme;

/// What the user says of buckets, over what his surroundings say of all of them.
#[derive(Clone, Debug, Default)]
pub struct Buckets {
    said: HashMap<(Scheme, Option<String>), BucketSettings>,
    insecure_http: bool,
}

impl Buckets {
    /// Says how a bucket is reached; with `None`, how those of the scheme are of which nothing else is said. It takes
    /// the place of what was said of it before.
    pub fn say(&mut self, scheme: Scheme, bucket: Option<&str>, settings: BucketSettings) {
        self.said.insert((scheme, bucket.map(str::to_owned)), settings);
    }

    /// Allows endpoints of plain HTTP, whatever else is said.
    #[must_use]
    pub fn with_insecure_http(self) -> Self {
        Self {
            insecure_http: true,
            ..self
        }
    }

    /// How a bucket is reached: as is said of it, or else of its scheme, and where that says nothing, as the environment
    /// and the user's files say.
    ///
    /// For `s3` these are the variables `AWS_…`; where they hold no credentials, the profile `AWS_PROFILE` or `default`
    /// in `~/.aws/credentials` and `~/.aws/config`, with its region and endpoint; then a web identity or a container's
    /// role, and on a machine of Amazon's that machine's role. For `gs` the variables `GOOGLE_…` and the application
    /// default credentials, for `az` the variables `AZURE_…`. Where there are no credentials at all, requests are not
    /// signed, which is all that a public bucket needs.
    pub fn settings(&self, scheme: Scheme, bucket: &str) -> Result<BucketSettings, BucketError> {
        let of_bucket = self.said.get(&(scheme, Some(bucket.to_owned())));
        let said = of_bucket.or_else(|| self.said.get(&(scheme, None)));
        let mut said = said.cloned().unwrap_or_default();
        if self.insecure_http {
            said = said.with_insecure_http(scheme);
        }
        said.over_surroundings(scheme)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_a_bucket_counts_before_what_is_said_of_all() {
        let mut buckets = Buckets::default();
        let at = |url: &str| BucketSettings::new([("aws_endpoint_url", url), ("aws_skip_signature", "true")]);
        buckets.say(Scheme::S3, None, at("https://all.example"));
        buckets.say(Scheme::S3, Some("images"), at("https://old.example"));
        buckets.say(Scheme::S3, Some("images"), at("https://images.example"));
        let endpoint = |bucket: &str| {
            let settings = buckets.settings(Scheme::S3, bucket).unwrap();
            (settings.endpoint().map(str::to_owned), settings.allows_http())
        };
        assert_eq!(endpoint("images"), (Some("https://images.example".to_owned()), false));
        assert_eq!(endpoint("others"), (Some("https://all.example".to_owned()), false));
        let insecure = buckets.clone().with_insecure_http();
        assert!(insecure.settings(Scheme::S3, "images").unwrap().allows_http());
    }
}
