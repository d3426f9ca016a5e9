//! The index: a SQLite database over `images/`, for listing and finding without opening every manifest.
//!
//! The files are the truth. Where the index and the directory do not hold the same number of images, or the index
//! cannot be read, it is made anew from the files.

use std::{
    cmp::Ordering,
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use dhow_image::{ImageId, Labels, Name};
use rusqlite::{Connection, Row, params};

use crate::{error::StoreError, image_dir::ImageDir, recipe::RecipeReader};

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
    /// Opens the index, and makes it agree with `images`. One that is damaged is made anew.
    pub(crate) fn open(path: &Path, images: &Path) -> Result<Self, StoreError> {
        match Self::open_there(path, images) {
            Err(StoreError::Index { source, .. }) if is_damage(&source) => {
                for suffix in ["", "-wal", "-shm"] {
                    let mut file = path.as_os_str().to_owned();
                    file.push(suffix);
                    match fs::remove_file(&file) {
                        Err(error) if error.kind() != io::ErrorKind::NotFound => {
                            return Err(StoreError::io(file)(error));
                        }
                        _ => {}
                    }
                }
                Self::open_there(path, images)
            }
            opened => opened,
        }
    }

    fn open_there(path: &Path, images: &Path) -> Result<Self, StoreError> {
        let open = || -> rusqlite::Result<Connection> {
            let mut connection = Connection::open(path)?;
            connection.busy_timeout(Duration::from_secs(30))?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", "NORMAL")?;
            let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            let version: i32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
            if version != SCHEMA_VERSION {
                transaction.execute_batch("DROP TABLE IF EXISTS image;")?;
                transaction.execute_batch(SCHEMA)?;
                transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
            }
            transaction.commit()?;
            Ok(connection)
        };
        let connection = open().map_err(|source| StoreError::Index {
            path: path.to_owned(),
            source,
        })?;
        let mut index = Self {
            path: path.to_owned(),
            connection,
        };
        index.agree_with(images)?;
        Ok(index)
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
        let sql = format!("SELECT id, name, labels, tar_size, imported_at, verified FROM image {rest}");
        let query = || -> rusqlite::Result<Vec<ImageRecord>> {
            self.connection
                .prepare_cached(&sql)?
                .query_map(values, record)?
                .collect()
        };
        let mut records = query().map_err(self.error())?;
        records.sort_by(ImageRecord::compare);
        Ok(records)
    }

    /// Makes the index anew where it does not hold as many images as the directory does.
    fn agree_with(&mut self, images: &Path) -> Result<(), StoreError> {
        let count = "SELECT count(*) FROM image";
        let in_index: i64 = self
            .connection
            .query_row(count, [], |row| row.get(0))
            .map_err(self.error())?;
        let ids = image_ids(images)?;
        if usize::try_from(in_index) == Ok(ids.len()) {
            return Ok(());
        }
        // One damaged image must not shut out all others; who asks for it is told.
        let mut records = Vec::new();
        for id in &ids {
            match read_record(images, id) {
                Ok(record) => records.push(record),
                Err(error) => tracing::warn!("`{}` is left out of the index: {error}", id.short()),
            }
        }
        let path = &self.path;
        let rebuild = |connection: &mut Connection| -> rusqlite::Result<()> {
            let transaction = connection.transaction()?;
            transaction.execute("DELETE FROM image", [])?;
            for record in &records {
                insert(&transaction, record)?;
            }
            transaction.commit()
        };
        rebuild(&mut self.connection).map_err(|source| StoreError::Index {
            path: path.clone(),
            source,
        })
    }

    fn error(&self) -> impl FnOnce(rusqlite::Error) -> StoreError {
        let path = self.path.clone();
        move |source| StoreError::Index { path, source }
    }
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
fn read_record(images: &Path, id: &ImageId) -> Result<ImageRecord, StoreError> {
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
