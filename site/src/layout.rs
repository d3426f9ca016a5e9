//! [`Layout`]: what is where in a site.
//!
//! For a site whose base URL is `https://example.com`:
//!
//! ```text
//! index.html                          the page of `example.com`, and the list of what else is here
//! app/index.html                      the page of `example.com/app`
//! other.org/tool/index.html           the page of `other.org/tool`, for clients that use this site as a mirror
//! ACI/index.html                      the names of all images that are here
//! pubkeys.gpg                         the keys of all who published names under the base, armored
//! CATALOG                             the signed list of all images under the base, where the publisher makes one
//! other.org/pubkeys.gpg               the keys of all who published names of `other.org`
//! other.org/CATALOG                   the catalog of `other.org`
//! ACI/<name>/<stem>.aci               an archive; <name> is the whole name, <stem> is VERSION[-OS[-ARCH]]
//! ACI/<name>/<stem>.aci.asc           its signature
//! ACI/<name>/<stem>.aci.json          its record: name, labels, image ID, sizes, digests, signers
//! ACI/<name>/<stem>.aci.torrent       the torrent that brings it, where the publisher wants one
//! ACI/<name>/<stem>.aci.recipe[.asc]  the recipe by which it is fetched by difference, and its signature
//! ACI/<name>/<stem>.aci.patch         what makes the image of the version before, which the recipe names
//! PACKS/ab/cdef….pack                 what recipes are made of
//! ACI/<name>/<stem>.aci.removed       where the archive is being taken away: what its record said
//! ACI/<name>/RECORDS                  the records of a name that has many, in one file
//! ACI/<name>/VERSIONS-<n>.html        pages of its older versions, the oldest on the first
//! ACI/<name>/latest[-OS[-ARCH]].aci…  copies of the files of the highest version, for references without a version
//! PAGES.lock                          locked in a directory while pages are written
//! .nojekyll                           keeps GitHub Pages from hiding `~bob` and `_x`
//! ```
//!
//! **Pages** exist at every name and at every parent path of it. `https://example.com/app?ac-discovery=1` answers
//! with `app/index.html` on any web server: directly, or after the redirect to `app/` that all of them make and that
//! every client follows. A name under the base has the page at its rest; any other name has it at the whole name,
//! which is where a client asks that uses the site as a mirror (base URL + name).
//!
//! **Archives** lie beneath a folder that no name can collide with, since names have no upper-case letters, and keep
//! their whole name in it, so that the same files serve under any base URL. One folder a name: to list a name's
//! versions and children is one request however many names there are, and no name can be mistaken for another
//! name's version. Whatever is about an archive is beside it with a longer suffix. Files that later need a place
//! get it beneath `ACI/<name>/` or in another upper-case folder.
//!
//! **Reserved** in names: the segments `index.html` and `pubkeys.gpg`, and a first `.nojekyll`, whose files would be
//! in the way of a page's directory. Nothing else is.
//!
//! **Order of writing**: keys; empty pages where there were none; archive, signature, record; the same for `latest`;
//! pages, deepest first; the catalog, once for all images that are published together. What is withdrawn goes in the
//! other direction: its record first, its files last, and it leaves a note of that until it is done (see the module
//! `removal`). Each file is put whole (a rename in a directory), so that a reader never sees a part of one,
//! nor a page that names a file which is not there. An archive is never changed, unless one asks to replace it; while
//! it or a `latest` is replaced, a client may see the new archive with the old signature for a moment, which it
//! refuses, and tries again.
//!
//! **Truth** are the records. Pages are made from one listing of `ACI/<name>/` and the records in it. In a directory
//! whoever writes pages holds a lock from before that listing on; in a bucket he lists again afterwards and writes again
//! if there is more: so of two who publish at once the last to write a page has seen both. The catalog, which is read by programs as a whole, is not made anew each time but has its
//! entries changed (see the module `catalog`).

use dhow_image::{Labels, Name};
use object_store::path::Path;

use crate::{
    BaseUrl, Error,
    record::{Record, platform},
};

/// The folder of all archives.
const ARCHIVES: &str = "ACI";
const PAGE: &str = "index.html";
const KEYS: &str = "pubkeys.gpg";
const NO_JEKYLL: &str = ".nojekyll";
/// Names have no upper-case letters, so it is in no page's way.
const CATALOG: &str = "CATALOG";
/// What the file is called, after the archive's name, that tells of an archive that is being taken away.
const REMOVAL: &str = ".removed";
const INDEX: &str = "RECORDS";
/// What the pages of older versions begin with.
const OLDER: &str = "VERSIONS-";
const PACKS_LOCK: &str = "PACKS.lock";
const PAGES_LOCK: &str = "PAGES.lock";
/// What stands in place of a version in the copies of the highest.
pub(crate) const LATEST: &str = "latest";

