# What the machine checks; `.ci/run` does the same and then runs the tests.
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked
    cargo deny --locked check bans licenses sources

# Installs what the tests need, and runs every one of them.
test *ARGS:
    tests/run {{ARGS}}

# Kills programs at work on a store, KILLS times (1,000), and checks after each kill that nothing is lost.
soak *ARGS:
    cargo build --workspace --bins
    target/debug/soak {{ARGS}}

# Measures dhow beside its peers, on a disk and in memory. Needs skopeo, umoci and ostree, and what `tests/run` has left.
bench *ARGS:
    cargo build --release --locked -p dhow -p dhow-bench
    target/release/dhow-bench {{ARGS}}

# Feeds each parser what nobody thought of, `FUZZ_SECONDS` (300) long each. Needs `cargo install cargo-fuzz`.
fuzz *TARGETS:
    fuzz/run {{TARGETS}}

# Writes the book to target/book.
book:
    mdbook build docs
