//! [`soak`]: programs that fetch, remove, collect, render and export at one store, killed at random.

use std::{
    collections::BTreeMap,
    fmt,
    fs::{self, File},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, sleep},
    time::{Duration, Instant},
};

use fastrand::Rng;

use crate::{Workload, World, programs};

/// How many programs run at once.
const WORKERS: usize = 4;
/// No program takes longer, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// What was done.
#[derive(Clone, Debug, Default)]
pub struct SoakReport {
    /// For each kind of program how many ended by themselves, and how many were killed.
    pub programs: BTreeMap<&'static str, (u32, u32)>,
    /// How long it took.
    pub took: Duration,
}

impl fmt::Display for SoakReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let killed: u32 = self.programs.values().map(|(_, killed)| killed).sum();
        write!(f, "{killed} kills in {:.0?}, the store whole after each:", self.took)?;
        for (kind, (ended, killed)) in &self.programs {
            write!(f, " {kind} {ended} ended, {killed} killed;")?;
        }
        Ok(())
    }
}

/// What is known of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Absent,
    /// It was reported as stored.
    Present,
    /// Whoever changed that was killed.
    Unknown,
    /// Somebody is about to change it.
    Changing,
}

/// An image with the number of changes that it has seen.
type State = (Known, u64);

struct Soak<'a> {
    world: &'a World,
    workload: &'a Workload,
    states: Mutex<Vec<State>>,
    slots: Vec<Mutex<Option<Running>>>,
    report: Mutex<SoakReport>,
    failure: Mutex<Option<String>>,
    stop: AtomicBool,
}

/// A program under way.
struct Running {
    child: Child,
    kind: &'static str,
    is_killed: bool,
}

/// How a program ended.
struct Ended {
    status: ExitStatus,
    is_killed: bool,
    stderr: String,
}

/// Runs four programs at a time on the world's store, and kills one of them `kills` times. After each kill the store
/// must be whole, as `dhow store fsck` sees it while the others go on, and must have every image that was reported as
/// stored and not removed since.
///
/// The seed decides what is run and what is killed; how fast it runs is the machine's, so that two runs differ.
pub fn soak(world: &World, workload: &Workload, kills: u32, seed: u64) -> Result<SoakReport, String> {
    let soak = Soak {
        world,
        workload,
        states: Mutex::new(vec![(Known::Absent, 0); workload.subjects.len()]),
        slots: (0..WORKERS).map(|_| Mutex::new(None)).collect(),
        report: Mutex::default(),
        failure: Mutex::new(None),
        stop: AtomicBool::new(false),
    };
    let begin = Instant::now();
    let mut random = Rng::with_seed(seed);
    thread::scope(|scope| {
        for worker in 0..WORKERS {
            let (soak, random) = (&soak, Rng::with_seed(random.u64(..)));
            scope.spawn(move || soak.work(worker, random));
        }
        soak.kill(kills, &mut random);
        soak.stop.store(true, Ordering::SeqCst);
    });
    if let Some(failure) = soak.failure.into_inner().expect("no thread panicked") {
        return Err(format!("with the seed {seed}: {failure}"));
    }
    let mut report = soak.report.into_inner().expect("no thread panicked");
    report.took = begin.elapsed();
    Ok(report)
}

