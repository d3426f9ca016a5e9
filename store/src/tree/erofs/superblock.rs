/// Where the superblock starts; the space before it is left to boot sectors.
pub(super) const OFFSET: u64 = 1024;
/// Its size without extension slots.
pub(super) const SIZE: u64 = 128;

const MAGIC: u32 = 0xe0f5_e1e2;
/// Inode times are modification times. (Compatible feature.)
const COMPAT_MTIME: u32 = 0x2;
/// Some inodes are chunk-based. (Incompatible feature.)
const INCOMPAT_CHUNKED_FILE: u32 = 0x4;

/// What the kernel reads first.
pub(super) struct Superblock {
    /// The root directory's inode number.
    pub(super) root: u16,
    /// How many inodes there are.
    pub(super) inodes: u64,
    /// How many blocks the image has.
    pub(super) blocks: u32,
    /// The block that inode numbers count from.
    pub(super) meta_block: u32,
    /// Whether a file has holes.
    pub(super) has_holes: bool,
}

impl Superblock {
    /// The superblock as it is on disk. Build time and UUID are zero, so that equal trees give equal images; attributes
    /// count from block 0.
    pub(super) fn encode(&self) -> [u8; SIZE as usize] {
        let incompatible = if self.has_holes { INCOMPAT_CHUNKED_FILE } else { 0 };
        let mut bytes = [0; SIZE as usize];
        let mut put = |offset: usize, field: &[u8]| bytes[offset..offset + field.len()].copy_from_slice(field);
        put(0, &MAGIC.to_le_bytes());
        put(8, &COMPAT_MTIME.to_le_bytes());
        put(12, &[12]); // log2 of the block size
        put(14, &self.root.to_le_bytes());
        put(16, &self.inodes.to_le_bytes());
        put(36, &self.blocks.to_le_bytes());
        put(40, &self.meta_block.to_le_bytes());
        put(64, b"dhow");
        put(80, &incompatible.to_le_bytes());
        bytes
    }
}
