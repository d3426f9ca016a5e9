//! Reading an archive whole and giving its image ID.

use std::fs::File;

use anyhow::Result;

use crate::{
    contest::{Contest, Contestant},
    images::Images,
    program::Program,
};

/// Reads a gzip archive and checks all of it, beside what gives the same digest and checks nothing.
pub fn read(images: &Images, rounds: usize) -> Result<String> {
    let archive = images.archive()?;
    let script = "gzip -dc < \"$1\" | sha512sum > /dev/null";
    let contest = Contest::new("read: the image ID of a gzip archive", rounds)
        .of_bytes(archive.metadata()?.len())
        .run(vec![
            Contestant::new("gzip -dc | sha512sum", || {
                Program::new("sh").args(["-c", script, "sh"]).args([&archive]).run()?;
                Ok(())
            }),
            Contestant::new("dhow_image::read_summary", || {
                dhow_image::read_summary(File::open(&archive)?)?;
                Ok(())
            }),
        ])?;
    Ok(contest.to_string())
}
