//! What a benchmark says of its measured times.

use std::time::Duration;

/// A sorted, non-empty list of durations.
#[derive(Clone, Debug)]
pub struct Times {
    sorted: Vec<Duration>,
}

impl Times {
    /// From measurements in any order; `None` when there are none.
    pub fn new(mut times: Vec<Duration>) -> Option<Times> {
        times.sort();
        (!times.is_empty()).then_some(Times { sorted: times })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.sorted.len()
    }

    /// The least.
    pub fn min(&self) -> Duration {
        self.sorted[0]
    }

    /// The middle one, or the mean of the middle two.
    pub fn median(&self) -> Duration {
        let n = self.sorted.len();
        (self.sorted[(n - 1) / 2] + self.sorted[n / 2]) / 2
    }

    /// The least time that `percent` of all do not exceed.
    pub fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.sorted.len() * percent).div_ceil(100);
        self.sorted[rank.clamp(1, self.sorted.len()) - 1]
    }

    /// Runs per second, over all of them.
    pub fn throughput(&self) -> f64 {
        let total: Duration = self.sorted.iter().sum();
        self.sorted.len() as f64 / total.as_secs_f64().max(1e-12)
    }
}

/// Milliseconds.
pub fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(ms: &[u64]) -> Times {
        Times::new(ms.iter().map(|&m| Duration::from_millis(m)).collect()).unwrap()
    }

    #[test]
    fn order_statistics() {
        let t = times(&[4, 1, 3, 2]);
        assert_eq!((ms(t.median()), ms(t.min()), t.count()), (2.5, 1.0, 4));
        let t = times(&(1..=200).rev().collect::<Vec<_>>());
        assert_eq!((ms(t.percentile(90)), ms(t.percentile(99))), (180.0, 198.0));
        let t = times(&[7]);
        assert_eq!((ms(t.median()), ms(t.percentile(99))), (7.0, 7.0));
        assert!((times(&[10, 30]).throughput() - 50.0).abs() < 1e-9);
        assert!(Times::new(vec![]).is_none());
    }
}