/// Where the files of a site with a certain base URL are.
#[derive(Clone, Debug)]
pub struct Layout {
    base: BaseUrl,
}

/// The files of an archive.
#[derive(Clone, Debug)]
pub(crate) struct ArchivePaths {
    pub(crate) archive: Path,
    pub(crate) signature: Path,
    pub(crate) torrent: Path,
    pub(crate) recipe: Path,
    pub(crate) recipe_signature: Path,
    pub(crate) patch: Path,
    pub(crate) record: Path,
    pub(crate) removal: Path,
}

impl Layout {
    /// The layout of the site that is served at `base`.
    pub fn new(base: BaseUrl) -> Self {
        Self { base }
    }

    /// The site's base URL.
    pub fn base(&self) -> &BaseUrl {
        &self.base
    }

    /// Whether `name` is discovered at this site itself, and not only by clients that use it as a mirror.
    pub fn is_own(&self, name: &Name) -> bool {
        self.base.name().is_some_and(|base| name.is_within(base))
    }

    /// The page of a name.
    pub fn page(&self, name: &Name) -> Path {
        match self.page_directory(name) {
            "" => path(PAGE),
            directory => path(&format!("{directory}/{PAGE}")),
        }
    }

    /// The site's first page.
    pub fn first_page(&self) -> Path {
        path(PAGE)
    }

    /// The URL at which a person finds the page of a name.
    pub fn page_url(&self, name: &Name) -> String {
        match self.page_directory(name) {
            "" => format!("{}/", self.base),
            directory => format!("{}/", self.base.join(directory)),
        }
    }

    /// The link to a name's page from another page.
    pub(crate) fn page_link(&self, name: &Name) -> String {
        match self.page_directory(name) {
            "" => self.base.link(""),
            directory => format!("{}/", self.base.link(directory)),
        }
    }

    /// The page that lists every name.
    pub fn names_page(&self) -> Path {
        path(&format!("{ARCHIVES}/{PAGE}"))
    }

    /// What whoever writes pages into a directory locks meanwhile.
    pub(crate) fn pages_lock(&self) -> Path {
        path(PAGES_LOCK)
    }

    /// The link to it from another page.
    pub(crate) fn names_link(&self) -> String {
        format!("{}/", self.base.link(ARCHIVES))
    }

    /// The name whose version a file beneath [`Layout::hosts`] is the record of.
    pub(crate) fn name_of_record(file: &Path) -> Option<Name> {
        let (folder, _) = file.as_ref().rsplit_once('/')?;
        let name = folder.strip_prefix(ARCHIVES)?.strip_prefix('/')?;
        Self::is_version_record(file.filename()?).then(|| Name::new(name).ok())?
    }

    /// The names that have pages because `name` has one, deepest first, `name` included.
    pub(crate) fn pages_of(&self, name: &Name) -> Vec<Name> {
        let own = self.is_own(name);
        name.walk().take_while(|parent| !own || self.is_own(parent)).collect()
    }

    /// The keys of those who published `name`.
    pub fn keys(&self, name: &Name) -> Path {
        if self.is_own(name) {
            path(KEYS)
        } else {
            path(&format!("{}/{KEYS}", name.host()))
        }
    }

    /// The prefix of the catalog that lists images of `name`: the base, or for names that are not under it their host.
    pub fn catalog_prefix(&self, name: &Name) -> Name {
        match self.base.name() {
            Some(base) if name.is_within(base) => base.clone(),
            _ => Name::new(name.host()).expect("the host of a name is a name"),
        }
    }

    /// The catalog that lists images of `name`.
    pub fn catalog(&self, name: &Name) -> Path {
        if self.is_own(name) {
            path(CATALOG)
        } else {
            path(&format!("{}/{CATALOG}", name.host()))
        }
    }

    /// What whoever changes a catalog in a directory locks meanwhile.
    pub(crate) fn catalog_lock(&self, name: &Name) -> Path {
        path(&format!("{}.lock", self.catalog(name)))
    }

    /// The file that makes GitHub Pages serve everything.
    pub(crate) fn no_jekyll(&self) -> Path {
        path(NO_JEKYLL)
    }

    /// The folder of a name's archives. The folders in it are those of its children.
    pub(crate) fn archives(&self, name: &Name) -> Path {
        path(&format!("{ARCHIVES}/{name}"))
    }

