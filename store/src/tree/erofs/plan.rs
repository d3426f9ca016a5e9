use std::borrow::Cow;
use std::io::{self, Write};

use super::attribute::SharedAttributes;
use super::dirent::{Dirent, directory_size, encode_directory, file_type};
use super::inode::{self, Data, Header, SLOT, encode_device};
use super::superblock::{self, Superblock};
use super::{BLOCK, Tree};
use crate::tree::error::TreeError;
use crate::tree::model::NodeId;
use crate::tree::node::{Content, Entries, NodeKind};

/// Where everything goes. Directories refer to inodes by their place, so all places are known before the first byte is
/// written; then the image is written from front to back.
pub(super) struct Plan<'tree> {
    tree: &'tree Tree,
    shared: SharedAttributes<'tree>,
    inodes: Vec<PlannedInode>,
    /// Inode numbers by [`NodeId::index`].
    numbers: Vec<u64>,
    meta_block: u32,
    blocks: u32,
}

struct PlannedInode {
    id: NodeId,
    /// The directory it was first found in: for a directory, the one that `..` means.
    parent: NodeId,
    position: u64,
    size: u64,
    data: Data,
    attributes: Vec<u8>,
}

impl<'tree> Plan<'tree> {
    pub(super) fn new(tree: &'tree Tree) -> Result<Self, TreeError> {
        // A hard link is an inode under its first name only.
        let mut seen = vec![false; tree.capacity()];
        let visits: Vec<_> = tree
            .iter()
            .filter(|visit| !std::mem::replace(&mut seen[visit.id.index()], true))
            .collect();
        let nodes = visits.iter().map(|visit| tree.node(visit.id));
        let shared_position = superblock::OFFSET + superblock::SIZE;
        let shared = SharedAttributes::new(nodes, shared_position);

        let meta_block = block_after(shared_position + shared.bytes.len() as u64);
        let meta_position = u64::from(meta_block) * BLOCK;
        let mut end = meta_position + SLOT;
        let mut numbers = vec![0; tree.capacity()];
        let mut inodes = Vec::with_capacity(visits.len());
        for visit in visits {
            let kind = tree.node(visit.id).kind();
            let attributes = shared.encode(&visit.path, tree.node(visit.id))?;
            let size = content_size(kind);
            let head = inode::SIZE + attributes.len() as u64;
            let (position, data) = place(end, head, kind, size);
            end = position + head + bytes_behind(data);
            numbers[visit.id.index()] = (position - meta_position) / SLOT;
            inodes.push(PlannedInode {
                id: visit.id,
                parent: visit.parent,
                position,
                size,
                data,
                attributes,
            });
        }
        let blocks = assign_blocks(&mut inodes, block_after(end));
        Ok(Self {
            tree,
            shared,
            inodes,
            numbers,
            meta_block,
            blocks,
        })
    }

    pub(super) fn write(&self, out: impl Write) -> io::Result<u64> {
        let mut out = Positioned { out, position: 0 };
        out.pad_to(superblock::OFFSET)?;
        out.write(&self.superblock().encode())?;
        out.write(&self.shared.bytes)?;
        for (number, planned) in (1..).zip(&self.inodes) {
            out.pad_to(planned.position)?;
            out.write(&self.header(number, planned).encode())?;
            out.write(&planned.attributes)?;
            match planned.data {
                Data::Flat { blocks, tail: 1.., .. } => {
                    let content = self.content(planned);
                    out.write(&content[blocks as usize * BLOCK as usize..])?;
                }
                // A hole is the address −1.
                Data::Holes { chunks, .. } => out.write(&vec![0xff; 4 * chunks as usize])?,
                Data::Flat { .. } | Data::Special { .. } => {}
            }
        }
        out.pad_to_block()?;
        for planned in &self.inodes {
            if let Data::Flat {
                blocks: blocks @ 1.., ..
            } = planned.data
            {
                let content = self.content(planned);
                let whole = content.len().min(blocks as usize * BLOCK as usize);
                out.write(&content[..whole])?;
                out.pad_to_block()?;
            }
        }
        out.out.flush()?;
        Ok(out.position)
    }

