//! [`Page`]: what clients and people find at a name.

use std::{collections::BTreeSet, fmt::Write as _, sync::Arc};

use dhow_discovery::PageTags;
use dhow_image::Name;

use crate::{Layout, Record, brief::Versioned, folder::VersionFile, older::OlderPage, record::RecordSigner};

pub(crate) const STYLE: &str = include_str!("page.css");

/// What stands over the names that are one path segment longer.
pub(crate) const CHILDREN: &str = "Names below";
/// What stands over hosts of names that are not under the base.
pub(crate) const HOSTS: &str = "Mirrored names";

/// A list of names on a page that clients read has at most so many bytes: none believes a page over 1 MiB.
const MOST_NAMES: usize = 256 << 10;

const FOOTNOTE: &str = "Programs find the addresses of images and keys in this page, by App Container Image Discovery.";

/// All that a page tells. Two equal ones make the same HTML.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Page {
    /// Whose page it is; `None` for the first page of a site whose base URL is no name.
    pub(crate) name: Option<Name>,
    /// The newest versions of exactly this name, the latest first.
    pub(crate) records: Vec<Record>,
    /// The pages of the others, the latest first.
    pub(crate) older: Vec<OlderPage>,
    /// The numbers of such pages that are there.
    pub(crate) pages: BTreeSet<usize>,
    /// What is to be told of all versions together.
    pub(crate) all: Together,
    /// The names one path segment longer.
    pub(crate) children: Vec<Name>,
    /// Whether there is a catalog that lists the name.
    pub(crate) has_catalog: bool,
    /// On the first page, the hosts of names that are not under the base.
    pub(crate) hosts: Vec<Name>,
}

/// What a page tells of all versions together.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Together {
    /// Whether there are any for all platforms, for one of every architecture, and for one.
    shapes: [bool; 3],
    /// Which of these have torrents.
    torrents: [bool; 3],
    signers: Vec<RecordSigner>,
}

impl Together {
    pub(crate) fn of(versions: &[Arc<VersionFile>]) -> Self {
        let mut all = Self::default();
        for version in versions {
            let shape = version.platform().iter().flatten().count();
            all.shapes[shape] = true;
            all.torrents[shape] |= version.brief.torrent;
            for signer in version.brief.signers.iter() {
                if all.signers.iter().all(|known| known.fingerprint != signer.fingerprint) {
                    all.signers.push(signer.clone());
                }
            }
        }
        all
    }
}

impl Page {
    /// HTML with the tags of discovery first, readable without script or style.
    pub(crate) fn to_html(&self, layout: &Layout) -> String {
        let title = self.name.as_ref().map_or(layout.base().host(), Name::as_str);
        let tags = self.name.as_ref().map(|name| self.tags(name, layout).to_html());
        let mut html = begin(title, tags.as_deref());
        self.write_parents(&mut html, layout);
        write(&mut html, format_args!("<main>\n<h1>{}</h1>\n", escape(title)));
        if let (Some(name), Some(newest)) = (&self.name, self.records.first()) {
            html.push_str("<p class=\"soft\">An App Container image.</p>\n");
            write_facts(&mut html, newest);
            write_commands(&mut html, name, newest, layout);
            write_versions(&mut html, &self.records, layout);
            self.write_older(&mut html, name, layout);
            write_signers(
                &mut html,
                &self.all.signers,
                layout.base().link(layout.keys(name).as_ref()),
            );
        } else {
            html.push_str("<p class=\"soft\">App Container images are published here.</p>\n");
        }
        write_names(&mut html, CHILDREN, &self.children, layout);
        write_names(&mut html, HOSTS, &self.hosts, layout);
        write_footer(&mut html, Some(FOOTNOTE), layout);
        html
    }

