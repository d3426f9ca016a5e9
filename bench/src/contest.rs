//! [`Contest`]: contestants that do the same work, measured in turns.

use std::{
    fmt,
    time::{Duration, Instant},
};

use anyhow::Result;

/// Runs contestants in turns and compares their medians with that of the first, the peer.
pub struct Contest {
    title: String,
    rounds: usize,
    results: Vec<(String, Vec<Duration>)>,
}

impl Contest {
    /// A contest of so many rounds.
    pub fn new(title: impl Into<String>, rounds: usize) -> Self {
        Self {
            title: title.into(),
            rounds,
            results: Vec::new(),
        }
    }

    /// Lets each contestant do its work once a round, in their order.
    pub fn run(mut self, contestants: &mut [(&str, &mut dyn FnMut() -> Result<()>)]) -> Result<Self> {
        self.results = contestants
            .iter()
            .map(|(name, _)| ((*name).to_owned(), Vec::new()))
            .collect();
        for _ in 0..self.rounds {
            for ((_, work), (_, times)) in contestants.iter_mut().zip(&mut self.results) {
                let start = Instant::now();
                work()?;
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
        let peer = self.results.first().map_or(f64::NAN, |(_, times)| median(times));
        for (name, times) in &self.results {
            let time = median(times);
            writeln!(f, "  {name:<40} {:>9.1} ms  {:>5.2} x", time * 1000.0, time / peer)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_is_to_the_first() {
        let (mut short, mut long) = (0, 0);
        let mut sleep_short = || {
            short += 1;
            std::thread::sleep(Duration::from_millis(5));
            Ok(())
        };
        let mut sleep_long = || {
            long += 1;
            std::thread::sleep(Duration::from_millis(15));
            Ok(())
        };
        let contest = Contest::new("sleeping", 3).run(&mut [("peer", &mut sleep_short), ("ours", &mut sleep_long)]);
        let text = contest.unwrap().to_string();
        assert_eq!((short, long), (3, 3));
        assert!(text.starts_with("sleeping (median of 3)\n"), "{text}");
        assert!(text.contains("1.00 x"), "{text}");
    }
}
