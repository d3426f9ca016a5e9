//! What a store goes through: crowds, kills, power cuts, full disks and failing ones.

use std::{
    fs,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use dhow_tests::{Disk, Outcome, Workload, World, soak};

const INSECURE: &str = "--insecure-options=image";

/// Starts a program that tells nobody what it does.
fn start(world: &World, arguments: &[&str]) -> Child {
    let mut command = world.dhow_command(arguments);
    let quiet = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    quiet.spawn().unwrap()
}

/// What a directory takes on the disk.
fn kilobytes(path: &std::path::Path) -> u64 {
    let used = Outcome::of(Command::new("du").arg("-sk").arg(path)).success();
    used.split_whitespace().next().unwrap().parse().unwrap()
}

fn objects(world: &World) -> usize {
    let fans = fs::read_dir(world.path("data/objects")).unwrap();
    fans.map(|fan| fs::read_dir(fan.unwrap().path()).unwrap().count()).sum()
}

#[test]
fn sixty_four_programs_fetch_at_once_while_objects_are_collected() {
    let world = World::new();
    let workload = Workload::new(&world, 8, 64);
    let mut fetches: Vec<Child> = (0..64)
        .map(|number| start(&world, &[INSECURE, "fetch", &workload.subjects[number % 8].archive]))
        .collect();
    let mut collections = 0;
    let mut failures = Vec::new();
    while !fetches.is_empty() {
        world.dhow(&["store", "gc", "--grace", "0", "--wait", "300s"]).success();
        collections += 1;
        fetches.retain_mut(|fetch| match fetch.try_wait().unwrap() {
            None => true,
            Some(status) => {
                if !status.success() {
                    let mut told = String::new();
                    let mut stderr = fetch.stderr.take().unwrap();
                    std::io::Read::read_to_string(&mut stderr, &mut told).unwrap();
                    failures.push(told);
                }
                false
            }
        });
    }
    assert!(failures.is_empty(), "{failures:#?}");
    assert!(collections > 1, "nothing was collected meanwhile");
    assert_eq!(world.images().lines().count(), 9, "a heading, and the images");
    assert_eq!(
        objects(&world),
        workload.contents,
        "each content once, and nothing else"
    );
    world.dhow(&["store", "fsck"]).success();
}

#[test]
fn kills_lose_nothing() {
    let world = World::new();
    let seed = 20_141_201;
    let workload = Workload::new(&world, 6, seed);
    let report = soak(&world, &workload, 20, seed).unwrap();
    assert_eq!(report.programs.values().map(|(_, killed)| killed).sum::<u32>(), 20);
}

/// Cuts the power while images come and go: after each cut the store is whole and has every image that was reported
/// as stored.
fn power_cuts(kind: &str, megabytes: u64, cuts: u32, seed: u64) {
    Disk::privacy();
    let world = World::new();
    let workload = Workload::new(&world, 6, seed);
    let mut random = fastrand::Rng::with_seed(seed);
    let disk = Disk::new(&world.path("disk"), kind, megabytes, &world.path("data"));
    let mut stored = vec![false; workload.subjects.len()];
    let mut interrupted = 0;
    for cut in 0..cuts {
        // The order in which images change; each is changed once, by one program.
        let mut order: Vec<usize> = (0..workload.subjects.len()).collect();
        random.shuffle(&mut order);
        let end = Instant::now() + Duration::from_millis(random.u64(50..900));
        let mut programs: Vec<(usize, bool, Child)> = Vec::new();
        let mut finish = |programs: &mut Vec<(usize, bool, Child)>| {
            programs.retain_mut(|(index, is_fetch, child)| match child.try_wait().unwrap() {
                Some(status) if status.success() => {
                    stored[*index] = *is_fetch;
                    false
                }
                Some(_) => false,
                None => true,
            });
        };
        while Instant::now() < end {
            finish(&mut programs);
            // On a fast machine the power goes before the last of them are done.
            if order.is_empty() && programs.len() < 3 {
                break;
            }
            if programs.len() < 3
                && let Some(index) = order.pop()
            {
                let subject = &workload.subjects[index];
                let is_fetch = random.u32(0..4) > 0;
                let child = match is_fetch {
                    true => start(&world, &[INSECURE, "fetch", &subject.archive]),
                    false => start(&world, &["image", "rm", &subject.id]),
                };
                programs.push((index, is_fetch, child));
            }
            sleep(Duration::from_millis(2));
        }
        finish(&mut programs);
        disk.cut_power();
        interrupted += programs.len();
        let mut changing = Vec::new();
        for (index, _, mut child) in programs {
            child.kill().unwrap();
            child.wait().unwrap();
            changing.push(index);
        }
        disk.unmount();
        disk.mount();
        // Half of the time nothing is looked at, so that what a cut has left meets the next one.
        if cut % 2 == 1 || cut + 1 == cuts {
            world.dhow(&["store", "fsck"]).success();
        }
        let images = world.images();
        for (index, subject) in workload.subjects.iter().enumerate() {
            if changing.contains(&index) {
                stored[index] = images.contains(&subject.id);
            }
            assert!(
                !stored[index] || images.contains(&subject.id),
                "{kind}: cut {cut} has lost `{}`",
                subject.id
            );
        }
    }
    assert!(interrupted > 0, "no program was at work when the power was cut");
    for subject in &workload.subjects {
        world.dhow(&[INSECURE, "fetch", &subject.archive]).success();
    }
    world.dhow(&["store", "gc", "--grace", "0"]).success();
    world.dhow(&["store", "fsck"]).success();
    assert_eq!(objects(&world), workload.contents);
    disk.unmount();
}

#[test]
fn power_cuts_lose_nothing_on_ext4() {
    power_cuts("ext4", 128, 10, 4);
}

#[test]
fn power_cuts_lose_nothing_on_xfs() {
    power_cuts("xfs", 320, 10, 5);
}

#[test]
fn a_full_disk_leaves_the_store_as_it_was() {
    Disk::privacy();
    let world = World::new();
    let workload = Workload::new(&world, 4, 9);
    let data = world.path("data");
    fs::create_dir_all(&data).unwrap();
    let room = |kilobytes: u64, how: &str| {
        let mut mount = Command::new("mount");
        let options = format!("{how}size={kilobytes}k");
        mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&data);
        Outcome::of(&mut mount).success();
    };
    room(64 << 10, "");
    let (first, second) = (&workload.subjects[0], &workload.subjects[1]);
    world.dhow(&[INSECURE, "fetch", &first.archive]).success();
    let before = world.images();
    let used = kilobytes(&data);

    // With a little more room each time, it is full a little later.
    let mut refused = 0;
    loop {
        room(used + refused * 64, "remount,");
        let fetch = world.dhow(&[INSECURE, "fetch", &second.archive]);
        if fetch.code == 0 {
            break;
        }
        refused += 1;
        let fetch = fetch.exited(1);
        assert!(
            fetch.stderr.contains("No space left on device") || fetch.stderr.contains("disk is full"),
            "{}",
            fetch.stderr
        );
        assert!(
            fetch.stderr.contains("the store"),
            "it does not say where: {}",
            fetch.stderr
        );
        assert_eq!(world.images(), before);
        world.dhow(&["store", "fsck"]).success();
    }
    assert!(refused > 5, "the disk was hardly ever full");
    assert!(world.images().contains(&first.id));
    world.dhow(&["store", "fsck"]).success();

    // Not a byte is left: room can be made all the same.
    let filler = world.path("data/filler");
    let mut full = fs::File::create(&filler).unwrap();
    while std::io::Write::write_all(&mut full, &[0; 4096]).is_ok() {}
    world.dhow(&["image", "rm", &first.id]).success();
    world.dhow(&["store", "gc", "--grace", "0"]).success();
    drop(full);
    fs::remove_file(filler).unwrap();
    world.dhow(&["store", "fsck"]).success();
    world
        .dhow(&[INSECURE, "fetch", &workload.subjects[1].archive])
        .success();
    Outcome::of(Command::new("umount").arg(&data)).success();
}