    /// The tags name the endpoints of the images that are here, the most specific first, since some clients use
    /// only the first. A page without images speaks for those below it, which may be of any kind.
    fn tags(&self, name: &Name, layout: &Layout) -> PageTags {
        let shapes: [&[&str]; 3] = [&["os", "arch"], &["os"], &[]];
        let is_used = |shape: &&&[&str]| match self.records.is_empty() {
            true => shape.len() != 1,
            false => self.all.shapes[shape.len()],
        };
        let has_torrent = |shape: &&&[&str]| self.all.torrents[shape.len()];
        let templates = shapes.iter().filter(is_used).map(|shape| layout.template(shape));
        let torrents = shapes
            .iter()
            .filter(has_torrent)
            .filter_map(|shape| layout.torrent_template(shape));
        PageTags {
            prefix: name.clone(),
            templates: templates.chain(torrents).collect(),
            pubkeys: Some(layout.base().join(layout.keys(name).as_ref())),
            catalog: self.has_catalog.then(|| {
                let url = layout.base().join(layout.catalog(name).as_ref());
                (layout.catalog_prefix(name), url)
            }),
        }
    }

    fn write_older(&self, html: &mut String, name: &Name, layout: &Layout) {
        if self.older.is_empty() {
            return;
        }
        html.push_str("<nav aria-label=\"Older versions\">\n<p>Older versions:</p>\n<ul class=\"names\">\n");
        for page in &self.older {
            let link = layout.base().link(layout.older_page(name, page.number).as_ref());
            let (link, range) = (escape(&link), escape(&page.range()));
            write(html, format_args!("<li><a href=\"{link}\">{range}</a></li>\n"));
        }
        html.push_str("</ul>\n</nav>\n");
    }

    fn write_parents(&self, html: &mut String, layout: &Layout) {
        let Some(parent) = self.name.as_ref().and_then(Name::parent) else {
            return;
        };
        let mut parents = if layout.base().name() == self.name.as_ref() {
            Vec::new()
        } else {
            let own = self.name.as_ref().is_some_and(|name| layout.is_own(name));
            parent
                .walk()
                .take_while(|parent| !own || layout.is_own(parent))
                .collect()
        };
        parents.reverse();
        if parents.is_empty() {
            return;
        }
        html.push_str("<nav aria-label=\"Parent names\">");
        for (index, parent) in parents.iter().enumerate() {
            let text = if index == 0 {
                parent.as_str()
            } else {
                parent.as_str().rsplit('/').next().unwrap_or_default()
            };
            write(
                html,
                format_args!(
                    "<a href=\"{}\">{}</a> / ",
                    escape(&layout.page_link(parent)),
                    escape(text)
                ),
            );
        }
        html.push_str("</nav>\n");
    }
}

/// What the newest image's manifest says for people.
fn write_facts(html: &mut String, newest: &Record) {
    if newest.annotations.is_empty() {
        return;
    }
    html.push_str("<dl>\n");
    for annotation in &newest.annotations {
        let value = escape(&annotation.value);
        let label = capitalized(annotation.name.as_str());
        // Only what is plainly a web address becomes a link: `javascript:` is one to some.
        let is_link = ["https://", "http://"]
            .iter()
            .any(|scheme| annotation.value.starts_with(scheme));
        if is_link {
            write(
                html,
                format_args!("<dt>{label}</dt><dd><a href=\"{value}\">{value}</a></dd>\n"),
            );
        } else {
            write(html, format_args!("<dt>{label}</dt><dd>{value}</dd>\n"));
        }
    }
    html.push_str("</dl>\n");
}

