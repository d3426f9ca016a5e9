//! [`CatalogLines`]: a catalog as whoever changes it has it: each image as its line of JSON.
//!
//! To read a thousand images takes longer than to verify and to sign the file that lists them. So whoever changes one of
//! them reads that one, and those that he meets where he looks for its place, and carries the lines of all others over as
//! they are: they stay where the file was read to. That is sound only for one who has verified that the file is his own work.

use std::{cmp::Ordering, ops::Range};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use dhow_image::{Labels, Name};

use super::{Catalog, CatalogError, CatalogHead, CatalogImage, FORMAT, KIND, version};

const VALID: &str = "a catalog has only text keys";
/// Where the images begin, and what stands before and behind each.
const BEGIN: &str = ",\n  \"images\": [\n";
const INDENT: &str = "    ";
const END: &str = "\n  ]\n}\n";
/// What is kept free behind the text for signatures, in bytes.
const SIGNATURES: usize = 4 << 10;

/// The images of a catalog, each as its line of JSON, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogLines {
    prefix: Name,
    serial: u64,
    issued: DateTime<Utc>,
    expires: DateTime<Utc>,
    lines: Vec<Bytes>,
}

impl CatalogLines {
    /// The lines of a catalog.
    pub fn of(catalog: &Catalog) -> Self {
        Self {
            prefix: catalog.prefix.clone(),
            serial: catalog.serial,
            issued: catalog.issued,
            expires: catalog.expires,
            lines: catalog.images.iter().map(line).collect(),
        }
    }

    /// Reads what [`Self::to_json`] wrote line by line; whatever else says the same is read as [`Catalog`] does it.
    pub(super) fn from_json(json: &Bytes) -> Result<Self, CatalogError> {
        match Self::split(json) {
            Some(lines) => Ok(lines),
            None => {
                let catalog = Catalog::from_json(json)?;
                let (issued, expires) = (catalog.issued, catalog.expires);
                // It may have another order.
                let catalog = Catalog::new(catalog.prefix, catalog.serial, issued, expires, catalog.images);
                Ok(Self::of(&catalog))
            }
        }
    }

    /// The lines, if each is plainly one image under the prefix, and they are in the order of names.
    fn split(json: &Bytes) -> Option<Self> {
        let (head, images) = std::str::from_utf8(json).ok()?.split_once(BEGIN)?;
        let head: CatalogHead = serde_json::from_str(&format!("{head}\n}}")).ok()?;
        if head.kind != KIND || head.format != FORMAT {
            return None;
        }
        let mut lines = images.strip_suffix(END)?.split('\n').peekable();
        let (mut kept, mut before) = (Vec::new(), "");
        while let Some(line) = lines.next() {
            let line = line.strip_prefix(INDENT)?;
            let line = match lines.peek() {
                Some(_) => line.strip_suffix(',')?,
                None => line,
            };
            let name = name_of(line.as_bytes())?;
            if name < before || !is_within(name, &head.prefix) || !line.ends_with('}') {
                return None;
            }
            before = name;
            kept.push(json.slice_ref(line.as_bytes()));
        }
        Some(Self {
            prefix: head.prefix,
            serial: head.serial,
            issued: head.issued,
            expires: head.expires,
            lines: kept,
        })
    }

    /// The catalog speaks of this name and all below it.
    pub fn prefix(&self) -> &Name {
        &self.prefix
    }

    /// Grows with every issue.
    pub fn serial(&self) -> u64 {
        self.serial
    }

    /// After this time nobody is to believe it.
    pub fn expires(&self) -> DateTime<Utc> {
        self.expires
    }

    /// How many images it lists.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether it lists none.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Whether it lists the same as another, whenever that was issued.
    pub fn is_same_list(&self, other: &Self) -> bool {
        self.prefix == other.prefix && self.lines == other.lines
    }

    /// The names of all images, each once.
    pub fn names(&self) -> impl Iterator<Item = Name> {
        let mut names: Vec<&str> = self.lines.iter().filter_map(|line| name_of(line)).collect();
        names.dedup();
        names.into_iter().filter_map(|name| Name::new(name).ok())
    }

