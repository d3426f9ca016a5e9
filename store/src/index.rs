//! The index: a SQLite database over `images/`, for listing and finding without opening every manifest.
//!
//! The files are the truth. Whoever opens the store adds to the index what has a directory and no row, and removes
//! what has a row and no directory: a process that was killed has left that. An index that cannot be read is made anew
//! from the files.

use std::{
    cmp::Ordering,
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use dhow_image::{ImageId, Labels, Name};
use rusqlite::{Connection, Row, TransactionBehavior, params};

use crate::{discard::discard, error::StoreError, image_dir::ImageDir, locks, recipe::RecipeReader};

const SCHEMA_VERSION: i32 = 2;
const SCHEMA: &str = "
    CREATE TABLE image (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        labels TEXT NOT NULL,
        tar_size INTEGER NOT NULL,
        imported_at INTEGER NOT NULL,
        verified INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX image_by_name ON image (name);
";

/// What the index knows of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageRecord {
    /// Its ID.
    pub id: ImageId,
    /// Its name.
    pub name: Name,
    /// Its labels.
    pub labels: Labels,
    /// How many bytes its uncompressed tar has.
    pub tar_size: u64,
    /// When it came into the store.
    pub imported_at: SystemTime,
    /// Whether anybody vouches for it.
    pub standing: Standing,
}

/// Whether anybody vouches for an image. The store believes whoever commits one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Nobody does.
    Unverified,
    /// A signature was verified.
    Verified,
}

impl ImageRecord {
    /// By name, then by version from the highest down, then from the newest to the oldest. A version that is not
    /// semantic comes after all that are, a pre-release after every release (semver.org, 11).
    fn compare(&self, other: &Self) -> Ordering {
        let version = |record: &Self| {
            record
                .labels
                .get("version")
                .and_then(|text| semver::Version::parse(text).ok())
        };
        let rank = |record: &Self| version(record).map(|version| (version.pre.is_empty(), version));
        let by_name = self.name.cmp(&other.name);
        by_name
            .then_with(|| rank(other).cmp(&rank(self)))
            .then_with(|| other.imported_at.cmp(&self.imported_at))
            .then_with(|| self.id.cmp(&other.id))
    }
}

pub(crate) struct Index {
    path: PathBuf,
    connection: Connection,
}

impl Index {
    /// Opens the index, and makes it agree with `images/`. One that is damaged is made anew.
    pub(crate) fn open(root: &Path) -> Result<Self, StoreError> {
        let opened = match Self::open_there(root) {
            Err(StoreError::Index { source, .. }) if is_damage(&source) => Self::open_anew(root),
            opened => opened,
        };
        match opened {
            // A full disk must not keep anyone from making room on it, nor a bad one from saving what can be read.
            Err(error) if error.is_lack_of_room() => {
                tracing::warn!("the index is not kept: {error}");
                Self::in_memory(root)
            }
            opened => opened,
        }
    }

    /// Makes a damaged index anew, unless another process has done it.
    fn open_anew(root: &Path) -> Result<Self, StoreError> {
        let _lock = locks::index(root)?;
        match Self::open_there(root) {
            Err(StoreError::Index { source, .. }) if is_damage(&source) => {
                tracing::warn!("the index is damaged and is made anew: {source}");
                for name in ["index.db-wal", "index.db-shm", "index.db"] {
                    discard(&root.join(name))?;
                }
                Self::open_there(root)
            }
            opened => opened,
        }
    }

    /// An index that lives as long as its process, for a store that can only be read.
    pub(crate) fn in_memory(root: &Path) -> Result<Self, StoreError> {
        let path = root.join("index.db");
        let open = || -> rusqlite::Result<Connection> {
            let connection = Connection::open_in_memory()?;
            connection.execute_batch(SCHEMA)?;
            // What the index on disk knows need not be read from the files. If it cannot be read, they are.
            let on_disk = || {
                let mut uri = url_of(&path);
                uri.push_str("?immutable=1");
                let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY | rusqlite::OpenFlags::SQLITE_OPEN_URI;
                select(&Connection::open_with_flags(uri, flags)?, "", [])
            };
            for record in on_disk().unwrap_or_default() {
                insert(&connection, &record)?;
            }
            Ok(connection)
        };
        let mut index = Self {
            connection: open().map_err(|source| StoreError::Index {
                path: path.clone(),
                source,
            })?,
            path,
        };
        index.agree_with(&root.join("images"))?;
        Ok(index)
    }

