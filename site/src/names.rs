//! The page that lists the name of every image of a site, for people and for whoever wants to walk through it all.
//!
//! It is changed only where it is not right about the name that was just published or taken away, and then by that name:
//! to look for all names costs more, the more there are. In a directory a lock keeps others from changing it meanwhile. A
//! bucket has none: there it is made of all names again, and that until nobody else has changed it.

use std::collections::BTreeSet;

use dhow_image::Name;

use crate::{
    Error, Layout, Site,
    contested::Exclusion,
    page::{begin, escape, write},
};

impl Site {
    /// Every name of which an image is published here.
    pub async fn names(&self) -> Result<BTreeSet<Name>, Error> {
        let files = self.files.list_below(&self.layout.hosts()).await?;
        let names = files.iter().filter_map(|file| Layout::name_of_record(&file.location));
        Ok(names.collect())
    }

    /// Makes the list of names right after `changed` was published or taken away. Whether it was written.
    pub(crate) async fn write_names_page(&self, changed: &Name, is_there: bool) -> Result<bool, Error> {
        let path = self.layout.names_page();
        if is_there == self.listed_names().await?.contains(changed) {
            return Ok(false);
        }
        let exclusion = self.files.exclude_others(&self.layout.names_lock()).await?;
        if matches!(exclusion, Exclusion::Lock(_)) {
            let mut names = self.listed_names().await?;
            if names.is_empty() {
                names = self.names().await?;
            }
            // Whoever was faster may have published it, or taken it away.
            match self.versions(changed).await?.is_empty() {
                true => names.remove(changed),
                false => names.insert(changed.clone()),
            };
            return self.files.write(&path, to_html(&names, &self.layout)).await;
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
        let _exclusion = self.files.exclude_others(&self.layout.names_lock()).await?;
        let html = to_html(&self.names().await?, &self.layout);
        self.files.write(&self.layout.names_page(), html).await.map(drop)
    }

    /// The names that the list has now.
    async fn listed_names(&self) -> Result<BTreeSet<Name>, Error> {
        let html = self.files.read(&self.layout.names_page()).await?.unwrap_or_default();
        let html = String::from_utf8_lossy(&html);
        Ok(html.lines().filter_map(name_of).collect())
    }

    /// Writes a list of nothing yet, which other pages may link to, if there is none.
    pub(crate) async fn write_missing_names_page(&self) -> Result<(), Error> {
        let html = to_html(&BTreeSet::new(), &self.layout);
        self.files.write_missing(&self.layout.names_page(), html).await
    }
}

fn to_html(names: &BTreeSet<Name>, layout: &Layout) -> String {
    let host = escape(layout.base().host());
    let mut html = begin(&format!("All names of {}", layout.base().host()), None);
    if !names.is_empty() {
        let first = escape(&layout.base().link(""));
        write(
            &mut html,
            format_args!("<nav aria-label=\"Parent names\"><a href=\"{first}\">{host}</a> /</nav>\n"),
        );
    }
    html.push_str("<main>\n<h1>All names</h1>\n");
    let count = match names.len() {
        0 => "No image is published here yet.".to_owned(),
        1 => "Images of one name are published here.".to_owned(),
        count => format!("Images of {count} names are published here."),
    };
    write(&mut html, format_args!("<p class=\"soft\">{count}</p>\n"));
    if !names.is_empty() {
        html.push_str("<ul class=\"names\">\n");
        for name in names {
            html.push_str(&item(name, layout));
        }
        html.push_str("</ul>\n");
    }
    html.push_str("</main>\n</body>\n</html>\n");
    html
}

fn item(name: &Name, layout: &Layout) -> String {
    let link = layout.page_link(name);
    format!("<li><a href=\"{}\">{}</a></li>\n", escape(&link), escape(name.as_str()))
}

/// The name of which an item tells. Names have no character that HTML writes otherwise.
fn name_of(line: &str) -> Option<Name> {
    let item = line.strip_prefix("<li><a href=\"")?.strip_suffix("</a></li>")?;
    let (_, name) = item.split_once("\">")?;
    Name::new(name).ok()
}
