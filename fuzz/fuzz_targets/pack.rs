//! Any bytes as a pack are read or refused; what is read is what its name says.
#![no_main]

use std::{
    io::{self, Read},
    ops::Range,
    sync::Arc,
};

use dhow_store::{
    ObjectId,
    pack::{Backend, ContentRef, PackId, PackStore, Put, Secret, content_of},
};
use libfuzzer_sys::fuzz_target;

/// One pack, whatever its name.
struct One(Vec<u8>);

impl Backend for One {
    fn location(&self) -> &str {
        "memory"
    }

    fn size(&self, _: &PackId) -> io::Result<Option<u64>> {
        Ok(Some(self.0.len() as u64))
    }

    fn read(&self, _: &PackId, range: Range<u64>) -> io::Result<Option<Vec<u8>>> {
        let range = range.start as usize..range.end as usize;
        self.0.get(range).map(|bytes| Some(bytes.to_vec())).ok_or(io::ErrorKind::UnexpectedEof.into())
    }

    fn put(&self, _: &PackId, _: u64, _: &mut dyn Read) -> io::Result<Put> {
        Ok(Put::Known)
    }

    fn list(&self) -> io::Result<Vec<PackId>> {
        Ok(vec![])
    }

    fn delete(&self, _: &PackId) -> io::Result<bool> {
        Ok(false)
    }
}

fuzz_target!(|pack: &[u8]| {
    let id = PackId::from_bytes([0; 32]);
    let Ok(store) = PackStore::open(Arc::new(One(with_digest(pack))), [id]) else {
        return;
    };
    let index = &store.packs()[0];
    assert!(index.frames().all(|frame| index.range(frame).end <= index.size()));
    for name in index.names().take(64) {
        assert!(index.find(name).is_some());
        // The length is not told by the name: the one that fits, and some that do not.
        for length in [1, 5, 5000, 10_000, u64::MAX] {
            let digest = digest(name.as_bytes());
            let sealed = ContentRef {
                key: Some(Secret::from_bytes([1; 32]).key(&digest)),
                ..ContentRef::plain(digest, length)
            };
            assert!(store.get(&sealed, io::sink()).is_err());
            let content = ContentRef::plain(digest, length);
            let mut bytes = Vec::new();
            if store.get(&content, &mut bytes).is_ok() {
                assert_eq!(content_of(&bytes[..]).expect("memory can be read"), content);
            }
        }
    }
    store.verify(&id).expect_err("nothing has this digest");
});

/// The pack with the digest of its index in its tail, which no mutation finds.
fn with_digest(pack: &[u8]) -> Vec<u8> {
    let mut pack = pack.to_vec();
    let Some(tail) = pack.len().checked_sub(64) else { return pack };
    let number = |place: usize| u64::from(u32::from_le_bytes(*pack[tail + place..].first_chunk().expect("four bytes")));
    let Some(index) = (tail as u64).checked_sub(number(4) * 8 + number(12) * 36) else { return pack };
    let summed = (&pack[tail..tail + 16]).chain(&pack[index as usize..tail]);
    let digest = content_of(summed).expect("memory can be read").digest;
    pack[tail + 16..tail + 48].copy_from_slice(digest.as_bytes());
    pack
}

fn digest(name: &[u8; 32]) -> ObjectId {
    ObjectId::from_bytes(*name)
}
