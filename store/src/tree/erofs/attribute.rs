use std::collections::BTreeMap;

use crate::ObjectId;
use crate::tree::error::TreeError;
use crate::tree::node::{Content, Node, NodeKind};
use crate::tree::path::shown;

/// The header before an inode's attributes.
const HEADER: usize = 12;
/// What an inode can count: 16 bits, the header as one, the rest in units of 4 bytes.
const INODE_LIMIT: usize = HEADER + 4 * (u16::MAX as usize - 1);
/// How many shared attributes an inode can refer to.
const SHARED_LIMIT: usize = u8::MAX as usize;

/// Name prefixes that the format replaces with a number.
const PREFIXES: [(&[u8], u8); 5] = [
    (b"user.", 1),
    (b"system.posix_acl_access", 2),
    (b"system.posix_acl_default", 3),
    (b"trusted.", 4),
    (b"security.", 6),
];

/// How much is remembered of attributes, in bytes, to find those that several files share. What is first met after that
/// is not shared.
const REMEMBERED: usize = 1 << 20;

/// An extended attribute, its name split as the format has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Attribute {
    prefix: u8,
    suffix: Vec<u8>,
    value: Vec<u8>,
}

impl Attribute {
    fn new(name: &[u8], value: Vec<u8>) -> Self {
        let (suffix, prefix) = PREFIXES
            .iter()
            .find_map(|(text, number)| Some((name.strip_prefix(*text)?, *number)))
            .expect("a tree refuses attributes without a known prefix");
        Self {
            prefix,
            suffix: suffix.to_vec(),
            value,
        }
    }

    /// All attributes of a file: its own, and for an object those that lead overlayfs to it.
    fn all_of(node: &Node) -> Vec<Self> {
        let own = node.metadata().xattrs.iter();
        let mut all: Vec<_> = own.map(|(name, value)| Self::new(name, value.clone())).collect();
        // An empty file needs no object.
        if let NodeKind::File(Content::Object { id, size: 1.. }) = node.kind() {
            all.push(Self::new(b"user.overlay.metacopy", Vec::new()));
            all.push(Self::new(b"user.overlay.redirect", redirect(id)));
        }
        all
    }

    /// Nearly every file has a redirect of its own, so that it is not worth a look whether another has the same.
    fn is_redirect(&self) -> bool {
        self.suffix == b"overlay.redirect"
    }

    fn encode_into(&self, bytes: &mut Vec<u8>) {
        let name_length = u8::try_from(self.suffix.len()).expect("a tree refuses names longer than 255 bytes");
        let value_size = u16::try_from(self.value.len()).expect("a tree refuses values longer than 65535 bytes");
        bytes.extend_from_slice(&[name_length, self.prefix]);
        bytes.extend_from_slice(&value_size.to_le_bytes());
        bytes.extend_from_slice(&self.suffix);
        bytes.extend_from_slice(&self.value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
}

/// An object's place in the data-only layer, as an absolute path: `/ab/cdef…`.
fn redirect(id: &ObjectId) -> Vec<u8> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut path = Vec::with_capacity(66);
    path.push(b'/');
    for (at, byte) in id.as_bytes().iter().enumerate() {
        path.push(DIGITS[usize::from(byte >> 4)]);
        path.push(DIGITS[usize::from(byte & 15)]);
        if at == 0 {
            path.push(b'/');
        }
    }
    path
}

/// The attributes that several inodes have, each stored once: in most trees that is `user.overlay.metacopy`.
pub(super) struct SharedAttributes {
    numbers: BTreeMap<Attribute, u32>,
    /// The area as it is on disk.
    pub(super) bytes: Vec<u8>,
}

/// Counts who has which attribute.
#[derive(Default)]
pub(super) struct AttributeUses {
    uses: BTreeMap<Attribute, u32>,
    remembered: usize,
}

impl AttributeUses {
    /// Notes the attributes of one more file.
    pub(super) fn add(&mut self, node: &Node) {
        for attribute in Attribute::all_of(node).into_iter().filter(|it| !it.is_redirect()) {
            let size = attribute.suffix.len() + attribute.value.len() + 100;
            match self.uses.get_mut(&attribute) {
                Some(uses) => *uses += 1,
                None if self.remembered + size > REMEMBERED => {}
                None => {
                    self.remembered += size;
                    self.uses.insert(attribute, 1);
                }
            }
        }
    }

    /// What is shared; the area will be at `position` in the image. An attribute's number is its position in units of 4
    /// bytes.
    pub(super) fn shared(self, position: u64) -> SharedAttributes {
        let mut bytes = Vec::new();
        let mut numbers = BTreeMap::new();
        for (attribute, _) in self.uses.into_iter().filter(|(_, uses)| *uses > 1) {
            let number = (position + bytes.len() as u64) / 4;
            let number = u32::try_from(number).expect("what is remembered is far below 16 GiB");
            attribute.encode_into(&mut bytes);
            numbers.insert(attribute, number);
        }
        SharedAttributes { numbers, bytes }
    }
}

impl SharedAttributes {
    /// The attributes of one file as they follow its inode: nothing, or a header, the numbers of shared ones, and the
    /// others whole.
    pub(super) fn encode(&self, path: &[u8], node: &Node) -> Result<Vec<u8>, TreeError> {
        let attributes = Attribute::all_of(node);
        if attributes.is_empty() {
            return Ok(Vec::new());
        }
        let mut numbers = Vec::new();
        let mut inline = Vec::new();
        for attribute in &attributes {
            match self.numbers.get(attribute) {
                Some(number) if numbers.len() < SHARED_LIMIT => numbers.push(*number),
                _ => attribute.encode_into(&mut inline),
            }
        }
        let mut bytes = vec![0; HEADER];
        bytes[4] = u8::try_from(numbers.len()).expect("no more than the limit were taken");
        bytes.extend(numbers.into_iter().flat_map(u32::to_le_bytes));
        bytes.extend(inline);
        if bytes.len() > INODE_LIMIT {
            let largest = node.metadata().xattrs.iter().max_by_key(|(_, value)| value.len());
            return Err(TreeError::Xattr {
                path: shown(path),
                name: largest.map_or_else(String::new, |(name, _)| shown(name)),
                reason: "the attributes of a file exceed 256 KiB",
            });
        }
        Ok(bytes)
    }
}