impl Soak<'_> {
    fn kill(&self, kills: u32, random: &mut Rng) {
        let mut done = 0;
        let mut last = Instant::now();
        while done < kills && !self.is_over() {
            sleep(Duration::from_millis(random.u64(0..120)));
            let slot = &self.slots[random.usize(0..WORKERS)];
            {
                let mut slot = slot.lock().expect("no thread panicked");
                let Some(running) = slot.as_mut().filter(|running| !running.is_killed) else {
                    if last.elapsed() > PATIENCE {
                        self.fail("nothing was left to be killed".to_owned());
                    }
                    continue;
                };
                // It may have ended by itself a moment ago.
                if !matches!(running.child.try_wait(), Ok(None)) || running.child.kill().is_err() {
                    continue;
                }
                running.is_killed = true;
            }
            (done, last) = (done + 1, Instant::now());
            if let Err(problem) = self.check() {
                self.fail(format!("after kill {done}: {problem}"));
            }
        }
    }

    /// The store is whole, and nothing that was stored is lost.
    fn check(&self) -> Result<(), String> {
        let before = self.states();
        let fsck = self.world.dhow(&["store", "fsck"]);
        if fsck.code != 0 {
            return Err(format!(
                "`dhow store fsck` exited with {}:\n{}{}",
                fsck.code, fsck.stdout, fsck.stderr
            ));
        }
        let list = self.world.dhow(&["image", "list", "--full"]);
        if list.code != 0 {
            return Err(format!("`dhow image list` exited with {}:\n{}", list.code, list.stderr));
        }
        for ((subject, before), after) in self.workload.subjects.iter().zip(before).zip(self.states()) {
            if before == after && before.0 == Known::Present && !list.stdout.contains(&subject.id) {
                return Err(format!("the image `{}` is lost", subject.id));
            }
        }
        Ok(())
    }

    fn work(&self, worker: usize, mut random: Rng) {
        while !self.is_over() {
            let done = match random.u32(0..10) {
                0..4 => self.change(worker, &mut random, "fetch"),
                4 | 5 => self.change(worker, &mut random, "rm"),
                6 => self.collect(worker),
                7 | 8 => self.render(worker, &mut random),
                _ => self.export(worker, &mut random),
            };
            if let Err(problem) = done {
                self.fail(problem);
            }
        }
    }

    /// Fetches or removes an image that nobody else changes.
    fn change(&self, worker: usize, random: &mut Rng, kind: &'static str) -> Result<(), String> {
        let index = random.usize(0..self.workload.subjects.len());
        let before = {
            let mut states = self.states.lock().expect("no thread panicked");
            if states[index].0 == Known::Changing {
                return Ok(());
            }
            let changing = (Known::Changing, states[index].1 + 1);
            std::mem::replace(&mut states[index], changing).0
        };
        let subject = &self.workload.subjects[index];
        let arguments = match kind {
            "fetch" => ["--insecure-options=image", "fetch", &subject.archive],
            _ => ["image", "rm", &subject.id],
        };
        let ended = self.run(worker, kind, self.world.dhow_command(&arguments))?;
        let is_needed = ended.stderr.contains("is needed by pod");
        let after = match (kind, ended.status.code()) {
            ("fetch", Some(0)) => Known::Present,
            ("rm", Some(0)) => Known::Absent,
            // There was nothing to be removed, or a pod needs it.
            ("rm", Some(3)) if before != Known::Present => Known::Absent,
            ("rm", Some(1)) if is_needed => Known::Present,
            _ if ended.is_killed => Known::Unknown,
            _ => {
                return Err(format!(
                    "{kind} of `{}`, which was {before:?}: {}",
                    subject.id,
                    ended.tell()
                ));
            }
        };
        self.states.lock().expect("no thread panicked")[index].0 = after;
        Ok(())
    }

    fn collect(&self, worker: usize) -> Result<(), String> {
        let command = self.world.dhow_command(&["store", "gc", "--grace", "0"]);
        let ended = self.run(worker, "gc", command)?;
        match ended.is_killed || ended.status.success() {
            true => Ok(()),
            false => Err(format!("gc: {}", ended.tell())),
        }
    }

    /// Renders an image for a pod, and removes the pod.
    fn render(&self, worker: usize, random: &mut Rng) -> Result<(), String> {
        let (index, before) = self.some_image(random);
        let id = &self.workload.subjects[index].id;
        let pod = |arguments: &[&str]| {
            let mut command = Command::new(programs().join("dhow-pod"));
            command.arg("--dir").arg(self.world.path("data")).args(arguments);
            command
        };
        let ended = self.run(worker, "render", pod(&["prepare", id]))?;
        self.check_reader("render", index, before, &ended)?;
        let ended = self.run(
            worker,
            "pod gc",
            pod(&["gc", "--grace-period", "10s", "--expire-prepared", "0"]),
        )?;
        // Two that remove the same pod may meet; its files are no part of the store.
        match ended.is_killed || ended.status.code().is_some_and(|code| code <= 3) {
            true => Ok(()),
            false => Err(format!("pod gc: {}", ended.tell())),
        }
    }

    fn export(&self, worker: usize, random: &mut Rng) -> Result<(), String> {
        let (index, before) = self.some_image(random);
        let id = &self.workload.subjects[index].id;
        let output = self.world.arg(&format!("export-{worker}"));
        let command = self
            .world
            .dhow_command(&["image", "export", "--overwrite", id, &output]);
        let ended = self.run(worker, "export", command)?;
        self.check_reader("export", index, before, &ended)
    }

    /// Whoever reads an image that stays there must succeed; of one that goes it may say so.
    fn check_reader(&self, kind: &str, index: usize, before: State, ended: &Ended) -> Result<(), String> {
        let stayed = before.0 == Known::Present && self.states()[index] == before;
        match ended.status.code() {
            Some(0) => Ok(()),
            _ if ended.is_killed => Ok(()),
            Some(1 | 3 | 4) if !stayed => Ok(()),
            _ => Err(format!(
                "{kind} of `{}`, which was {before:?}: {}",
                self.workload.subjects[index].id,
                ended.tell()
            )),
        }
    }

    fn some_image(&self, random: &mut Rng) -> (usize, State) {
        let index = random.usize(0..self.workload.subjects.len());
        (index, self.states()[index])
    }

    /// Runs a program in the slot of a worker, where it can be killed.
    fn run(&self, worker: usize, kind: &'static str, mut command: Command) -> Result<Ended, String> {
        let told = self.world.path(&format!("stderr-{worker}"));
        let stderr = File::create(&told).expect("the world can be written");
        let spawned = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn();
        let child = spawned.map_err(|error| format!("could not start {command:?}: {error}"))?;
        let slot = &self.slots[worker];
        *slot.lock().expect("no thread panicked") = Some(Running {
            child,
            kind,
            is_killed: false,
        });
        let begin = Instant::now();
        loop {
            sleep(Duration::from_millis(2));
            let mut running = slot.lock().expect("no thread panicked");
            let this = running.as_mut().expect("only its worker empties a slot");
            match this.child.try_wait() {
                Ok(Some(status)) => {
                    let ended = Ended {
                        status,
                        is_killed: this.is_killed,
                        stderr: fs::read_to_string(&told).unwrap_or_default(),
                    };
                    self.count(this.kind, this.is_killed);
                    *running = None;
                    return Ok(ended);
                }
                Ok(None) if begin.elapsed() > PATIENCE => {
                    let _ = this.child.kill();
                    let _ = this.child.wait();
                    *running = None;
                    return Err(format!("{kind} hangs: {command:?}"));
                }
                Ok(None) => {}
                Err(error) => return Err(format!("waiting for {command:?}: {error}")),
            }
        }
    }

    fn count(&self, kind: &'static str, is_killed: bool) {
        let mut report = self.report.lock().expect("no thread panicked");
        let (ended, killed) = report.programs.entry(kind).or_default();
        match is_killed {
            true => *killed += 1,
            false => *ended += 1,
        }
    }

    fn states(&self) -> Vec<State> {
        self.states.lock().expect("no thread panicked").clone()
    }

    fn is_over(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    fn fail(&self, problem: String) {
        let mut failure = self.failure.lock().expect("no thread panicked");
        failure.get_or_insert(problem);
        self.stop.store(true, Ordering::SeqCst);
    }
}

impl Ended {
    fn tell(&self) -> String {
        format!("{}\n{}", self.status, self.stderr)
    }
}