    fn open_there(root: &Path) -> Result<Self, StoreError> {
        let path = root.join("index.db");
        let open = || -> rusqlite::Result<Connection> {
            let mut connection = Connection::open(&path)?;
            connection.busy_timeout(Duration::from_secs(30))?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", "NORMAL")?;
            let version = |connection: &Connection| -> rusqlite::Result<i32> {
                connection.pragma_query_value(None, "user_version", |row| row.get(0))
            };
            if version(&connection)? == SCHEMA_VERSION {
                return Ok(connection);
            }
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            if version(&transaction)? != SCHEMA_VERSION {
                transaction.execute_batch("DROP TABLE IF EXISTS image;")?;
                transaction.execute_batch(SCHEMA)?;
                transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
            }
            transaction.commit()?;
            Ok(connection)
        };
        let connection = open().map_err(|source| StoreError::Index {
            path: path.clone(),
            source,
        })?;
        let mut index = Self { path, connection };
        index.agree_with(&root.join("images"))?;
        Ok(index)
    }

    /// Makes the index anew from the files. Other programs that have it open go on with the old one until they open
    /// the store again.
    pub(crate) fn rebuild(&mut self, root: &Path) -> Result<(), StoreError> {
        let _lock = locks::index(root)?;
        for name in ["index.db-wal", "index.db-shm", "index.db"] {
            discard(&root.join(name))?;
        }
        *self = Self::open_there(root)?;
        Ok(())
    }

    /// What SQLite itself finds wrong with the index.
    pub(crate) fn problems(&self) -> Result<Vec<String>, StoreError> {
        let check = || -> rusqlite::Result<Vec<String>> {
            let mut check = self.connection.prepare("PRAGMA integrity_check")?;
            check.query_map([], |row| row.get(0))?.collect()
        };
        let mut found = match check() {
            Err(error) if is_damage(&error) => vec![error.to_string()],
            checked => checked.map_err(self.error())?,
        };
        found.retain(|line| line != "ok");
        Ok(found)
    }

    pub(crate) fn remove(&self, id: &ImageId) -> Result<(), StoreError> {
        let removed = self
            .connection
            .execute("DELETE FROM image WHERE id = ?1", [id.to_string()]);
        removed.map(drop).map_err(self.error())
    }

    pub(crate) fn insert(&self, record: &ImageRecord) -> Result<(), StoreError> {
        insert(&self.connection, record).map_err(self.error())
    }

    /// All images, in the order of their names, and within a name the highest version first.
    pub(crate) fn images(&self) -> Result<Vec<ImageRecord>, StoreError> {
        self.select("", [])
    }

    /// The images of a name, the highest version first.
    pub(crate) fn named(&self, name: &Name) -> Result<Vec<ImageRecord>, StoreError> {
        self.select("WHERE name = ?1", [name.as_str()])
    }

    fn select(&self, rest: &str, values: impl rusqlite::Params) -> Result<Vec<ImageRecord>, StoreError> {
        let mut records = select(&self.connection, rest, values).map_err(self.error())?;
        records.sort_by(ImageRecord::compare);
        Ok(records)
    }

    /// Adds the images that have a directory and no row, and removes the rows that have no directory.
    fn agree_with(&mut self, images: &Path) -> Result<(), StoreError> {
        if self.differences(images)?.are_none() {
            return Ok(());
        }
        // The directory is read again with all others shut out: an image has its row after its directory, and loses
        // it after its directory, so that whatever differs now is left over or about to be put right.
        let path = self.path.clone();
        let failed = |source| StoreError::Index {
            path: path.clone(),
            source,
        };
        self.connection.execute_batch("BEGIN IMMEDIATE").map_err(failed)?;
        let put_right = self
            .differences(images)
            .and_then(|differences| self.put_right(images, &differences));
        let end = if put_right.is_ok() { "COMMIT" } else { "ROLLBACK" };
        self.connection.execute_batch(end).map_err(failed)?;
        put_right
    }

    fn put_right(&self, images: &Path, differences: &Differences) -> Result<(), StoreError> {
        for id in &differences.gone {
            self.remove(id)?;
        }
        for id in &differences.new {
            match read_record(images, id) {
                Ok(record) => self.insert(&record)?,
                // One damaged image must not shut out all others; who asks for it is told.
                Err(error) => tracing::warn!("`{}` is left out of the index: {error}", id.short()),
            }
        }
        Ok(())
    }