fn write_commands(html: &mut String, name: &Name, newest: &Record, layout: &Layout) {
    let (paths, keys) = (layout.archive(newest), layout.keys(name));
    let url = |path: &object_store::path::Path| escape(&layout.base().join(path.as_ref()));
    let file = |path: &object_store::path::Path| escape(path.filename().unwrap_or_default());
    write(
        html,
        format_args!(
            "<h2>Get it</h2>\n<p>Trust its publisher once, after comparing the <a href=\"#signers\">fingerprints</a> with \
             what the publisher says elsewhere. Then fetch it, or run it:</p>\n<pre><code>dhow trust add --prefix \
             {name}\ndhow fetch {name}\ndhow run {name}</code></pre>\n<details>\n<summary>Without \
             dhow</summary>\n<p>Any client of App Container images does, and so do <code>curl</code> and \
             <code>gpg</code>:</p>\n<pre><code>curl -f {keys} | gpg --import\ncurl -fO {archive}\ncurl -fO \
             {signature}\ngpg --verify {signature_file} {archive_file}</code></pre>\n</details>\n",
            name = escape(name.as_str()),
            keys = url(&keys),
            archive = url(&paths.archive),
            signature = url(&paths.signature),
            signature_file = file(&paths.signature),
            archive_file = file(&paths.archive),
        ),
    );
}

pub(crate) fn write_versions(html: &mut String, records: &[Record], layout: &Layout) {
    html.push_str(
        "<h2 id=\"versions\">Versions</h2>\n<div class=\"wide\" role=\"region\" aria-labelledby=\"versions\" \
         tabindex=\"0\">\n<table>\n<thead><tr><th scope=\"col\">Version</th><th scope=\"col\">Platform</th><th \
         scope=\"col\">Size</th><th scope=\"col\">Published</th><th scope=\"col\">Files and image ID</th></tr></thead>\n\
         <tbody>\n",
    );
    for record in records {
        let paths = layout.archive(record);
        let platform = match record.platform() {
            [Some(os), Some(arch)] => format!("{os}/{arch}"),
            [Some(os), None] => os.to_owned(),
            _ => "any".to_owned(),
        };
        let yanked = record
            .yanked
            .as_ref()
            .map(|reason| format!("<br><span class=\"soft\">withdrawn: {}</span>", escape(reason)));
        let torrent = record.torrent.as_ref().map(|_| {
            let link = layout.base().link(paths.torrent.as_ref());
            format!(", <a href=\"{}\">torrent</a>", escape(&link))
        });
        let encrypted = record.encryption.as_ref().map(|encryption| {
            let keys = match encryption.recipients.len() {
                0 => String::new(),
                1 => " for one key".to_owned(),
                count => format!(" for {count} keys"),
            };
            format!("<br><span class=\"soft\">encrypted{keys}</span>")
        });
        write(
            html,
            format_args!(
                "<tr><th scope=\"row\">{version}{yanked}</th><td>{platform}</td><td>{size}<br><span class=\"soft\">{tar_size} unpacked</span></td><td>{published}</td><td><a \
                 href=\"{archive}\">archive</a>, <a href=\"{signature}\">signature</a>{torrent}{encrypted}<br><code>{id}</code></td></tr>\n",
                version = escape(record.version()),
                yanked = yanked.unwrap_or_default(),
                platform = escape(&platform),
                size = human_size(record.archive.size),
                tar_size = human_size(record.tar_size),
                published = record.published.format("%Y-%m-%d"),
                archive = escape(&layout.base().link(paths.archive.as_ref())),
                signature = escape(&layout.base().link(paths.signature.as_ref())),
                torrent = torrent.unwrap_or_default(),
                encrypted = encrypted.unwrap_or_default(),
                id = record.id,
            ),
        );
    }
    html.push_str("</tbody>\n</table>\n</div>\n");
}

fn write_signers(html: &mut String, signers: &[RecordSigner], keys: String) {
    html.push_str("<h2 id=\"signers\">Signed by</h2>\n<ul>\n");
    for signer in signers {
        let user_id = signer.user_id.as_deref().unwrap_or("a key without a name");
        write(
            html,
            format_args!("<li>{}<br><code>{}</code></li>\n", escape(user_id), signer.fingerprint),
        );
    }
    write(
        html,
        format_args!("</ul>\n<p><a href=\"{}\">All public keys</a></p>\n", escape(&keys)),
    );
}

