use super::BLOCK;
use crate::tree::node::NodeKind;

/// The fixed part of a directory entry.
const SIZE: usize = 12;

/// One entry of a directory: a name, the number of its inode, and what that is.
pub(super) struct Dirent<'tree> {
    pub(super) name: &'tree [u8],
    pub(super) inode: u64,
    pub(super) file_type: u8,
}

/// The file types of directory entries.
pub(super) fn file_type(kind: &NodeKind) -> u8 {
    match kind {
        NodeKind::File(_) => 1,
        NodeKind::Directory(_) => 2,
        NodeKind::CharDevice { .. } => 3,
        NodeKind::BlockDevice { .. } => 4,
        NodeKind::Fifo => 5,
        NodeKind::Socket => 6,
        NodeKind::Symlink(_) => 7,
    }
}

/// How many bytes a directory takes that has these names, `.` and `..` among them, sorted.
pub(super) fn directory_size<'name>(names: impl Iterator<Item = &'name [u8]>) -> u64 {
    let mut whole_blocks = 0;
    let mut in_block = 0;
    for name in names {
        let entry = SIZE + name.len();
        if in_block + entry > BLOCK as usize {
            whole_blocks += 1;
            in_block = 0;
        }
        in_block += entry;
    }
    whole_blocks * BLOCK + in_block as u64
}

/// A directory's content. Each block stands alone: its entries' fixed parts, then their names in the same order, then
/// zeros (except in the last). Entries are sorted by the bytes of their names, for the kernel searches by halves: first
/// the block, then the entry in it.
pub(super) fn encode_directory(entries: &[Dirent<'_>]) -> Vec<u8> {
    let mut content = Vec::new();
    let mut rest = entries;
    while !rest.is_empty() {
        content.resize(content.len().next_multiple_of(BLOCK as usize), 0);
        let (block, after) = rest.split_at(entries_in_block(rest));
        let mut name_offset = block.len() * SIZE;
        for entry in block {
            let offset = u16::try_from(name_offset).expect("an offset in a block is below 4096");
            content.extend_from_slice(&entry.inode.to_le_bytes());
            content.extend_from_slice(&offset.to_le_bytes());
            content.extend_from_slice(&[entry.file_type, 0]);
            name_offset += entry.name.len();
        }
        for entry in block {
            content.extend_from_slice(entry.name);
        }
        rest = after;
    }
    content
}

fn entries_in_block(entries: &[Dirent<'_>]) -> usize {
    let mut used = 0;
    entries
        .iter()
        .take_while(|entry| {
            used += SIZE + entry.name.len();
            used <= BLOCK as usize
        })
        .count()
}
