//! Any bytes as the head of a recipe, or as what is sealed in one, are read or refused; what is read is written as it was.
#![no_main]

use dhow_image::ImageId;
use dhow_store::{
    ObjectId,
    delta::{DeltaHead, HeadRecipe, MAX_HEAD, SealedRecipe},
    pack::ContentRef,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(head) = DeltaHead::parse(bytes) {
        assert_eq!(head.to_bytes(), bytes);
        assert!(bytes.len() <= MAX_HEAD);
        assert!(head.packs.iter().all(|pack| pack.end < pack.size));
        let sum = head.packs.iter().try_fold(0_u64, |sum, pack| sum.checked_add(pack.size));
        assert!(sum.is_some() && !head.packs.is_empty());
        assert!(head.patch.is_none_or(|patch| patch.base != head.id && patch.size <= head.archive_size));
        assert!(!head.is_sealed() || head.patch.is_none());
    }
    // The image of which a sealed part tells is that of its head, which no mutation finds.
    let Some(id) = bytes.get(14..).and_then(<[u8]>::first_chunk) else { return };
    let head = DeltaHead {
        id: ImageId::from_bytes(*id),
        tar_size: 1 << 40,
        archive_sha512: [0; 64],
        archive_size: 1,
        recipe: HeadRecipe::Plain(ContentRef::plain(ObjectId::from_bytes([0; 32]), 1)),
        up: 0,
        packs: Vec::new(),
        patch: None,
    };
    if let Ok(sealed) = SealedRecipe::parse(bytes, &head) {
        assert_eq!(*sealed.to_bytes(), bytes);
        assert!(sealed.keys.length % 32 == 0 && sealed.chunker_seed != 0);
    }
});
