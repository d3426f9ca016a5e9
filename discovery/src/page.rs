//! [`PageTags`]: what a publisher writes into the pages of a site.

use std::fmt::Write as _;

use dhow_image::Name;

/// The meta tags that tell where the images of a name lie (appc spec, discovery.md, "Discovery URL").
///
/// ```
/// use dhow_discovery::PageTags;
/// use dhow_image::Name;
///
/// let tags = PageTags {
///     prefix: Name::new("example.com")?,
///     templates: vec!["https://example.com/images/{name}-{version}-{os}-{arch}.{ext}".to_owned()],
///     pubkeys: Some("https://example.com/pubkeys.gpg".to_owned()),
///     catalog: None,
/// };
/// assert!(tags.to_html().starts_with(r#"<meta name="ac-discovery" content="example.com https://example.com/"#));
/// # Ok::<(), dhow_image::NameError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageTags {
    /// The tags speak of this name and all below it.
    pub prefix: Name,
    /// URL templates, in the order in which they are to be tried: rkt uses the first only, so let that be HTTPS.
    pub templates: Vec<String>,
    /// Where the public keys lie that sign the images.
    pub pubkeys: Option<String>,
    /// The prefix of which the signed catalog speaks, which the tags' own is under, and where it lies.
    pub catalog: Option<(Name, String)>,
}

impl PageTags {
    /// The tags, one a line, to be put inside a page's `<head>`.
    pub fn to_html(&self) -> String {
        let prefix = &self.prefix;
        let templates = self.templates.iter().map(|url| ("ac-discovery", prefix, url));
        let pubkeys = self.pubkeys.iter().map(|url| ("ac-discovery-pubkeys", prefix, url));
        let catalog = self.catalog.iter().map(|(prefix, url)| ("dhow-catalog", prefix, url));
        let mut html = String::new();
        for (name, prefix, value) in templates.chain(pubkeys).chain(catalog) {
            let content = escape(&format!("{prefix} {value}"));
            writeln!(html, r#"<meta name="{name}" content="{content}">"#).expect("writing to a string does not fail");
        }
        html
    }
}

/// Makes a text fit for a quoted attribute.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::tags::{TagKind, read_tags};

    #[test]
    fn the_reader_gets_back_what_was_written() {
        let tags = PageTags {
            prefix: Name::new("example.com/team").unwrap(),
            templates: vec![
                r#"https://example.com/{name}.{ext}?a=1&amp=2&quot="<'>"#.to_owned(),
                "bittorrent://example.com/{name}.torrent".to_owned(),
            ],
            pubkeys: Some("https://example.com/pubkeys.gpg".to_owned()),
            catalog: Some((
                Name::new("example.com").unwrap(),
                "https://example.com/CATALOG".to_owned(),
            )),
        };
        let page = format!(
            "<!DOCTYPE html><html><head><title>x</title>\n{}</head></html>",
            tags.to_html()
        );
        let read: Vec<_> = read_tags(page.as_bytes()).unwrap();
        let read: Vec<_> = read.iter().map(|tag| (tag.kind(), tag.parse().unwrap())).collect();
        let prefix = || tags.prefix.clone();
        let expected = vec![
            (TagKind::Template, (prefix(), tags.templates[0].as_str())),
            (TagKind::Template, (prefix(), tags.templates[1].as_str())),
            (TagKind::Pubkeys, (prefix(), "https://example.com/pubkeys.gpg")),
            (
                TagKind::Catalog,
                (Name::new("example.com").unwrap(), "https://example.com/CATALOG"),
            ),
        ];
        assert_eq!(read, expected);
    }
}
