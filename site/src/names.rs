//! The page that lists the name of every image of a site, for people and for whoever wants to walk through it all.
//!
//! It is made anew only where it is not right about the name that was just published or taken away: to look for all
//! names costs more, the more there are.

use std::collections::BTreeSet;

use dhow_image::Name;
use futures::TryStreamExt;

use crate::{
    Error, Layout, Site,
    files::is_absence,
    page::{begin, escape, write},
};

impl Site {
    /// Every name of which an image is published here.
    pub async fn names(&self) -> Result<BTreeSet<Name>, Error> {
        let folder = self.layout.hosts();
        let files = self.files.object_store().list(Some(&folder));
        let names = files.try_filter_map(|file| async move { Ok(Layout::name_of_record(&file.location)) });
        match names.try_collect().await {
            Err(source) if is_absence(&source) => Ok(BTreeSet::new()),
            names => names.map_err(|source| Error::Store {
                action: "list",
                location: self.files.location().to_owned(),
                path: folder.to_string(),
                source: Box::new(source),
            }),
        }
    }

    /// Makes the list of names right after `changed` was published or taken away, again and again until it tells of all
    /// that is there. Whether it was written.
    pub(crate) async fn write_names_page(&self, changed: &Name) -> Result<bool, Error> {
        let path = self.layout.names_page();
        let is_there = !self.versions(changed).await?.is_empty();
        let listed = self.files.read(&path).await?.unwrap_or_default();
        let item = item(changed, &self.layout);
        if is_there == listed.windows(item.len()).any(|window| window == item.as_bytes()) {
            return Ok(false);
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
