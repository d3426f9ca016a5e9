use std::io::{self, Write};
use std::iter::Peekable;

use super::attribute::{AttributeUses, SharedAttributes};
use super::dirent::{Dirent, directory_size, for_each_block};
use super::inode::{self, Data, Header, SLOT, encode_device};
use super::superblock::{self, Superblock};
use super::{BLOCK, Tree};
use crate::tree::children::Children;
use crate::tree::error::TreeError;
use crate::tree::model::NodeId;
use crate::tree::node::{Content, Node, NodeKind};

/// Where everything goes. Directories refer to inodes by their place, so all places are known before the first byte is
/// written; then the image is written from front to back. Of each inode only its number is kept: the rest is planned
/// anew when it is written, and comes out the same.
pub(super) struct Plan<'tree> {
    tree: &'tree Tree,
    shared: SharedAttributes,
    /// Inode numbers by [`NodeId::index`]; 0 is none.
    numbers: Vec<u32>,
    inodes: u32,
    has_holes: bool,
    /// The files and directories whose contents have whole blocks, in the order of these.
    with_blocks: Vec<WithBlocks>,
    meta_block: u32,
    data_block: u32,
    blocks: u32,
}

struct WithBlocks {
    id: NodeId,
    parent: NodeId,
    blocks: u32,
}

struct PlannedInode {
    id: NodeId,
    /// The directory it was first found in: for a directory, the one that `..` means.
    parent: NodeId,
    node: Node,
    position: u64,
    size: u64,
    data: Data,
    attributes: Vec<u8>,
}

impl<'tree> Plan<'tree> {
    pub(super) fn new(tree: &'tree Tree) -> Result<Self, TreeError> {
        let mut uses = AttributeUses::default();
        let mut seen = vec![false; tree.capacity()];
        for visit in tree.iter() {
            if !std::mem::replace(&mut seen[visit.id.index()], true) {
                uses.add(&tree.node(visit.id)?);
            }
        }
        drop(seen);
        let shared_position = superblock::OFFSET + superblock::SIZE;
        let shared = uses.shared(shared_position);
        let meta_block = block_after(shared_position + shared.bytes.len() as u64);
        let mut plan = Self {
            tree,
            shared,
            numbers: vec![0; tree.capacity()],
            inodes: 0,
            has_holes: false,
            with_blocks: Vec::new(),
            meta_block,
            data_block: 0,
            blocks: 0,
        };
        let (mut numbers, mut with_blocks) = (std::mem::take(&mut plan.numbers), Vec::new());
        let (mut has_holes, mut inodes) = (false, 0);
        let meta_position = u64::from(meta_block) * BLOCK;
        let (end, blocks) = plan.for_each_inode(0, |planned| {
            let number = (planned.position - meta_position) / SLOT;
            numbers[planned.id.index()] = u32::try_from(number).map_err(|_| too_large())?;
            has_holes |= matches!(planned.data, Data::Holes { .. });
            if let Data::Flat {
                blocks: blocks @ 1.., ..
            } = planned.data
            {
                with_blocks.push(WithBlocks {
                    id: planned.id,
                    parent: planned.parent,
                    blocks,
                });
            }
            inodes += 1;
            Ok(())
        })?;
        (plan.numbers, plan.with_blocks) = (numbers, with_blocks);
        (plan.has_holes, plan.inodes) = (has_holes, inodes);
        plan.data_block = block_after(end);
        plan.blocks = plan.data_block.checked_add(blocks).ok_or_else(too_large)?;
        Ok(plan)
    }

    /// Plans every inode in its turn; gives the end of the last, and the block after all that their contents take from
    /// `first_block` on.
    fn for_each_inode(
        &self,
        first_block: u32,
        mut each: impl FnMut(PlannedInode) -> Result<(), TreeError>,
    ) -> Result<(u64, u32), TreeError> {
        let mut end = u64::from(self.meta_block) * BLOCK + SLOT;
        let mut next_block = first_block;
        // A hard link is an inode under its first name only.
        let mut seen = vec![false; self.tree.capacity()];
        for visit in self.tree.iter() {
            if std::mem::replace(&mut seen[visit.id.index()], true) {
                continue;
            }
            let node = self.tree.node(visit.id)?;
            let attributes = self.shared.encode(&visit.path, &node)?;
            let size = self.content_size(visit.id, node.kind());
            let head = inode::SIZE + attributes.len() as u64;
            let (position, mut data) = place(end, head, node.kind(), size);
            end = position + head + bytes_behind(data);
            if let Data::Flat {
                first_block,
                blocks: blocks @ 1..,
                ..
            } = &mut data
            {
                *first_block = next_block;
                next_block = next_block.checked_add(*blocks).ok_or_else(too_large)?;
            }
            each(PlannedInode {
                id: visit.id,
                parent: visit.parent,
                node,
                position,
                size,
                data,
                attributes,
            })?;
        }
        Ok((end, next_block))
    }