    /// The records of a name in one file.
    pub(crate) fn index(&self, name: &Name) -> Path {
        path(&format!("{ARCHIVES}/{name}/{INDEX}"))
    }

    /// What whoever takes packs away from a directory locks, and whoever counts on them.
    pub(crate) fn packs_lock(&self) -> Path {
        path(PACKS_LOCK)
    }

    /// The folder that has a folder for each host.
    pub(crate) fn hosts(&self) -> Path {
        path(ARCHIVES)
    }

    pub(crate) fn archive(&self, record: &Record) -> ArchivePaths {
        self.archive_named(&record.name, &record.labels, record.version())
    }

    /// Where the archive with these labels is.
    pub(crate) fn archive_of(&self, name: &Name, labels: &Labels) -> ArchivePaths {
        self.archive_named(name, labels, labels.get("version").unwrap_or_default())
    }

    /// What peers call an archive: the last part of the name, and the labels.
    pub(crate) fn torrent_name(&self, record: &Record) -> String {
        let last = record.name.as_str().rsplit('/').next().unwrap_or_default();
        let file = self.archive(record).archive;
        format!("{last}-{}", file.filename().unwrap_or_default())
    }

    pub(crate) fn latest(&self, record: &Record) -> ArchivePaths {
        self.archive_named(&record.name, &record.labels, LATEST)
    }

    fn archive_named(&self, name: &Name, labels: &Labels, version: &str) -> ArchivePaths {
        let mut stem = version.to_owned();
        for label in platform(labels).into_iter().flatten() {
            stem.push('-');
            stem.push_str(label);
        }
        let archive = format!("{ARCHIVES}/{name}/{stem}.aci");
        ArchivePaths {
            signature: path(&format!("{archive}.asc")),
            torrent: path(&format!("{archive}.torrent")),
            recipe: path(&format!("{archive}.recipe")),
            recipe_signature: path(&format!("{archive}.recipe.asc")),
            patch: path(&format!("{archive}.patch")),
            record: path(&format!("{archive}.json")),
            removal: path(&format!("{archive}{REMOVAL}")),
            archive: path(&archive),
        }
    }

    /// Whether a file beneath [`Layout::archives`] is the record of a version, and not of a `latest` copy.
    pub(crate) fn is_version_record(file: &str) -> bool {
        let stem = file.strip_suffix(".aci.json");
        stem.is_some_and(|stem| !is_latest(stem))
    }

    /// Whether a file tells of an archive that is being taken away.
    pub(crate) fn is_removal(file: &str) -> bool {
        file.ends_with(".aci.removed")
    }

    /// Whether a file of a name's folder tells what is in it: a record, a note, the index or a page.
    pub(crate) fn is_of_folder(file: &str) -> bool {
        file == INDEX || Self::is_version_record(file) || Self::is_removal(file) || Self::older_number(file).is_some()
    }

    /// The page of so many older versions of a name, counted from the oldest, from 1 on.
    pub(crate) fn older_page(&self, name: &Name, number: usize) -> Path {
        path(&format!("{ARCHIVES}/{name}/{OLDER}{number}.html"))
    }

    /// The number of such a page.
    pub(crate) fn older_number(file: &str) -> Option<usize> {
        let number = file.strip_prefix(OLDER)?.strip_suffix(".html")?;
        number
            .parse()
            .ok()
            .filter(|parsed: &usize| parsed.to_string() == number)
    }

    /// Whether a file is a recipe, of a version or of a `latest` copy.
    pub(crate) fn is_recipe(file: &Path) -> bool {
        file.filename().is_some_and(|file| file.ends_with(".aci.recipe"))
    }

    /// The templates by which discovery finds images with these labels beside the version
    /// (appc spec, discovery.md, "Discovery Templates").
    pub(crate) fn template(&self, labels: &[&str]) -> String {
        let mut stem = "{version}".to_owned();
        for label in labels {
            stem.push_str(&format!("-{{{label}}}"));
        }
        format!("{}/{ARCHIVES}/{{name}}/{stem}.{{ext}}", self.base)
    }

    /// The same, of the torrents that bring them. There is none for a site of plain HTTP, since clients ask for
    /// metainfo over HTTPS.
    pub(crate) fn torrent_template(&self, labels: &[&str]) -> Option<String> {
        let template = self.template(labels);
        Some(format!("bittorrent://{}.torrent", template.strip_prefix("https://")?))
    }

