//! [`PieceFile`]: the file that a swarm and an origin fill together.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::Path,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use librqbit::{
    ManagedTorrentShared, TorrentMetadata,
    storage::{BoxStorageFactory, StorageFactory, StorageFactoryExt, TorrentStorage},
};
use librqbit_core::lengths::ValidPieceIndex;
use tokio::sync::Notify;

use super::metainfo::Metainfo;
use crate::vectored;

/// A file of pieces, and which of them are right.
///
/// A piece that came from the origin is right before the session knows of it: what a peer sends for it then is not
/// written, since the peer may lie. The names in a torrent are of no use here.
pub(super) struct PieceFile {
    file: File,
    metainfo: Metainfo,
    /// Whoever writes what was not checked holds it for reading.
    pieces: RwLock<Vec<Piece>>,
    /// How many bytes are in pieces that are right.
    right: AtomicU64,
    /// How many of them came from peers.
    given_by_peers: AtomicU64,
    became_whole: Notify,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    Missing,
    /// The origin gave it, and the session does not know yet.
    FromOrigin,
    /// The session has it.
    Known,
}

impl PieceFile {
    pub(super) fn new(file: File, metainfo: Metainfo) -> Arc<Self> {
        Arc::new(Self {
            pieces: RwLock::new(vec![Piece::Missing; metainfo.piece_count()]),
            file,
            metainfo,
            right: AtomicU64::new(0),
            given_by_peers: AtomicU64::new(0),
            became_whole: Notify::new(),
        })
    }

    pub(super) fn metainfo(&self) -> &Metainfo {
        &self.metainfo
    }

    /// How many bytes are in pieces that are right.
    pub(super) fn right(&self) -> u64 {
        self.right.load(Ordering::Relaxed)
    }

    /// How many bytes of right pieces came from peers, since this was made.
    pub(super) fn given_by_peers(&self) -> u64 {
        self.given_by_peers.load(Ordering::Relaxed)
    }

    pub(super) fn is_whole(&self) -> bool {
        self.right() == self.metainfo.length()
    }

    /// Waits until all pieces are right, for one who waits.
    pub(super) async fn until_whole(&self) {
        while !self.is_whole() {
            self.became_whole.notified().await;
        }
    }

    pub(super) fn missing(&self) -> Vec<usize> {
        self.which(Piece::Missing)
    }

    /// The pieces of which the session does not know.
    pub(super) fn unknown(&self) -> Vec<usize> {
        self.which(Piece::FromOrigin)
    }

    /// Whether the session knows all of these.
    pub(super) fn is_known(&self, indices: &[usize]) -> bool {
        let pieces = self.read();
        indices.iter().all(|&index| pieces[index] == Piece::Known)
    }

    /// The first piece that is missing, from this one on.
    pub(super) fn front(&self, from: usize) -> usize {
        let pieces = self.read();
        let missing = pieces.iter().skip(from).position(|piece| *piece == Piece::Missing);
        missing.map_or(pieces.len(), |position| from + position)
    }

    /// Takes a piece that the origin gave. Whether it was right.
    pub(super) fn fill(&self, index: usize, parts: &[Bytes]) -> io::Result<bool> {
        if !self.metainfo.is_piece(index, parts) {
            return Ok(false);
        }
        let mut pieces = self.pieces.write().unwrap_or_else(PoisonError::into_inner);
        if pieces[index] == Piece::Missing {
            vectored::write_all_at(&self.file, parts, self.metainfo.piece(index).start)?;
            pieces[index] = Piece::FromOrigin;
            self.has_right(index);
        }
        Ok(true)
    }

    /// Notes that the session found a piece in the file: it was checked. How many bytes are new by that.
    pub(super) fn know(&self, index: usize) -> u64 {
        let mut pieces = self.pieces.write().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut pieces[index], Piece::Known) != Piece::Missing {
            return 0;
        }
        self.has_right(index)
    }

    /// Counts a piece that is right, and gives its length.
    fn has_right(&self, index: usize) -> u64 {
        let piece = self.metainfo.piece(index);
        let length = piece.end - piece.start;
        if self.right.fetch_add(length, Ordering::Relaxed) + length == self.metainfo.length() {
            self.became_whole.notify_one();
        }
        length
    }

    pub(super) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    /// What gives the session this file.
    pub(super) fn factory(self: &Arc<Self>) -> BoxStorageFactory {
        Factory(self.clone()).boxed()
    }

    /// Writes what a peer sent, except into pieces that are right.
    fn write(&self, mut offset: u64, mut bytes: &[u8]) -> io::Result<()> {
        let pieces = self.read();
        while !bytes.is_empty() {
            let index = self.metainfo.piece_at(offset);
            let left = self.metainfo.piece(index).end - offset;
            let (now, later) = bytes.split_at(usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len())));
            if pieces[index] == Piece::Missing {
                self.file.write_all_at(now, offset)?;
            }
            offset += now.len() as u64;
            bytes = later;
        }
        Ok(())
    }

    fn which(&self, kind: Piece) -> Vec<usize> {
        let pieces = self.read();
        (0..pieces.len()).filter(|&index| pieces[index] == kind).collect()
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Vec<Piece>> {
        self.pieces.read().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone)]
struct Factory(Arc<PieceFile>);

impl StorageFactory for Factory {
    type Storage = Storage;

    fn create(&self, _: &ManagedTorrentShared, _: &TorrentMetadata) -> anyhow::Result<Storage> {
        Ok(Storage(self.0.clone()))
    }

    fn clone_box(&self) -> BoxStorageFactory {
        self.clone().boxed()
    }
}

/// The session's view of the one file of its torrent.
struct Storage(Arc<PieceFile>);

impl TorrentStorage for Storage {
    fn init(&mut self, _: &ManagedTorrentShared, _: &TorrentMetadata) -> anyhow::Result<()> {
        Ok(())
    }

    fn pread_exact(&self, _: usize, offset: u64, buffer: &mut [u8]) -> anyhow::Result<()> {
        Ok(self.0.read_at(offset, buffer)?)
    }

    fn pwrite_all(&self, _: usize, offset: u64, bytes: &[u8]) -> anyhow::Result<()> {
        Ok(self.0.write(offset, bytes)?)
    }

    fn remove_file(&self, _: usize, _: &Path) -> anyhow::Result<()> {
        Ok(())
    }

    fn remove_directory_if_empty(&self, _: &Path) -> anyhow::Result<()> {
        Ok(())
    }

    /// The file grows as pieces come. One that is only seeded has its length.
    fn ensure_file_length(&self, _: usize, length: u64) -> anyhow::Result<()> {
        if self.0.file.metadata()?.len() < length {
            self.0.file.set_len(length)?;
        }
        Ok(())
    }

    fn take(&self) -> anyhow::Result<Box<dyn TorrentStorage>> {
        Ok(Box::new(Self(self.0.clone())))
    }

    fn on_piece_completed(&self, piece: ValidPieceIndex) -> anyhow::Result<()> {
        let new = self.0.know(piece.get() as usize);
        self.0.given_by_peers.fetch_add(new, Ordering::Relaxed);
        Ok(())
    }
}