    fn superblock(&self) -> Superblock {
        let root = self.numbers[Tree::ROOT.index()];
        let is_holes = |planned: &PlannedInode| matches!(planned.data, Data::Holes { .. });
        Superblock {
            root: u16::try_from(root).expect("the root is the first inode, a block in at most"),
            inodes: self.inodes.len() as u64,
            blocks: self.blocks,
            meta_block: self.meta_block,
            has_holes: self.inodes.iter().any(is_holes),
        }
    }

    fn header(&self, number: u32, planned: &PlannedInode) -> Header<'tree> {
        let node = self.tree.node(planned.id);
        Header {
            number,
            kind: node.kind(),
            metadata: node.metadata(),
            links: self.tree.links(planned.id),
            size: planned.size,
            data: planned.data,
            attributes: planned.attributes.len(),
        }
    }

    fn content(&self, planned: &PlannedInode) -> Cow<'tree, [u8]> {
        match self.tree.node(planned.id).kind() {
            NodeKind::Directory(entries) => Cow::Owned(self.directory(planned, entries)),
            NodeKind::File(Content::Inline(bytes)) | NodeKind::Symlink(bytes) => Cow::Borrowed(bytes),
            _ => Cow::Borrowed(&[]),
        }
    }

    fn directory(&self, planned: &PlannedInode, entries: &Entries) -> Vec<u8> {
        let dirent = |(name, id)| Dirent {
            name,
            inode: self.numbers[NodeId::index(id)],
            file_type: file_type(self.tree.node(id).kind()),
        };
        let all: Vec<_> = with_dots(entries, planned.id, planned.parent).map(dirent).collect();
        encode_directory(&all)
    }
}

/// A directory's entries with `.` and `..` in their sorted place among them.
fn with_dots(entries: &Entries, this: NodeId, parent: NodeId) -> impl Iterator<Item = (&[u8], NodeId)> {
    let mut all: Vec<(&[u8], NodeId)> = entries.iter().map(|(name, id)| (name.as_slice(), *id)).collect();
    let dot = all.partition_point(|(name, _)| *name < b".".as_slice());
    all.insert(dot, (b".", this));
    // Nothing sorts between the two but names that start with a dot and a byte below it.
    let dots = all.partition_point(|(name, _)| *name < b"..".as_slice());
    all.insert(dots, (b"..", parent));
    all.into_iter()
}

fn content_size(kind: &NodeKind) -> u64 {
    match kind {
        NodeKind::Directory(entries) => {
            directory_size(with_dots(entries, Tree::ROOT, Tree::ROOT).map(|(name, _)| name))
        }
        NodeKind::File(content) => content.size(),
        NodeKind::Symlink(target) => target.len() as u64,
        _ => 0,
    }
}

/// Finds an inode's position at or after `end`, and how its content is laid out; `head` is the inode with its attributes.
/// Which blocks it gets is left open.
fn place(end: u64, head: u64, kind: &NodeKind, size: u64) -> (u64, Data) {
    // An inode may lie across two blocks; none of ours does, which costs a slot and spares every reader that case.
    let next = end.next_multiple_of(SLOT);
    let crosses = next % BLOCK + inode::SIZE > BLOCK;
    let without_tail = if crosses { next.next_multiple_of(BLOCK) } else { next };
    match *kind {
        NodeKind::CharDevice { major, minor } | NodeKind::BlockDevice { major, minor } => {
            let device = encode_device(major, minor);
            (without_tail, Data::Special { device })
        }
        NodeKind::Fifo | NodeKind::Socket => (without_tail, Data::Special { device: 0 }),
        NodeKind::File(Content::Object { size: 1.., .. }) => (without_tail, Data::holes(size)),
        NodeKind::Directory(_) | NodeKind::File(_) | NodeKind::Symlink(_) => {
            let tail = size % BLOCK;
            // The kernel reads short links together with their inode.
            let together = matches!(kind, NodeKind::Symlink(_));
            let inlined = (tail > 0)
                .then(|| place_tail(without_tail, head, tail, together))
                .flatten();
            let tail_inline = if inlined.is_some() { tail } else { 0 };
            let blocks = (size - tail_inline).div_ceil(BLOCK);
            let data = Data::Flat {
                first_block: 0,
                blocks: u32::try_from(blocks).expect("content held in memory is below 16 TiB"),
                tail: tail_inline as u32,
            };
            (inlined.unwrap_or(without_tail), data)
        }
    }
}