#[test]
fn a_failing_disk_loses_nothing_that_was_stored() {
    Disk::privacy();
    let world = World::new();
    let workload = Workload::new(&world, 10, 11);
    let disk = Disk::new(&world.path("disk"), "ext4", 64, &world.path("data"));
    let mut stored: Vec<&str> = Vec::new();
    let mut told = Vec::new();
    for (number, subject) in workload.subjects.iter().enumerate() {
        // First all is well; then the disk has bad sectors, each time from another place on.
        disk.fail_beyond(match number {
            0 => 0,
            _ => (14 - number as u64) << 20,
        });
        let fetch = world.dhow(&[INSECURE, "fetch", &subject.archive]);
        match fetch.code {
            0 => stored.push(&subject.id),
            code => {
                assert_eq!(code, 1, "{}", fetch.stderr);
                told.push(fetch.stderr);
            }
        }
        // The disk is well again.
        disk.fail_beyond(0);
        disk.unmount();
        disk.mount();
        world.dhow(&["store", "fsck"]).success();
        let images = world.images();
        for id in &stored {
            assert!(images.contains(id), "`{id}` is lost after {told:#?}");
        }
    }
    assert!(told.len() > 2, "the disk hardly ever failed: {told:#?}");
    let is_failure = |text: &String| text.contains("Input/output error") || text.contains("Read-only file system");
    assert!(told.iter().any(is_failure), "{told:#?}");
    for subject in &workload.subjects {
        world.dhow(&[INSECURE, "fetch", &subject.archive]).success();
    }
    world.dhow(&["store", "fsck"]).success();
    disk.unmount();
}
