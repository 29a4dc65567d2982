//! What is measured.

use crate::idle;
use crate::server::Server;
use crate::wrk::{self, Load};

/// One scenario.
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    kind: Kind,
}

enum Kind {
    Load(Load),
    Idle(usize),
}

/// All scenarios.
pub const SCENARIOS: &[Scenario] = &[
    Scenario::load("return", "/return", 50, true),
    Scenario::load("proxy-1k", "/1k", 50, true),
    Scenario::load("proxy-100k", "/100k", 20, true),
    Scenario::load("proxy-10m", "/10m", 4, true),
    Scenario::load("file-1k", "/file/1k", 50, true),
    Scenario::load("close", "/return", 20, false),
    Scenario { name: "idle", kind: Kind::Idle(10_000) },
];

/// One measurement.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Processor microseconds per request (or bytes per connection).
    pub cost: f64,
    /// Requests per second (or connections).
    pub rate: f64,
}

impl Scenario {
    const fn load(name: &'static str, path: &'static str, connections: u32, keep_alive: bool) -> Self {
        Self { name, kind: Kind::Load(Load { path, connections, keep_alive }) }
    }

    /// Measures once.
    pub fn measure(&self, server: &Server, seconds: u32) -> Result<Sample, String> {
        match &self.kind {
            Kind::Idle(count) => idle::measure(server, *count),
            Kind::Load(load) => {
                // the first run fills connection pools and caches
                wrk::run(server, load, 1)?;
                let before = server.worker_cpu_us()?;
                let result = wrk::run(server, load, seconds)?;
                let used = server.worker_cpu_us()? - before;
                if result.errors > 0 {
                    return Err(format!(
                        "{}: {} of {} requests failed",
                        self.name, result.errors, result.requests
                    ));
                }
                Ok(Sample { cost: used / result.requests.max(1) as f64, rate: result.per_second })
            }
        }
    }
}
