//! [`plan`]: few requests for many ranges.

use std::ops::Range;

/// What [`plan`] weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanLimits {
    /// Ranges that lie at most so many bytes apart are fetched at once: to fetch what is between is cheaper than another
    /// request.
    pub gap: u64,
    /// There is at most one request for each so many bytes that are wanted; if there are more, the narrowest gaps are
    /// fetched too.
    pub bytes_per_request: u64,
    /// No request is for more bytes than this, unless one range is.
    pub longest: u64,
}

impl Default for PlanLimits {
    /// 16 KiB, which a connection of 10 Mbit/s takes 13 ms for; one request for each 200 KB; and 8 MiB.
    fn default() -> Self {
        Self {
            gap: 16 << 10,
            bytes_per_request: 200_000,
            longest: 8 << 20,
        }
    }
}

/// A request of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What to ask for.
    pub range: Range<u64>,
    /// Which of the wanted ranges lie in it, by their places in what was given to [`plan`]; in the order of the bytes.
    pub wanted: Vec<usize>,
}

/// Requests that together cover all wanted ranges of one file, in the order of the bytes. Empty ranges are passed over,
/// ranges that overlap are fetched once.
pub fn plan(wanted: &[Range<u64>], limits: &PlanLimits) -> Vec<Request> {
    let mut order: Vec<_> = (0..wanted.len()).filter(|&place| !wanted[place].is_empty()).collect();
    order.sort_by_key(|&place| (wanted[place].start, wanted[place].end));
    let mut requests: Vec<Request> = Vec::new();
    for place in order {
        let range = &wanted[place];
        match requests.last_mut() {
            Some(last) if range.start < last.range.end => {
                last.range.end = last.range.end.max(range.end);
                last.wanted.push(place);
            }
            _ => requests.push(Request {
                range: range.clone(),
                wanted: vec![place],
            }),
        }
    }
    let bytes: u64 = requests
        .iter()
        .map(|request| request.range.end - request.range.start)
        .sum();
    let joined = join(requests.clone(), limits.gap, limits.longest);
    let most = (bytes / limits.bytes_per_request.max(1)).max(1) as usize;
    if joined.len() <= most {
        return joined;
    }
    // The narrowest gap that must be fetched so that few enough requests are left.
    let mut gaps: Vec<_> = requests
        .windows(2)
        .map(|pair| pair[1].range.start - pair[0].range.end)
        .collect();
    gaps.sort_unstable();
    let gap = gaps[requests.len() - most - 1];
    join(requests, gap.max(limits.gap), limits.longest)
}

/// Joins neighbours across gaps of this width.
fn join(requests: Vec<Request>, gap: u64, longest: u64) -> Vec<Request> {
    let mut joined: Vec<Request> = Vec::with_capacity(requests.len());
    for mut request in requests {
        match joined.last_mut() {
            Some(last)
                if request.range.start - last.range.end <= gap && request.range.end - last.range.start <= longest =>
            {
                last.range.end = request.range.end;
                last.wanted.append(&mut request.wanted);
            }
            _ => joined.push(request),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: PlanLimits = PlanLimits {
        gap: 10,
        bytes_per_request: 1,
        longest: 1000,
    };

    fn ranges(wanted: &[Range<u64>], limits: &PlanLimits) -> Vec<Range<u64>> {
        plan(wanted, limits).into_iter().map(|request| request.range).collect()
    }

    #[test]
    fn neighbours_are_joined_up_to_the_gap() {
        assert_eq!(ranges(&[0..5, 5..9, 19..20, 31..32], &LIMITS), [0..20, 31..32]);
    }

    #[test]
    fn order_repetition_overlap_and_emptiness_do_not_matter() {
        let plan = plan(&[40..50, 0..10, 45..60, 0..10, 7..7], &LIMITS);
        let request = |range, wanted: &[usize]| Request {
            range,
            wanted: wanted.to_vec(),
        };
        assert_eq!(plan, [request(0..10, &[1, 3]), request(40..60, &[0, 2])]);
        assert_eq!(ranges(&[], &LIMITS), []);
        assert_eq!(
            ranges(&[u64::MAX - 1..u64::MAX, 0..1], &LIMITS),
            [0..1, u64::MAX - 1..u64::MAX]
        );
    }

    #[test]
    fn no_request_grows_beyond_the_longest_but_a_single_range_may() {
        assert_eq!(ranges(&[0..600, 600..900, 900..1100], &LIMITS), [0..900, 900..1100]);
        assert_eq!(ranges(&[0..5000, 7000..7001], &LIMITS), [0..5000, 7000..7001]);
    }

    #[test]
    fn the_narrowest_gaps_are_fetched_where_there_would_be_too_many_requests() {
        let wanted = [0..100, 200..300, 330..400, 900..1000];
        let limits = PlanLimits {
            bytes_per_request: 150,
            longest: 10_000,
            ..LIMITS
        };
        assert_eq!(ranges(&wanted, &limits), [0..400, 900..1000]);
        let one = PlanLimits {
            bytes_per_request: u64::MAX,
            ..limits
        };
        let requests = plan(&wanted, &one);
        assert_eq!((requests.len(), &requests[0].range), (1, &(0..1000)));
    }

    /// Whatever is wanted, every byte of it is fetched, and no request covers another's bytes.
    #[test]
    fn every_wanted_byte_is_in_its_request() {
        let mut state = 1u64;
        let mut random = |below: u64| {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (state >> 33) % below
        };
        for _ in 0..500 {
            let wanted: Vec<_> = (0..random(40))
                .map(|_| {
                    let start = random(100_000);
                    start..start + random(3000)
                })
                .collect();
            let limits = PlanLimits {
                gap: random(2000),
                bytes_per_request: random(5000) + 1,
                longest: random(50_000) + 1,
            };
            let requests = plan(&wanted, &limits);
            let mut seen: Vec<_> = requests.iter().flat_map(|request| request.wanted.clone()).collect();
            seen.sort_unstable();
            let not_empty: Vec<_> = (0..wanted.len()).filter(|&i| !wanted[i].is_empty()).collect();
            assert_eq!(seen, not_empty);
            for request in &requests {
                for &place in &request.wanted {
                    assert!(request.range.start <= wanted[place].start && wanted[place].end <= request.range.end);
                }
            }
            assert!(requests.windows(2).all(|pair| pair[0].range.end <= pair[1].range.start));
        }
    }
}
