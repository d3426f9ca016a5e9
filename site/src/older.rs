//! [`OlderPage`]: a page of some of a name's older versions.
//!
//! The page of a name is read by every client that looks for one of its images, and none believes a page over 1 MiB. So
//! it shows the newest versions, and links to pages that have so many of the others each. They are counted from the oldest
//! on: one more version on top of all others changes none of them.

use std::sync::Arc;

use dhow_image::Name;
use sha2::{Digest, Sha256};

use crate::{
    Layout, Record,
    brief::Versioned,
    folder::VersionFile,
    latest,
    page::{STYLE, begin, escape, write, write_footer, write_versions},
};

/// How many versions are on such a page. There are at least as many on the page of the name, and fewer than twice as
/// many.
const VERSIONS: usize = 50;

/// A page of some of a name's older versions.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct OlderPage {
    /// That with the oldest versions has the number 1.
    pub(crate) number: usize,
    /// The latest first.
    pub(crate) versions: Vec<Arc<VersionFile>>,
}

/// The versions for the page of their name, and the pages of the others; the latest first.
pub(crate) fn split(versions: &[Arc<VersionFile>]) -> (Vec<Arc<VersionFile>>, Vec<OlderPage>) {
    let mut sorted: Vec<_> = versions.iter().collect();
    latest::sort(&mut sorted);
    let mut newest: Vec<_> = sorted.into_iter().cloned().collect();
    let count = (newest.len() / VERSIONS).saturating_sub(1);
    let older = newest.split_off(newest.len() - count * VERSIONS);
    let pages = older.chunks(VERSIONS).zip((1..=count).rev());
    let pages = pages.map(|(versions, number)| OlderPage {
        number,
        versions: versions.to_vec(),
    });
    (newest, pages.collect())
}

impl OlderPage {
    /// Of what the page is made, if the store tells one version of a file from another.
    pub(crate) fn made_of(&self, name: &Name, layout: &Layout) -> Option<String> {
        let mut hasher = Sha256::new();
        for text in [STYLE, name.as_str(), &layout.base().to_string()] {
            hasher.update(text);
            hasher.update([0]);
        }
        for version in &self.versions {
            hasher.update(&version.file);
            hasher.update([0]);
            hasher.update(version.e_tag.as_ref()?);
            hasher.update([0]);
        }
        Some(hex::encode(hasher.finalize()))
    }

    /// The page. These are the records of its versions.
    pub(crate) fn to_html(&self, name: &Name, records: &[Record], layout: &Layout) -> String {
        let mut html = begin(&format!("{name}: versions {}", self.range()), None);
        let (link, name) = (escape(&layout.page_link(name)), escape(name.as_str()));
        write(
            &mut html,
            format_args!(
                "<nav aria-label=\"Parent names\"><a href=\"{link}\">{name}</a> /</nav>\n<main>\n<h1>Older versions</h1>\n\
                 <p class=\"soft\">The newest are at <a href=\"{link}\">{name}</a>.</p>\n"
            ),
        );
        write_versions(&mut html, records, layout);
        write_footer(&mut html, None, layout);
        html
    }

    /// The versions, for people.
    pub(crate) fn range(&self) -> String {
        match self.versions.as_slice() {
            [first, .., last] => format!("{} to {}", first.version(), last.version()),
            [one] => one.version().to_owned(),
            [] => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_more_on_top_changes_no_full_page() {
        let versions: Vec<_> = (0..200).map(|n| VersionFile::example(&format!("1.{n}.0"))).collect();
        let mut before = Vec::new();
        for count in 0..=versions.len() {
            let (newest, mut pages) = split(&versions[..count]);
            assert!(newest.len() < 2 * VERSIONS && (pages.is_empty() || newest.len() >= VERSIONS));
            let all = newest.iter().chain(pages.iter().flat_map(|page| &page.versions));
            assert!(all.eq(versions[..count].iter().rev()), "{count}");
            pages.reverse();
            assert_eq!(pages[..before.len()], before);
            assert!(pages.iter().map(|page| page.number).eq(1..=pages.len()));
            before = pages;
        }
        assert_eq!(before.len(), 3);
    }
}
