//! Giving an image back.

use std::{
    fs::File,
    io::{self, Read},
};

use anyhow::{Result, ensure};
use dhow_image::with_tar;
use dhow_store::{Standing, Store};

use crate::{
    contest::{Contest, Contestant},
    images::Images,
    program::{Program, text},
};

/// Rebuilding an image's tar and comparing its digest, beside reading the tar as a file and taking its digest.
pub fn export(images: &Images, rounds: usize) -> Result<String> {
    let archive = images.archive()?;
    let tar = images.unpack(&archive)?;
    let size = tar.metadata()?.len();
    let store = Store::open(&images.path("exported"))?;
    let staged = store.stage(File::open(&archive)?)?;
    let id = staged.commit(&serde_json::Value::Null, Standing::Unverified)?;
    let (_, rebuilt, _) = with_tar(store.export(&id)?, |_| anyhow::Ok(()))?;
    ensure!(rebuilt == id, "the tar was rebuilt as `{rebuilt}`");

    let script = "cat < \"$1\" | sha512sum > /dev/null";
    let contest = Contest::new("export: an image's tar from a warm cache", rounds)
        .of_bytes(size)
        .run(vec![
            Contestant::new("cat | sha512sum", || {
                Program::new("sh").args(["-c", script, "sh", text(&tar)?]).run()?;
                Ok(())
            }),
            Contestant::new("Store::export, compared with the ID", || {
                io::copy(&mut store.export(&id)?, &mut io::sink())?;
                Ok(())
            }),
            Contestant::new("Store::export_range, 1 MiB each, compared", || {
                for start in (0..size).step_by(1 << 20) {
                    let mut part = Vec::with_capacity(1 << 20);
                    store
                        .export_range(&id, start..start + (1 << 20))?
                        .read_to_end(&mut part)?;
                }
                Ok(())
            }),
        ])?;
    Ok(contest.to_string())
}
