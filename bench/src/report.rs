//! Medians and ratios.

use std::fmt;

use crate::scenario::Sample;
use crate::server::Contender;

/// All samples of one scenario.
pub struct Report<'a> {
    name: &'a str,
    contenders: &'a [Contender],
    samples: Vec<Vec<Sample>>,
}

impl<'a> Report<'a> {
    /// The heading of the table.
    pub const HEADING: &'static str = "scenario     contender        cost     ratio   rate/s    ratio   (cost: CPU us per request; idle: bytes per connection)";

    /// A report without samples.
    pub fn new(name: &'a str, contenders: &'a [Contender]) -> Self {
        Self { name, contenders, samples: contenders.iter().map(|_| Vec::new()).collect() }
    }

    /// Adds a sample of one contender.
    pub fn add(&mut self, contender: usize, sample: Sample) {
        self.samples[contender].push(sample);
    }

    fn median(&self, contender: usize, of: impl Fn(&Sample) -> f64) -> f64 {
        let mut values: Vec<f64> = self.samples[contender].iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (base_cost, base_rate) = (self.median(0, |s| s.cost), self.median(0, |s| s.rate));
        for (index, contender) in self.contenders.iter().enumerate() {
            let (cost, rate) = (self.median(index, |s| s.cost), self.median(index, |s| s.rate));
            let line = format!(
                "{:<12} {:<14} {cost:>8.2} {:>8.2} {rate:>9.0} {:>7.2}",
                self.name,
                contender.name,
                cost / base_cost,
                rate / base_rate
            );
            write!(f, "{}{line}", if index == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}
