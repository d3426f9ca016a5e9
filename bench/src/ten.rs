//! Ten related images on one disk.

use anyhow::Result;
use dhow_store::{Standing, Store};

use crate::{
    images::{Change, Images},
    program::{Program, text},
    usage::Usage,
};

/// Bytes and files of ten images, each of which has 5 % of its files for itself, beside an `ostree` bare repository of
/// the same trees.
pub fn ten(images: &Images, change: Change) -> Result<String> {
    let repository = images.path("ostree");
    let repository_option = format!("--repo={}", text(&repository)?);
    let ostree = |arguments: &[&str]| Program::new("ostree").args([&repository_option]).args(arguments).run();
    ostree(&["init", "--mode=bare"])?;
    let store = Store::open(&images.path("ten"))?;
    let mut report = String::from("ten: related images on disk\n");
    for number in 0..10 {
        let (rootfs, _) = images.variant(number, change)?;
        ostree(&[
            "commit",
            "--branch",
            &format!("image-{number}"),
            &format!("--tree=dir={}", text(&rootfs)?),
        ])?;
        let archive = images.pack(&rootfs, &format!("image-{number}"))?;
        let staged = store.stage(std::fs::File::open(&archive)?)?;
        let id = staged.commit(&serde_json::Value::Null, Standing::Unverified)?;
        store.rootfs(&id)?;
        std::fs::remove_dir_all(&rootfs)?;
        std::fs::remove_file(&archive)?;
        if number == 0 || number == 9 {
            report += &compare(number + 1, &repository, store.root())?;
        }
    }
    Ok(report)
}

fn compare(count: u8, ostree: &std::path::Path, store: &std::path::Path) -> Result<String> {
    nix::unistd::syncfs(std::fs::File::open(store)?)?;
    let (peer, ours, trees) = (Usage::of(ostree)?, Usage::of(store)?, Usage::of(&store.join("trees"))?);
    let ratio = |ours: u64, peer: u64| ours as f64 / peer as f64;
    let line = |name: &str, usage: Usage| {
        let (bytes, files) = (ratio(usage.bytes, peer.bytes), ratio(usage.files, peer.files));
        format!("  {name:<32} {usage}  {bytes:>6.3} x bytes, {files:>6.3} x files\n")
    };
    let without = Usage {
        bytes: ours.bytes - trees.bytes,
        files: ours.files - trees.files,
    };
    Ok(line(&format!("{count} in an ostree bare repository"), peer)
        + &line(&format!("{count} in dhow's store"), ours)
        + &line("  without rendered trees", without))
}
