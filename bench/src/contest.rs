//! [`Contest`]: contestants that do the same work, measured in turns.

use std::{
    fmt,
    time::{Duration, Instant},
};

use anyhow::Result;
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike,
};

use crate::machine::worked_for;

/// Runs contestants in turns and compares their medians with that of the first: of the time that passes, and of the time
/// that processors work for them, which a busy machine changes less.
pub struct Contest {
    title: String,
    rounds: usize,
    /// What each contestant works through, in bytes.
    bytes: Option<u64>,
    /// Processes that serve the contestants.
    servers: Vec<u32>,
    results: Vec<Results>,
}

struct Results {
    name: String,
    elapsed: Vec<Duration>,
    processors: Vec<Duration>,
    servers: Vec<Duration>,
}

/// A contestant: its name, what it does before the clock runs, and what is measured.
pub struct Contestant<'a> {
    /// Its name.
    pub name: &'a str,
    /// Done before each round, unmeasured.
    pub prepare: Box<dyn FnMut() -> Result<()> + 'a>,
    /// What is measured.
    pub work: Box<dyn FnMut() -> Result<()> + 'a>,
}

impl<'a> Contestant<'a> {
    /// One that needs no preparation.
    pub fn new(name: &'a str, work: impl FnMut() -> Result<()> + 'a) -> Self {
        Self::prepared(name, || Ok(()), work)
    }

    /// One that is prepared before each round.
    pub fn prepared(
        name: &'a str,
        prepare: impl FnMut() -> Result<()> + 'a,
        work: impl FnMut() -> Result<()> + 'a,
    ) -> Self {
        Self {
            name,
            prepare: Box::new(prepare),
            work: Box::new(work),
        }
    }
}

impl Contest {
    /// A contest of so many rounds.
    pub fn new(title: impl Into<String>, rounds: usize) -> Self {
        Self {
            title: title.into(),
            rounds,
            bytes: None,
            servers: Vec::new(),
            results: Vec::new(),
        }
    }

    /// Shows how many bytes a second these are.
    #[must_use]
    pub fn of_bytes(mut self, bytes: u64) -> Self {
        self.bytes = Some(bytes);
        self
    }

    /// Shows what processors work for these processes meanwhile, too.
    #[must_use]
    pub fn served_by(mut self, servers: Vec<u32>) -> Self {
        self.servers = servers;
        self
    }

    /// Lets each contestant do its work once a round, in their order.
    pub fn run(mut self, mut contestants: Vec<Contestant<'_>>) -> Result<Self> {
        self.results = contestants
            .iter()
            .map(|contestant| Results {
                name: contestant.name.to_owned(),
                elapsed: Vec::new(),
                processors: Vec::new(),
                servers: Vec::new(),
            })
            .collect();
        let mut all = std::mem::take(&mut self.results);
        for _ in 0..self.rounds {
            for (contestant, results) in contestants.iter_mut().zip(&mut all) {
                (contestant.prepare)()?;
                let (start, before, served) = (Instant::now(), processor_time()?, self.server_time()?);
                (contestant.work)()?;
                results.elapsed.push(start.elapsed());
                results.processors.push(processor_time()?.saturating_sub(before));
                results.servers.push(self.server_time()?.saturating_sub(served));
            }
        }
        self.results = all;
        Ok(self)
    }

    /// What processors work for these contestants together, servers included, in seconds for each processor of this
    /// machine: whoever does all of their work can take no less, and `None` if one of them is not there.
    pub(crate) fn floor_of(&self, contestants: &[usize]) -> Option<f64> {
        let mut seconds = 0.0;
        for contestant in contestants {
            let results = self.results.get(*contestant)?;
            seconds += median(&results.processors) + median(&results.servers);
        }
        Some(seconds / std::thread::available_parallelism().ok()?.get() as f64)
    }

    /// The median time of a contestant, in seconds.
    pub(crate) fn time_of(&self, contestant: usize) -> Option<f64> {
        Some(median(&self.results.get(contestant)?.elapsed))
    }

    fn server_time(&self) -> Result<Duration> {
        self.servers.iter().map(|pid| worked_for(*pid)).sum()
    }
}

/// What processors have worked for this process and for its children that have ended.
fn processor_time() -> Result<Duration> {
    let mut total = Duration::ZERO;
    for who in [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN] {
        let usage = getrusage(who)?;
        for time in [usage.user_time(), usage.system_time()] {
            total += Duration::from_micros(u64::try_from(time.num_microseconds())?);
        }
    }
    Ok(total)
}

fn median(times: &[Duration]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort();
    sorted.get(sorted.len() / 2).map_or(f64::NAN, Duration::as_secs_f64)
}

impl fmt::Display for Contest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} (median of {})", self.title, self.rounds)?;
        let medians = |results: &Results| (median(&results.elapsed), median(&results.processors));
        let (first, first_worked) = self.results.first().map_or((f64::NAN, f64::NAN), medians);
        for results in &self.results {
            let (time, worked) = medians(results);
            write!(f, "  {:<44}", results.name)?;
            write!(f, " {:>9.2} ms {:>6.2} x", time * 1000.0, time / first)?;
            write!(
                f,
                ", processors {:>8.0} ms {:>6.2} x",
                worked * 1000.0,
                worked / first_worked
            )?;
            if !self.servers.is_empty() {
                write!(f, ", servers {:>6.0} ms", median(&results.servers) * 1000.0)?;
            }
            if let Some(bytes) = self.bytes {
                write!(f, "  {:>6.0} MB/s", bytes as f64 / time / 1e6)?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_is_to_the_first() {
        use std::cell::Cell;
        let (short, long, prepared) = (Cell::new(0), Cell::new(0), Cell::new(0));
        let sleep = |count: &Cell<u32>, milliseconds| {
            count.set(count.get() + 1);
            std::thread::sleep(Duration::from_millis(milliseconds));
            Ok(())
        };
        let contest = Contest::new("sleeping", 3).of_bytes(5000).run(vec![
            Contestant::new("peer", || sleep(&short, 5)),
            Contestant::prepared("ours", || sleep(&prepared, 200), || sleep(&long, 15)),
        ]);
        let contest = contest.unwrap();
        assert!(
            median(&contest.results[1].elapsed) < 0.2,
            "what prepares is not measured"
        );
        let text = contest.to_string();
        assert_eq!((short.get(), long.get(), prepared.get()), (3, 3, 3));
        assert!(text.starts_with("sleeping (median of 3)\n"), "{text}");
        assert!(text.contains("1.00 x"), "{text}");
        assert!(text.contains("ours") && text.contains(" MB/s"), "{text}");
    }
}
