//! The page that lists the name of every image of a site, for people and for whoever wants to walk through it all.
//!
//! It is changed only where it is not right about the name that was just published or taken away, and then by that name:
//! to look for all names costs more, the more there are. In a directory a lock keeps others from changing pages meanwhile.
//! A bucket has none: there it is made of all names again, and that until nobody else has changed it.

use std::collections::BTreeSet;

use dhow_image::Name;

use crate::{
    Error, Layout, Site,
    contested::Exclusion,
    page::{begin, escape, item, write},
};

const LIST: &str = "<ul class=\"names\">\n";
const END: &str = "</ul>\n</main>\n</body>\n</html>\n";

impl Site {
    /// Every name of which an image is published here.
    pub async fn names(&self) -> Result<BTreeSet<Name>, Error> {
        let files = self.files.list_below(&self.layout.hosts()).await?;
        let names = files.iter().filter_map(|file| Layout::name_of_record(&file.location));
        Ok(names.collect())
    }

    /// Makes the list of names right after `changed` was published or taken away. Whether it was written.
    pub(crate) async fn write_names_page(
        &self,
        changed: &Name,
        is_there: bool,
        exclusion: &Exclusion,
    ) -> Result<bool, Error> {
        let path = self.layout.names_page();
        let html = self.files.read(&path).await?.unwrap_or_default();
        if is_there == contains(&html, &item(changed, &self.layout)) {
            return Ok(false);
        }
        if matches!(exclusion, Exclusion::Lock(_)) {
            if let Some(html) = changed_by(&html, changed, is_there, &self.layout) {
                return self.files.write(&path, html).await;
            }
            return self
                .files
                .write(&path, to_html(&self.names().await?, &self.layout))
                .await;
        }
        let (mut names, mut written) = (self.names().await?, false);
        loop {
            written |= self.files.write(&path, to_html(&names, &self.layout)).await?;
            let seen = std::mem::replace(&mut names, self.names().await?);
            if names == seen {
                return Ok(written);
            }
        }
    }

    /// Makes the list of names anew.
    pub(crate) async fn rewrite_names_page(&self) -> Result<(), Error> {
        let _exclusion = self.exclude_from_pages().await?;
        let html = to_html(&self.names().await?, &self.layout);
        self.files.write(&self.layout.names_page(), html).await.map(drop)
    }

    /// Writes a list of nothing yet, which other pages may link to, if there is none.
    pub(crate) async fn write_missing_names_page(&self) -> Result<(), Error> {
        let html = || to_html(&BTreeSet::new(), &self.layout);
        self.files.write_missing(&self.layout.names_page(), html).await
    }
}

/// Whether a page has these bytes.
pub(crate) fn contains(page: &[u8], text: &str) -> bool {
    memchr::memmem::find(page, text.as_bytes()).is_some()
}

/// The list with one name more or less, all others as they are; `None` where it does not look as if it were made just so.
fn changed_by(html: &[u8], changed: &Name, is_there: bool, layout: &Layout) -> Option<String> {
    let items = std::str::from_utf8(html).ok()?.strip_prefix(&head(layout))?;
    let items = items.split_once(LIST)?.1.strip_suffix(END)?;
    let (mut count, mut before, mut start, mut end) = (0, "", 0, 0);
    for item in items.split_inclusive('\n') {
        let name = name_of(item)?;
        if name <= before {
            return None;
        }
        start += if name < changed.as_str() { item.len() } else { 0 };
        end += if name <= changed.as_str() { item.len() } else { 0 };
        (count, before) = (count + 1, name);
    }
    let (new, count) = match (start == end, is_there) {
        (true, true) => (item(changed, layout), count + 1),
        (false, false) => (String::new(), count - 1),
        _ => return None,
    };
    let parts = [&items[..start], &new, &items[end..]];
    Some(page_of(count, parts.into_iter(), layout))
}

fn to_html(names: &BTreeSet<Name>, layout: &Layout) -> String {
    page_of(names.len(), names.iter().map(|name| item(name, layout)), layout)
}

/// What stands before the list.
fn head(layout: &Layout) -> String {
    let (title, host) = (
        format!("All names of {}", layout.base().host()),
        escape(layout.base().host()),
    );
    let mut html = begin(&title, None);
    let first = escape(&layout.base().link(""));
    write(
        &mut html,
        format_args!("<nav aria-label=\"Parent names\"><a href=\"{first}\">{host}</a> /</nav>\n"),
    );
    html
}

fn page_of(count: usize, items: impl Iterator<Item = impl AsRef<str>>, layout: &Layout) -> String {
    let mut html = match count {
        0 => begin(&format!("All names of {}", layout.base().host()), None),
        _ => head(layout),
    };
    html.push_str("<main>\n<h1>All names</h1>\n");
    let told = match count {
        0 => "No image is published here yet.".to_owned(),
        1 => "Images of one name are published here.".to_owned(),
        count => format!("Images of {count} names are published here."),
    };
    write(&mut html, format_args!("<p class=\"soft\">{told}</p>\n"));
    if count == 0 {
        html.push_str("</main>\n</body>\n</html>\n");
        return html;
    }
    html.push_str(LIST);
    for item in items {
        html.push_str(item.as_ref());
    }
    html.push_str(END);
    html
}

/// The name of which an item tells. Names have no character that HTML writes otherwise.
fn name_of(item: &str) -> Option<&str> {
    let item = item.strip_prefix("<li><a href=\"")?.strip_suffix("</a></li>\n")?;
    Some(item.split_once("\">")?.1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::BaseUrl;

    fn layout(base: &str) -> Layout {
        Layout::new(BaseUrl::new(base.parse().unwrap()).unwrap())
    }

    #[test]
    fn a_list_that_is_changed_is_that_of_all_names() {
        let layout = layout("https://example.com/aci");
        let texts = [
            "other.org/b",
            "example.com/aci/z",
            "example.com/aci/a",
            "other.org/b~c",
            "example.com/aci",
        ];
        let texts = texts.map(|name| Name::new(name).unwrap());
        let (mut names, mut html) = (BTreeSet::new(), String::new());
        for name in &texts {
            names.insert(name.clone());
            // The first one has no list to be put into.
            html = match changed_by(html.as_bytes(), name, true, &layout) {
                Some(html) => html,
                None => {
                    assert_eq!(names.len(), 1);
                    to_html(&names, &layout)
                }
            };
            assert_eq!(html, to_html(&names, &layout));
        }
        for name in &texts {
            names.remove(name);
            html = changed_by(html.as_bytes(), name, false, &layout).unwrap();
            assert_eq!(html, to_html(&names, &layout));
        }
    }

    #[test]
    fn a_list_of_another_make_is_not_gone_on_with() {
        let layout = [layout("https://example.com"), layout("https://example.com/aci")];
        let names: BTreeSet<_> = ["example.com/a", "example.com/c"]
            .map(|name| Name::new(name).unwrap())
            .into();
        let html = to_html(&names, &layout[0]);
        let new = Name::new("example.com/b").unwrap();
        assert!(changed_by(html.as_bytes(), &new, true, &layout[0]).is_some());
        assert!(
            changed_by(html.as_bytes(), &new, true, &layout[1]).is_none(),
            "other links"
        );
        for (from, to) in [
            ("</li>\n<li>", "</li>\n\n<li>"),
            (">example.com/a<", ">example.com/x<"),
            (":root", ":toor"),
        ] {
            let html = html.replacen(from, to, 1);
            assert!(changed_by(html.as_bytes(), &new, true, &layout[0]).is_none(), "{to}");
        }
    }
}