    pub(super) fn write(&self, out: impl Write) -> Result<u64, TreeError> {
        let mut out = Positioned { out, position: 0 };
        let mut start = || {
            out.pad_to(superblock::OFFSET)?;
            out.write(&self.superblock().encode())?;
            out.write(&self.shared.bytes)
        };
        start().map_err(in_writing)?;
        let mut number = 0;
        self.for_each_inode(self.data_block, |planned| {
            number += 1;
            self.write_inode(&mut out, number, &planned).map_err(in_writing)
        })?;
        out.pad_to_block().map_err(in_writing)?;
        for with_blocks in &self.with_blocks {
            let node = self.tree.node(with_blocks.id)?;
            self.write_blocks(&mut out, with_blocks, node.kind())
                .map_err(in_writing)?;
        }
        out.out.flush().map_err(in_writing)?;
        Ok(out.position)
    }

    fn superblock(&self) -> Superblock {
        let root = self.numbers[Tree::ROOT.index()];
        Superblock {
            root: u16::try_from(root).expect("the root is the first inode, a block in at most"),
            inodes: u64::from(self.inodes),
            blocks: self.blocks,
            meta_block: self.meta_block,
            has_holes: self.has_holes,
        }
    }

    /// An inode, its attributes, and the tail of its content.
    fn write_inode(&self, out: &mut Positioned<impl Write>, number: u32, planned: &PlannedInode) -> io::Result<()> {
        let header = Header {
            number,
            kind: planned.node.kind(),
            metadata: planned.node.metadata(),
            links: self.tree.links(planned.id),
            size: planned.size,
            data: planned.data,
            attributes: planned.attributes.len(),
        };
        out.pad_to(planned.position)?;
        out.write(&header.encode())?;
        out.write(&planned.attributes)?;
        match planned.data {
            Data::Flat { blocks, tail: 1.., .. } => {
                self.for_each_block(planned.id, planned.parent, planned.node.kind(), |number, block| {
                    if number == blocks { out.write(block) } else { Ok(()) }
                })
            }
            // A hole is the address −1.
            Data::Holes { chunks, .. } => out.write(&vec![0xff; 4 * chunks as usize]),
            Data::Flat { .. } | Data::Special { .. } => Ok(()),
        }
    }

    /// The whole blocks of a content.
    fn write_blocks(&self, out: &mut Positioned<impl Write>, of: &WithBlocks, kind: &NodeKind) -> io::Result<()> {
        self.for_each_block(of.id, of.parent, kind, |number, block| {
            if number < of.blocks { out.write(block) } else { Ok(()) }
        })?;
        out.pad_to_block()
    }

    /// Gives out a content block by block, each with its number.
    fn for_each_block(
        &self,
        id: NodeId,
        parent: NodeId,
        kind: &NodeKind,
        mut each: impl FnMut(u32, &[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let content = match kind {
            NodeKind::File(Content::Inline(bytes)) | NodeKind::Symlink(bytes) => bytes,
            NodeKind::Directory => {
                let entries = self.with_dots(id, parent).map(|(name, id)| Dirent {
                    name,
                    inode: u64::from(self.numbers[id.index()]),
                    file_type: self.tree.file_type(id),
                });
                let mut number = 0;
                return for_each_block(entries, |block| {
                    number += 1;
                    each(number - 1, block)
                });
            }
            _ => return Ok(()),
        };
        let mut blocks = (0..).zip(content.chunks(BLOCK as usize));
        blocks.try_for_each(|(number, block)| each(number, block))
    }

    fn content_size(&self, id: NodeId, kind: &NodeKind) -> u64 {
        match kind {
            NodeKind::Directory => directory_size(self.with_dots(id, id).map(|(name, _)| name)),
            NodeKind::File(content) => content.size(),
            NodeKind::Symlink(target) => target.len() as u64,
            _ => 0,
        }
    }

    fn with_dots(&self, id: NodeId, parent: NodeId) -> WithDots<'tree> {
        WithDots {
            entries: self.tree.children(id).peekable(),
            dots: [(&b".."[..], parent), (b".", id)].to_vec(),
        }
    }
}

/// A directory's entries with `.` and `..` in their sorted place among them.
struct WithDots<'tree> {
    entries: Peekable<Children<'tree>>,
    /// Those to come, the next one last.
    dots: Vec<(&'static [u8], NodeId)>,
}

impl<'tree> Iterator for WithDots<'tree> {
    type Item = (&'tree [u8], NodeId);

    fn next(&mut self) -> Option<Self::Item> {
        let dot = self.dots.last().copied();
        let entry = self.entries.next_if(|(name, _)| dot.is_none_or(|(dot, _)| *name < dot));
        entry.or_else(|| self.dots.pop())
    }
}

fn in_writing(source: io::Error) -> TreeError {
    TreeError::Write { source }
}

/// Block addresses have 32 bits.
fn too_large() -> TreeError {
    in_writing(io::ErrorKind::FileTooLarge.into())
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
        NodeKind::Directory | NodeKind::File(_) | NodeKind::Symlink(_) => {
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
                    let size = match kind {
                        NodeKind::Symlink(target) => target.len() as u64,
                        _ => size as u64,
                    };
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
