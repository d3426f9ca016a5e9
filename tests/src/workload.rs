//! [`Workload`]: images that share most of their files.

use std::fs;

use crate::World;

/// Archives in a world, with the images that they hold.
pub struct Workload {
    /// The images.
    pub subjects: Vec<Subject>,
    /// How many different contents all of them have together.
    pub contents: usize,
}

/// One of the images.
pub struct Subject {
    /// Its archive.
    pub archive: String,
    /// Its ID.
    pub id: String,
}

/// How many contents there are to choose from, and how many of them are in one image.
const POOL: usize = 60;
const CHOSEN: usize = 36;

impl Workload {
    /// Builds images of files of some kilobytes, each with most of its files in common with every other. The same
    /// seed gives the same images.
    pub fn new(world: &World, images: usize, seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let pool: Vec<Vec<u8>> = (0..POOL)
            .map(|_| {
                let size = random.usize(2_000..40_000);
                let mut content = vec![0; size];
                random.fill(&mut content);
                content
            })
            .collect();
        let mut used = [false; POOL];
        let subjects = (0..images).map(|number| {
            let rootfs = world.path(&format!("workload-{number}"));
            fs::create_dir_all(rootfs.join("bin")).expect("the world can be written");
            for index in random.choose_multiple(0..POOL, CHOSEN) {
                used[index] = true;
                fs::write(rootfs.join(format!("bin/{index}")), &pool[index]).expect("the world can be written");
            }
            let archive = world.arg(&format!("workload-{number}.aci"));
            let name = format!("example.com/workload-{number}");
            let rootfs = rootfs.display().to_string();
            let build = [
                "build", "--rootfs", &rootfs, "--name", &name, "--exec", "/bin/0", "-o", &archive,
            ];
            let id = world.dhow(&build).success().trim().to_owned();
            Subject { archive, id }
        });
        let subjects = subjects.collect();
        Self {
            subjects,
            contents: used.iter().filter(|used| **used).count(),
        }
    }
}
