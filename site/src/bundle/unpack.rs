//! Reading a bundle, which may come from anybody.

use std::{
    fs::File,
    io::{self, ErrorKind, Read, Write},
    path::{Path as FilePath, PathBuf},
};

use dhow_image::Name;
use dhow_trust::Certificate;
use sha2::{Digest, Sha256};

use super::{
    BLOCK, FORMAT, INDEX, Index, KEYS, MAX_CATALOG, MAX_SIGNATURE, MAX_SMALL, catalog_path,
    header::{header, size},
    padding, paths,
};
use crate::{Error, FileFacts, Record};

/// What was in a bundle. Nothing of it was verified yet.
#[derive(Debug)]
pub struct Unpacked {
    /// The certificates that came along: nobody is to be believed because of them.
    pub certificates: Vec<Certificate>,
    /// The catalogs that came along.
    pub catalogs: Vec<UnpackedCatalog>,
    /// The images, dependencies first.
    pub images: Vec<UnpackedImage>,
}

/// A catalog of a bundle.
#[derive(Debug)]
pub struct UnpackedCatalog {
    /// Whose it says to be.
    pub prefix: Name,
    /// The file, in the directory that was given.
    pub path: PathBuf,
}

/// An image of a bundle.
#[derive(Debug)]
pub struct UnpackedImage {
    /// What the bundle says of it.
    pub record: Record,
    /// The archive, in the directory that was given.
    pub archive: PathBuf,
    /// The signature, beside it as `….aci.asc`.
    pub signature: Vec<u8>,
}

/// Unpacks a bundle into files of an empty directory that are called as this function likes. Blocks.
///
/// Errors: [`Error::Bundle`] where the bundle is not, byte for byte, what an export writes.
pub fn unpack_bundle(mut bundle: impl Read, directory: &FilePath) -> Result<Unpacked, Error> {
    let index = read_index(&mut bundle)?;
    let mut keys = Vec::new();
    read_entry(&mut bundle, KEYS, &index.keys, MAX_SMALL, &mut keys)?;
    let certificates = match keys.as_slice() {
        [] => Vec::new(),
        keys => Certificate::parse_many(keys).map_err(|_| damaged(KEYS, "has no readable keys"))?,
    };
    let mut catalogs: Vec<UnpackedCatalog> = Vec::new();
    for (number, catalog) in index.catalogs.into_iter().enumerate() {
        let (prefix, path) = (catalog.prefix, directory.join(format!("{number}.catalog")));
        if catalogs.last().is_some_and(|last| last.prefix >= prefix) {
            return Err(damaged(INDEX, "has catalogs twice, or in another order"));
        }
        let mut file = File::create_new(&path).map_err(Error::UnpackBundle)?;
        let entry = catalog_path(&prefix);
        read_entry(&mut bundle, &entry, &catalog.file, MAX_CATALOG, &mut file)?;
        catalogs.push(UnpackedCatalog { prefix, path });
    }
    let mut images: Vec<UnpackedImage> = Vec::new();
    for (number, record) in index.images.into_iter().enumerate() {
        record
            .check_labels()
            .map_err(|error| damaged(INDEX, &format!("names an image that no site has: {error}")))?;
        if images.iter().any(|image| image.record.is_same_version(&record)) {
            return Err(damaged(INDEX, &format!("has `{}` twice", record.name)));
        }
        let [signature_path, archive_path] = paths(&record);
        let mut signature = Vec::new();
        read_entry(
            &mut bundle,
            signature_path.as_ref(),
            &record.signature,
            MAX_SIGNATURE,
            &mut signature,
        )?;
        let archive = directory.join(format!("{number}.aci"));
        std::fs::write(directory.join(format!("{number}.aci.asc")), &signature).map_err(Error::UnpackBundle)?;
        let mut file = File::create_new(&archive).map_err(Error::UnpackBundle)?;
        read_entry(&mut bundle, archive_path.as_ref(), &record.archive, u64::MAX, &mut file)?;
        images.push(UnpackedImage {
            record,
            archive,
            signature,
        });
    }
    let mut end = Vec::new();
    (&mut bundle)
        .take(2 * BLOCK as u64 + 1)
        .read_to_end(&mut end)
        .map_err(Error::ReadBundle)?;
    if end != [0; 2 * BLOCK] {
        return Err(damaged("its end", "is not there, or something comes after it"));
    }
    Ok(Unpacked {
        certificates,
        catalogs,
        images,
    })
}

fn read_index(bundle: &mut impl Read) -> Result<Index, Error> {
    let mut block = [0; BLOCK];
    fill(bundle, &mut block, INDEX)?;
    let size = size(&block)
        .filter(|size| header(INDEX, *size).is_some_and(|expected| expected == block))
        .ok_or_else(|| damaged(INDEX, "is not its first entry: this is no bundle"))?;
    if size > MAX_SMALL {
        return Err(damaged(INDEX, "is larger than any can be"));
    }
    let mut json = vec![0; usize::try_from(size).expect("it is small")];
    fill(bundle, &mut json, INDEX)?;
    skip_padding(bundle, size, INDEX)?;
    let index: Index =
        serde_json::from_slice(&json).map_err(|error| damaged(INDEX, &format!("cannot be read: {error}")))?;
    if index.format != FORMAT {
        return Err(damaged(
            INDEX,
            &format!("is of the format `{}`, not `{FORMAT}`", index.format),
        ));
    }
    Ok(index)
}

/// Copies the content of the next entry, which must be this one.
fn read_entry(
    bundle: &mut impl Read,
    path: &str,
    facts: &FileFacts,
    limit: u64,
    out: &mut impl Write,
) -> Result<(), Error> {
    if facts.size > limit {
        return Err(damaged(path, "is larger than any can be"));
    }
    let mut block = [0; BLOCK];
    fill(bundle, &mut block, path)?;
    if header(path, facts.size).is_none_or(|expected| expected != block) {
        return Err(damaged(
            path,
            "is not where it should be, or not a plain file of its size",
        ));
    }
    let mut hasher = Sha256::new();
    let mut left = facts.size;
    let mut buffer = vec![0; 128 << 10];
    while left > 0 {
        let part = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        fill(bundle, &mut buffer[..part], path)?;
        hasher.update(&buffer[..part]);
        out.write_all(&buffer[..part]).map_err(Error::UnpackBundle)?;
        left -= part as u64;
    }
    if hex::encode(hasher.finalize()) != facts.sha256 {
        return Err(damaged(path, "has another digest than its record says"));
    }
    skip_padding(bundle, facts.size, path)
}

fn skip_padding(bundle: &mut impl Read, size: u64, path: &str) -> Result<(), Error> {
    let mut zeros = [0; BLOCK];
    let zeros = &mut zeros[..padding(size)];
    fill(bundle, zeros, path)?;
    if zeros.iter().any(|&byte| byte != 0) {
        return Err(damaged(path, "is followed by something"));
    }
    Ok(())
}

fn fill(bundle: &mut impl Read, buffer: &mut [u8], path: &str) -> Result<(), Error> {
    bundle
        .read_exact(buffer)
        .map_err(|source: io::Error| match source.kind() {
            ErrorKind::UnexpectedEof => damaged(path, "is cut off"),
            _ => Error::ReadBundle(source),
        })
}

fn damaged(what: &str, problem: &str) -> Error {
    Error::Bundle {
        entry: what.to_owned(),
        problem: problem.to_owned(),
    }
}