    fn differences(&self, images: &Path) -> Result<Differences, StoreError> {
        let rows = || -> rusqlite::Result<Vec<String>> {
            self.connection
                .prepare_cached("SELECT id FROM image")?
                .query_map([], |row| row.get(0))?
                .collect()
        };
        let rows: HashSet<ImageId> = rows()
            .map_err(self.error())?
            .iter()
            .filter_map(|id| id.parse().ok())
            .collect();
        let directories = image_ids(images)?;
        let new = directories.iter().filter(|id| !rows.contains(id)).copied().collect();
        let directories: HashSet<_> = directories.into_iter().collect();
        Ok(Differences {
            new,
            gone: rows.difference(&directories).copied().collect(),
        })
    }

    fn error(&self) -> impl FnOnce(rusqlite::Error) -> StoreError {
        let path = self.path.clone();
        move |source| StoreError::Index { path, source }
    }
}

/// Where the index and the directory differ.
struct Differences {
    new: Vec<ImageId>,
    gone: Vec<ImageId>,
}

impl Differences {
    fn are_none(&self) -> bool {
        self.new.is_empty() && self.gone.is_empty()
    }
}

/// A path as SQLite wants it where options follow.
fn url_of(path: &Path) -> String {
    use std::{fmt::Write, os::unix::ffi::OsStrExt};
    let mut url = String::from("file:");
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'/' | b'-' | b'_' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => url.push(char::from(*byte)),
            _ => write!(url, "%{byte:02X}").expect("a String takes all that is written"),
        }
    }
    url
}

fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    matches!(error.sqlite_error_code(), Some(NotADatabase | DatabaseCorrupt))
}

/// The images that have a directory.
pub(crate) fn image_ids(images: &Path) -> Result<Vec<ImageId>, StoreError> {
    let mut ids = Vec::new();
    for entry in fs::read_dir(images).map_err(StoreError::io(images))? {
        let entry = entry.map_err(StoreError::io(images))?;
        ids.extend(entry.file_name().to_str().and_then(|name| name.parse::<ImageId>().ok()));
    }
    ids.sort();
    Ok(ids)
}

/// Reads from an image's own files what the index holds of it.
pub(crate) fn read_record(images: &Path, id: &ImageId) -> Result<ImageRecord, StoreError> {
    let image = ImageDir::open(images, id)?;
    let manifest = image.manifest()?;
    let path = image.recipe_path();
    let file = image.recipe()?;
    let imported_at = file
        .metadata()
        .and_then(|metadata| metadata.modified())
        .map_err(StoreError::io(&path))?;
    let head = RecipeReader::new(file).map_err(StoreError::io(path))?.head();
    Ok(ImageRecord {
        id: *id,
        name: manifest.name,
        labels: manifest.labels,
        tar_size: head.tar_size,
        imported_at,
        standing: image.standing(),
    })
}

fn select(connection: &Connection, rest: &str, values: impl rusqlite::Params) -> rusqlite::Result<Vec<ImageRecord>> {
    let sql = format!("SELECT id, name, labels, tar_size, imported_at, verified FROM image {rest}");
    connection.prepare_cached(&sql)?.query_map(values, record)?.collect()
}

fn insert(connection: &Connection, record: &ImageRecord) -> rusqlite::Result<()> {
    let labels = serde_json::to_string(&record.labels).expect("labels are plain text");
    let seconds = record
        .imported_at
        .duration_since(UNIX_EPOCH)
        .map_or(0, |duration| duration.as_secs());
    connection.execute(
        "INSERT OR REPLACE INTO image (id, name, labels, tar_size, imported_at, verified) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![
            record.id.to_string(),
            record.name.as_str(),
            labels,
            i64::try_from(record.tar_size).unwrap_or(i64::MAX),
            i64::try_from(seconds).unwrap_or(i64::MAX),
            record.standing == Standing::Verified,
        ],
    )?;
    Ok(())
}

fn record(row: &Row<'_>) -> rusqlite::Result<ImageRecord> {
    fn parsed<T, E: std::error::Error + Send + Sync + 'static>(
        column: usize,
        value: Result<T, E>,
    ) -> rusqlite::Result<T> {
        value.map_err(|error| {
            rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
        })
    }
    let (id, name, labels): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let (tar_size, imported_at): (i64, i64) = (row.get(3)?, row.get(4)?);
    Ok(ImageRecord {
        id: parsed(0, id.parse())?,
        name: parsed(1, Name::new(name))?,
        labels: parsed(2, serde_json::from_str(&labels))?,
        tar_size: tar_size.unsigned_abs(),
        imported_at: UNIX_EPOCH + Duration::from_secs(imported_at.unsigned_abs()),
        standing: if row.get(5)? {
            Standing::Verified
        } else {
            Standing::Unverified
        },
    })
}