/// A position at or after `from` at which the tail behind the head lies in one block, if there is one: together with the
/// head, or where need be alone.
fn place_tail(from: u64, head: u64, tail: u64, together: bool) -> Option<u64> {
    let in_one_block = |start: u64, end: u64| start / BLOCK == (end - 1) / BLOCK;
    let fits = |position: u64| {
        let tail_start = position + head;
        let start = if together { position } else { tail_start };
        in_one_block(start, tail_start + tail)
    };
    let next_block = (from + 1).next_multiple_of(BLOCK);
    let tail_at_block = ((from + head).next_multiple_of(BLOCK) - head).next_multiple_of(SLOT);
    let candidates = if together {
        [from, next_block]
    } else {
        [from, tail_at_block]
    };
    let crosses = |position: u64| !in_one_block(position, position + inode::SIZE);
    candidates
        .into_iter()
        .find(|position| fits(*position) && !crosses(*position))
}

fn bytes_behind(data: Data) -> u64 {
    match data {
        Data::Special { .. } => 0,
        Data::Flat { tail, .. } => u64::from(tail),
        Data::Holes { chunks, .. } => 4 * u64::from(chunks),
    }
}

/// Deals out blocks from `first` on; returns the number of blocks in the image.
fn assign_blocks(inodes: &mut [PlannedInode], first: u32) -> u32 {
    let mut next = first;
    for planned in inodes {
        if let Data::Flat {
            first_block, blocks, ..
        } = &mut planned.data
            && *blocks > 0
        {
            *first_block = next;
            next = next
                .checked_add(*blocks)
                .expect("an image held in memory is below 16 TiB");
        }
    }
    next
}

fn block_after(position: u64) -> u32 {
    u32::try_from(position.div_ceil(BLOCK)).expect("an image held in memory is below 16 TiB")
}

/// An output that knows how far it is.
struct Positioned<W> {
    out: W,
    position: u64,
}

impl<W: Write> Positioned<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.position += bytes.len() as u64;
        self.out.write_all(bytes)
    }

    fn pad_to(&mut self, position: u64) -> io::Result<()> {
        const ZEROS: [u8; BLOCK as usize] = [0; BLOCK as usize];
        while self.position < position {
            let step = (position - self.position).min(BLOCK);
            self.write(&ZEROS[..step as usize])?;
        }
        Ok(())
    }

    fn pad_to_block(&mut self) -> io::Result<()> {
        self.pad_to(self.position.next_multiple_of(BLOCK))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_block(start: u64, length: u64) -> bool {
        start / BLOCK == (start + length - 1) / BLOCK
    }

    #[test]
    fn inodes_and_tails_lie_in_one_block_each() {
        for end in (BLOCK..3 * BLOCK).step_by(20) {
            for size in (1..5000).step_by(33) {
                let file = NodeKind::File(Content::Inline(vec![0; size]));
                let link = NodeKind::Symlink(vec![b'l'; size.min(4095)]);
                for (kind, head) in [(&file, 64), (&file, 84), (&file, 9000), (&link, 64), (&link, 300)] {
                    let size = content_size(kind);
                    let (position, data) = place(end, head, kind, size);
                    assert!(position >= end && position % SLOT == 0 && one_block(position, inode::SIZE));
                    let Data::Flat { blocks, tail, .. } = data else {
                        panic!("{kind:?} has its content in the image");
                    };
                    assert!(u64::from(blocks) * BLOCK + u64::from(tail) >= size);
                    assert!(tail == 0 || one_block(position + head, u64::from(tail)));
                    let whole_link = tail > 0 && matches!(kind, NodeKind::Symlink(_));
                    assert!(!whole_link || one_block(position, head + u64::from(tail)));
                    // What fits behind an inode at the start of a block is never given a block of its own.
                    assert!(tail > 0 || size.is_multiple_of(BLOCK) || head + size % BLOCK > BLOCK - SLOT);
                }
            }
        }
    }
}
