//! What `fetch` and `seed` have in common: how swarms are joined, and for how long archives are given to peers.

use std::{net::SocketAddr, num::NonZeroU32, sync::Arc, time::Duration};

use anyhow::Result;
use clap::Args;
use dhow_fetchers::{KeptArchives, SeedGoal, SwarmOptions, Swarms};
use url::Url;

use crate::{context::Context, quantity::duration};

/// How swarms are joined.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "BitTorrent")]
pub(crate) struct SwarmArguments {
    /// A peer to begin with, as 10.0.0.1:6881
    #[arg(long = "peer", value_name = "ADDRESS")]
    peers: Vec<SocketAddr>,
    /// A tracker to ask beside those of the torrent
    #[arg(long = "tracker", value_name = "URL")]
    trackers: Vec<Url>,
    /// Looks for peers in the distributed table too, which anybody can read
    #[arg(long)]
    dht: bool,
    /// Does not look for peers in the local network
    #[arg(long)]
    no_local_peers: bool,
    /// Where peers reach this machine, as 0.0.0.0:6881 [default: any free port]
    #[arg(long, value_name = "ADDRESS")]
    peer_listen: Option<SocketAddr>,
    /// How many bytes a second may come from peers, as 500k or 2M
    #[arg(long, value_name = "RATE", value_parser = rate)]
    limit_download: Option<NonZeroU32>,
    /// How many bytes a second may go to peers, as 500k or 2M
    #[arg(long, value_name = "RATE", value_parser = rate)]
    limit_upload: Option<NonZeroU32>,
}

/// For how long archives are given to peers.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "BitTorrent")]
pub(crate) struct SeedArguments {
    /// Until so many times an archive's bytes went to peers
    #[arg(long, value_name = "RATIO", value_parser = ratio)]
    seed_ratio: Option<f64>,
    /// For so long, as 90s, 30m, 2h or 1d
    #[arg(long, value_name = "TIME", value_parser = duration)]
    seed_time: Option<Duration>,
}

impl SwarmArguments {
    pub(crate) fn options(&self, preferred: bool) -> SwarmOptions {
        let defaults = SwarmOptions::default();
        SwarmOptions {
            preferred,
            listen: self.peer_listen.unwrap_or(defaults.listen),
            dht: self.dht,
            local_discovery: !self.no_local_peers,
            trackers: self.trackers.clone(),
            peers: self.peers.clone(),
            download_limit: self.limit_download,
            upload_limit: self.limit_upload,
            ..defaults
        }
    }

    /// The swarms of one command.
    pub(crate) fn swarms(&self, context: &Context, preferred: bool, keep: bool) -> Result<Arc<Swarms>> {
        let kept = keep.then(|| kept_archives(context)).transpose()?;
        Ok(Arc::new(Swarms::new(self.options(preferred), kept)))
    }
}

impl SeedArguments {
    /// Until when, or `None` where nothing was said.
    pub(crate) fn goal(&self) -> Option<SeedGoal> {
        let goal = SeedGoal {
            ratio: self.seed_ratio,
            time: self.seed_time,
        };
        (goal != SeedGoal::default()).then_some(goal)
    }
}

/// The archives that are kept to be seeded.
pub(crate) fn kept_archives(context: &Context) -> Result<KeptArchives> {
    Ok(KeptArchives::new(context.data_dir()?.join("blobs")))
}

fn rate(text: &str) -> Result<NonZeroU32, String> {
    let (number, unit) = match text.strip_suffix(['k', 'K']) {
        Some(number) => (number, 1 << 10),
        None => match text.strip_suffix('M') {
            Some(number) => (number, 1 << 20),
            None => (text, 1),
        },
    };
    let bytes = number.parse::<u32>().ok().and_then(|number| number.checked_mul(unit));
    bytes
        .and_then(NonZeroU32::new)
        .ok_or_else(|| "it is no number of bytes, as 500k or 2M".to_owned())
}

fn ratio(text: &str) -> Result<f64, String> {
    let ratio = text
        .parse()
        .ok()
        .filter(|ratio: &f64| ratio.is_finite() && *ratio > 0.0);
    ratio.ok_or_else(|| "it is no number above zero".to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn rates_and_ratios_are_read() {
        assert_eq!(rate("500k").unwrap().get(), 500 << 10);
        assert_eq!(rate("2M").unwrap().get(), 2 << 20);
        assert_eq!(rate("70000").unwrap().get(), 70000);
        for text in ["", "0", "-1", "1.5M", "9999999M", "k"] {
            rate(text).unwrap_err();
        }
        assert!(ratio("1.5").is_ok() && ratio("0").is_err() && ratio("inf").is_err() && ratio("NaN").is_err());
    }
}
