//! A file of signatures of any bytes is read or refused, and tells its issuers.
#![no_main]

use dhow_trust::Signature;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(signature) = Signature::parse(bytes) {
        assert!(!signature.issuers().is_empty());
    }
});
