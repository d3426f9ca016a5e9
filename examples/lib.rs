//! Runnable examples of dhow.