    /// The same list, issued anew.
    #[must_use]
    pub fn issued(self, serial: u64, issued: DateTime<Utc>, expires: DateTime<Utc>) -> Self {
        Self {
            serial,
            issued,
            expires,
            ..self
        }
    }

    /// Takes out the images of a name that have this version and which `is_meant` picks by their labels.
    ///
    /// Errors: an image of the name that cannot be read.
    pub fn remove(
        &mut self,
        name: &Name,
        version: &str,
        is_meant: impl Fn(&Labels) -> bool,
    ) -> Result<(), CatalogError> {
        let version = serde_json::to_string(version).expect(VALID);
        for at in self.range(name).rev() {
            // Most have another version: those are not read.
            let has_version = memchr::memmem::find(&self.lines[at], version.as_bytes()).is_some();
            if has_version && is_meant(&self.image(at)?.labels) {
                self.lines.remove(at);
            }
        }
        Ok(())
    }

    /// Puts an image where it belongs.
    ///
    /// Errors: an image of the same name that cannot be read.
    pub fn insert(&mut self, image: &CatalogImage) -> Result<(), CatalogError> {
        let Range { mut start, mut end } = self.range(&image.name);
        while start < end {
            let middle = usize::midpoint(start, end);
            match version::newest_first(&self.image(middle)?, image) {
                Ordering::Less => start = middle + 1,
                _ => end = middle,
            }
        }
        self.lines.insert(start, line(image));
        Ok(())
    }

    /// The JSON that is signed: always the same for the same catalog. Each image is one line.
    pub fn to_json(&self) -> Vec<u8> {
        let head = CatalogHead {
            kind: KIND.to_owned(),
            format: FORMAT,
            prefix: self.prefix.clone(),
            serial: self.serial,
            issued: self.issued,
            expires: self.expires,
        };
        let head = serde_json::to_string_pretty(&head).expect(VALID);
        let head = &head.as_bytes()[..head.len() - "\n}".len()];
        if self.lines.is_empty() {
            return [head, b",\n  \"images\": []\n}\n".as_slice()].concat();
        }
        let between = INDENT.len() + ",\n".len();
        let lines: usize = self.lines.iter().map(|line| line.len() + between).sum();
        let mut json = Vec::with_capacity(head.len() + BEGIN.len() + lines + END.len() + SIGNATURES);
        json.extend_from_slice(head);
        json.extend_from_slice(BEGIN.as_bytes());
        for (at, line) in self.lines.iter().enumerate() {
            json.extend_from_slice(if at == 0 { b"".as_slice() } else { b",\n" });
            json.extend_from_slice(INDENT.as_bytes());
            json.extend_from_slice(line);
        }
        json.extend_from_slice(END.as_bytes());
        json
    }

    /// Which lines are of a name.
    fn range(&self, name: &Name) -> Range<usize> {
        let of = |line: &Bytes| name_of(line).unwrap_or_default().cmp(name.as_str());
        let start = self.lines.partition_point(|line| of(line) == Ordering::Less);
        let count = self.lines[start..].partition_point(|line| of(line) == Ordering::Equal);
        start..start + count
    }

    fn image(&self, at: usize) -> Result<CatalogImage, CatalogError> {
        serde_json::from_slice(&self.lines[at]).map_err(CatalogError::Malformed)
    }
}

fn line(image: &CatalogImage) -> Bytes {
    serde_json::to_vec(image).expect(VALID).into()
}

/// The name in a line, which stands first in it. Names have no character that JSON writes otherwise.
fn name_of(line: &[u8]) -> Option<&str> {
    let rest = line.strip_prefix(b"{\"name\":\"")?;
    let (name, rest) = rest.split_at(memchr::memchr(b'"', rest)?);
    rest.starts_with(b"\",\"labels\":[").then_some(())?;
    std::str::from_utf8(name).ok()
}

fn is_within(name: &str, prefix: &Name) -> bool {
    name.strip_prefix(prefix.as_str())
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