    /// Refuses names whose page directory would be called as a file of the layout is.
    pub(crate) fn check_name(&self, name: &Name) -> Result<(), Error> {
        let directory = self.page_directory(name);
        let is_reserved = |segment: &&str| matches!(*segment, PAGE | KEYS);
        let first_reserved = directory.split('/').take(1).find(|segment| *segment == NO_JEKYLL);
        match directory.split('/').find(is_reserved).or(first_reserved) {
            Some(segment) => Err(Error::ReservedName {
                name: name.clone(),
                segment: segment.to_owned(),
            }),
            None => Ok(()),
        }
    }

    /// The name that would have pages where those of `name` are: with the base `example.com`, `example.com/b.org`
    /// and `b.org` have. Of two such names a site can have one.
    pub(crate) fn rival(&self, name: &Name) -> Option<Name> {
        let base = self.base.name()?;
        if self.is_own(name) {
            let first = self
                .page_directory(name)
                .split('/')
                .next()
                .filter(|first| !first.is_empty())?;
            // A name that begins so is no other name's: then it has no rival.
            Name::new(first).ok().filter(|rival| !self.is_own(rival))
        } else {
            Name::new(format!("{base}/{}", name.host())).ok()
        }
    }

    fn page_directory<'a>(&self, name: &'a Name) -> &'a str {
        match self.base.name() {
            Some(base) if name.is_within(base) => name.as_str()[base.as_str().len()..].trim_start_matches('/'),
            _ => name.as_str(),
        }
    }
}

/// Whether a stem or a version is, or could be mistaken for, that of a `latest` copy.
pub(crate) fn is_latest(stem: &str) -> bool {
    stem.strip_prefix(LATEST)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// `Path::from` would escape the `~` of names.
fn path(text: &str) -> Path {
    Path::parse(text).expect("names and checked labels have no empty segment, no `..` and no control characters")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use url::Url;

    use super::*;

    fn layout(base: &str) -> Layout {
        Layout::new(BaseUrl::new(Url::parse(base).unwrap()).unwrap())
    }

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    #[test]
    fn pages_of_own_names_are_at_their_rest_and_of_others_at_the_whole() {
        let root = layout("https://example.com");
        let below = layout("https://example.com/team");
        for (layout, of, page, url) in [
            (&root, "example.com", "index.html", "https://example.com/"),
            (
                &root,
                "example.com/~bob/app",
                "~bob/app/index.html",
                "https://example.com/~bob/app/",
            ),
            (
                &root,
                "other.org/t",
                "other.org/t/index.html",
                "https://example.com/other.org/t/",
            ),
            (&below, "example.com/team", "index.html", "https://example.com/team/"),
            (
                &below,
                "example.com/team/app",
                "app/index.html",
                "https://example.com/team/app/",
            ),
            (
                &below,
                "example.com/teams",
                "example.com/teams/index.html",
                "https://example.com/team/example.com/teams/",
            ),
        ] {
            assert_eq!(layout.page(&name(of)).as_ref(), page);
            assert_eq!(layout.page_url(&name(of)), url);
        }
        assert_eq!(root.keys(&name("example.com/a")).as_ref(), "pubkeys.gpg");
        assert_eq!(root.keys(&name("other.org/a")).as_ref(), "other.org/pubkeys.gpg");
        let pages = |layout: &Layout, of| {
            layout
                .pages_of(&name(of))
                .into_iter()
                .map(String::from)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            pages(&below, "example.com/team/a/b"),
            ["example.com/team/a/b", "example.com/team/a", "example.com/team"]
        );
        assert_eq!(pages(&below, "b.org/a"), ["b.org/a", "b.org"]);
    }

    #[test]
    fn names_that_would_be_in_the_way_of_the_layout_are_refused() {
        let layout = layout("https://example.com");
        for reserved in [
            "example.com/index.html",
            "b.org/pubkeys.gpg/a",
            "example.com/.nojekyll/a",
            "pubkeys.gpg",
        ] {
            assert!(
                matches!(layout.check_name(&name(reserved)), Err(Error::ReservedName { .. })),
                "{reserved}"
            );
        }
        for fine in ["example.com", "example.com/aci", "example.com/images/a.aci", "b.org/a"] {
            layout.check_name(&name(fine)).unwrap();
        }
    }

    #[test]
    fn rivals_have_the_same_pages() {
        let layout = layout("https://example.com");
        let rival = |of| layout.rival(&name(of)).map(String::from);
        assert_eq!(rival("example.com"), None);
        assert_eq!(rival("example.com/b.org/tool").unwrap(), "b.org");
        assert_eq!(rival("b.org/tool").unwrap(), "example.com/b.org");
        assert_eq!(layout.page(&name("b.org/t")), layout.page(&name("example.com/b.org/t")));
    }
}
