//! [`Contest`]: contestants that do the same work, measured in turns.

use std::{
    fmt,
    time::{Duration, Instant},
};

use anyhow::Result;

/// Runs contestants in turns and compares their medians with that of the first.
pub struct Contest {
    title: String,
    rounds: usize,
    /// What each contestant works through, in bytes.
    bytes: Option<u64>,
    results: Vec<(String, Vec<Duration>)>,
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
            results: Vec::new(),
        }
    }

    /// Shows how many bytes a second these are.
    #[must_use]
    pub fn of_bytes(mut self, bytes: u64) -> Self {
        self.bytes = Some(bytes);
        self
    }

    /// Lets each contestant do its work once a round, in their order.
    pub fn run(mut self, mut contestants: Vec<Contestant<'_>>) -> Result<Self> {
        self.results = contestants
            .iter()
            .map(|contestant| (contestant.name.to_owned(), Vec::new()))
            .collect();
        for _ in 0..self.rounds {
            for (contestant, (_, times)) in contestants.iter_mut().zip(&mut self.results) {
                (contestant.prepare)()?;
                let start = Instant::now();
                (contestant.work)()?;
                times.push(start.elapsed());
            }
        }
        Ok(self)
    }
}

fn median(times: &[Duration]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort();
    sorted.get(sorted.len() / 2).map_or(f64::NAN, Duration::as_secs_f64)
}

impl fmt::Display for Contest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} (median of {})", self.title, self.rounds)?;
        let first = self.results.first().map_or(f64::NAN, |(_, times)| median(times));
        for (name, times) in &self.results {
            let time = median(times);
            write!(f, "  {name:<44} {:>9.2} ms  {:>6.2} x", time * 1000.0, time / first)?;
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
        let text = contest.unwrap().to_string();
        assert_eq!((short.get(), long.get(), prepared.get()), (3, 3, 3));
        assert!(text.starts_with("sleeping (median of 3)\n"), "{text}");
        assert!(text.contains("1.00 x"), "{text}");
        assert!(!text.contains(" 2"), "what prepares is not measured: {text}");
    }
}
