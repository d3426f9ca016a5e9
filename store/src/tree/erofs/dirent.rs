use super::BLOCK;

/// The fixed part of a directory entry.
const SIZE: usize = 12;

/// One entry of a directory: a name, the number of its inode, and what that is.
pub(super) struct Dirent<'tree> {
    pub(super) name: &'tree [u8],
    pub(super) inode: u64,
    pub(super) file_type: u8,
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

/// Gives out a directory's content block by block. Each stands alone: its entries' fixed parts, then their names in the
/// same order, then zeros (except in the last). Entries are sorted by the bytes of their names, for the kernel searches by
/// halves: first the block, then the entry in it.
pub(super) fn for_each_block<'name, E>(
    entries: impl Iterator<Item = Dirent<'name>>,
    mut each: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut in_block = Vec::new();
    let mut used = 0;
    for entry in entries {
        let size = SIZE + entry.name.len();
        if used + size > BLOCK as usize {
            let mut block = encode_block(&in_block);
            block.resize(BLOCK as usize, 0);
            each(&block)?;
            in_block.clear();
            used = 0;
        }
        used += size;
        in_block.push(entry);
    }
    match in_block.is_empty() {
        true => Ok(()),
        false => each(&encode_block(&in_block)),
    }
}

fn encode_block(block: &[Dirent<'_>]) -> Vec<u8> {
    let mut content = Vec::new();
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
    content
}
