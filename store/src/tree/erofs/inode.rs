use crate::tree::node::{Metadata, NodeKind};

/// The size of an inode, without attributes and content. All are of the extended form: the compact one has no time.
pub(super) const SIZE: u64 = 64;
/// Inodes start at multiples of this, and their numbers count in it.
pub(super) const SLOT: u64 = 32;

const EXTENDED: u16 = 1;
const LAYOUT_SHIFT: u16 = 1;
const FLAT_PLAIN: u16 = 0;
const FLAT_INLINE: u16 = 2;
const CHUNK_BASED: u16 = 4;

/// The smallest and the largest chunk that the format can say, as powers of two.
const CHUNK_BITS: (u32, u32) = (12, 12 + 31);

/// Where an inode's content is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Data {
    /// A file without content: a device (its encoded number), a pipe, a socket.
    Special { device: u32 },
    /// Whole blocks, and the rest (if `tail` is not zero) behind the inode.
    Flat { first_block: u32, blocks: u32, tail: u32 },
    /// Nowhere: chunks of this size, each a hole.
    Holes { chunk_bits: u32, chunks: u32 },
}

impl Data {
    /// Holes over `size` bytes, in as few chunks as the format allows: one, up to 8 TiB.
    pub(super) fn holes(size: u64) -> Self {
        let enough = u64::BITS - size.saturating_sub(1).leading_zeros();
        let chunk_bits = enough.clamp(CHUNK_BITS.0, CHUNK_BITS.1);
        let chunks = u32::try_from(size.div_ceil(1 << chunk_bits)).expect("2^63 bytes are 2^20 chunks");
        Self::Holes { chunk_bits, chunks }
    }

    fn layout(&self) -> u16 {
        match self {
            Self::Flat { tail: 1.., .. } => FLAT_INLINE,
            Self::Flat { .. } | Self::Special { .. } => FLAT_PLAIN,
            Self::Holes { .. } => CHUNK_BASED,
        }
    }

    /// The field whose meaning depends on the layout.
    fn field(&self) -> u32 {
        match self {
            Self::Special { device } => *device,
            Self::Flat { first_block, .. } => *first_block,
            Self::Holes { chunk_bits, .. } => chunk_bits - CHUNK_BITS.0,
        }
    }
}

/// An inode's fixed part.
pub(super) struct Header<'tree> {
    /// The number that `stat` shows on 32-bit kernels.
    pub(super) number: u32,
    pub(super) kind: &'tree NodeKind,
    pub(super) metadata: &'tree Metadata,
    pub(super) links: u32,
    pub(super) size: u64,
    pub(super) data: Data,
    /// How many bytes of attributes follow.
    pub(super) attributes: usize,
}

impl Header<'_> {
    pub(super) fn encode(&self) -> [u8; SIZE as usize] {
        let format = EXTENDED | self.data.layout() << LAYOUT_SHIFT;
        // The attribute header of 12 bytes counts as one, the rest in units of 4 bytes.
        let attribute_count = match self.attributes {
            0 => 0,
            bytes => u16::try_from((bytes - 12) / 4 + 1).expect("attributes were measured when they were encoded"),
        };
        let mode = type_bits(self.kind) | self.metadata.mode;
        let mut bytes = [0; SIZE as usize];
        let mut put = |offset: usize, field: &[u8]| bytes[offset..offset + field.len()].copy_from_slice(field);
        put(0, &format.to_le_bytes());
        put(2, &attribute_count.to_le_bytes());
        put(4, &mode.to_le_bytes());
        put(8, &self.size.to_le_bytes());
        put(16, &self.data.field().to_le_bytes());
        put(20, &self.number.to_le_bytes());
        put(24, &self.metadata.uid.to_le_bytes());
        put(28, &self.metadata.gid.to_le_bytes());
        put(32, &self.metadata.mtime_seconds.to_le_bytes());
        put(40, &self.metadata.mtime_nanoseconds.to_le_bytes());
        put(44, &self.links.to_le_bytes());
        bytes
    }
}

fn type_bits(kind: &NodeKind) -> u16 {
    match kind {
        NodeKind::Fifo => 0o010_000,
        NodeKind::CharDevice { .. } => 0o020_000,
        NodeKind::Directory => 0o040_000,
        NodeKind::BlockDevice { .. } => 0o060_000,
        NodeKind::File(_) => 0o100_000,
        NodeKind::Symlink(_) => 0o120_000,
        NodeKind::Socket => 0o140_000,
    }
}

/// A device number in the kernel's 32-bit form: 8 bits of the minor, 12 of the major, 12 more of the minor.
pub(super) fn encode_device(major: u32, minor: u32) -> u32 {
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_cover_the_size_with_few_chunks() {
        let holes = |chunk_bits, chunks| Data::Holes { chunk_bits, chunks };
        assert_eq!(Data::holes(1), holes(12, 1));
        assert_eq!(Data::holes(4096), holes(12, 1));
        assert_eq!(Data::holes(4097), holes(13, 1));
        assert_eq!(Data::holes((1 << 32) + 1), holes(33, 1));
        assert_eq!(Data::holes(1 << 43), holes(43, 1));
        assert_eq!(Data::holes((1 << 43) + 1), holes(43, 2));
        assert_eq!(Data::holes(i64::MAX as u64), holes(43, 1 << 20));
    }

    #[test]
    fn devices_are_encoded_as_the_kernel_does() {
        assert_eq!(encode_device(8, 1), 0x801);
        assert_eq!(encode_device(0xfff, 0xfffff), u32::MAX);
        assert_eq!(encode_device(1, 0x12345), 0x1230_0145);
    }
}
