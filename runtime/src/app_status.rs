//! How an app ended.

use serde::{Deserialize, Serialize};

/// The end of an app's main program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AppStatus {
    /// It exited with this code.
    Code(i32),
    /// This signal killed it.
    Signal(i32),
}

impl AppStatus {
    /// The code as a shell reports it: 128 and the signal's number where a signal killed the app.
    pub(crate) fn code(self) -> u8 {
        let code = match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
        };
        // Both are within a byte by what the kernel reports (8 bits of code, signals up to 64).
        (code & 0xff) as u8
    }

    pub(crate) fn is_success(self) -> bool {
        self == Self::Code(0)
    }
}