fn write_names(html: &mut String, heading: &str, names: &[Name], layout: &Layout) {
    if names.is_empty() {
        return;
    }
    let start = html.len();
    write(html, format_args!("<h2>{heading}</h2>\n<ul>\n"));
    let list = html.len();
    for name in names {
        html.push_str(&item(name, layout));
        if html.len() - list > MOST_NAMES {
            html.truncate(start);
            html.push_str(&too_many(heading, layout));
            return;
        }
    }
    html.push_str("</ul>\n");
}

/// What stands in place of a list of names that would be too long. One more name changes nothing of it.
pub(crate) fn too_many(heading: &str, layout: &Layout) -> String {
    let link = escape(&layout.names_link());
    format!(
        "<h2>{heading}</h2>\n<p>Too many for this page: they are on that of <a href=\"{link}\">all names of this \
         site</a>.</p>\n"
    )
}

/// A name in a list of names.
pub(crate) fn item(name: &Name, layout: &Layout) -> String {
    let link = layout.page_link(name);
    format!("<li><a href=\"{}\">{}</a></li>\n", escape(&link), escape(name.as_str()))
}

/// The end of a page. What has a `note` says it in its last line.
pub(crate) fn write_footer(html: &mut String, note: Option<&str>, layout: &Layout) {
    let link = escape(&layout.names_link());
    let note = note.map(|note| format!("<p>{note}</p>\n")).unwrap_or_default();
    write(
        html,
        format_args!(
            "</main>\n<footer>\n<p><a href=\"{link}\">All names of this site</a></p>\n{note}</footer>\n</body>\n</html>\n"
        ),
    );
}

/// A page up to its body, with the tags of discovery first.
pub(crate) fn begin(title: &str, tags: Option<&str>) -> String {
    let tags = tags.map(|tags| format!("{}\n", tags.trim_end())).unwrap_or_default();
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n{tags}<meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\">\n<title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n",
        escape(title)
    )
}

pub(crate) fn write(html: &mut String, arguments: std::fmt::Arguments<'_>) {
    html.write_fmt(arguments).expect("writing to a string does not fail");
}

/// Text made safe between tags and in quoted attributes.
pub(crate) fn escape(text: &str) -> String {
    let is_plain = |c: u8| matches!(c, b' '..=b'~') && !matches!(c, b'&' | b'<' | b'>' | b'"' | b'\'');
    if text.bytes().all(is_plain) {
        return text.to_owned();
    }
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // HTML can express no other control characters.
            c if c.is_control() && !matches!(c, '\n' | '\t') => escaped.push('\u{fffd}'),
            // Nor noncharacters, and text must not reverse what stands around it.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fdd0}'..='\u{fdef}' => escaped.push('\u{fffd}'),
            c if u32::from(c) & 0xfffe == 0xfffe => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

fn capitalized(word: &str) -> String {
    let mut chars = word.chars();
    chars
        .next()
        .map(|first| first.to_uppercase().chain(chars).collect())
        .unwrap_or_default()
}

fn human_size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "three digits of it are shown")]
    let mut size = bytes as f64;
    let mut unit = "B";
    for next in UNITS {
        if size < 999.5 {
            break;
        }
        size /= 1000.0;
        unit = next;
    }
    if size < 9.95 {
        format!("{size:.1} {unit}")
    } else {
        format!("{size:.0} {unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        let sizes = [0, 999, 1000, 9_940, 9_960, 279_600_000, 999_600_000].map(human_size);
        assert_eq!(sizes, ["0 B", "999 B", "1.0 kB", "9.9 kB", "10 kB", "280 MB", "1.0 GB"]);
    }

    #[test]
    fn text_cannot_become_markup() {
        assert_eq!(
            escape("<a href='x'>\"&\0\u{202e}"),
            "&lt;a href=&#39;x&#39;&gt;&quot;&amp;\u{fffd}\u{fffd}"
        );
    }
}
