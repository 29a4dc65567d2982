//! Drives `wrk`.

use std::process::Command;

use crate::server::Server;

/// A kind of load.
pub struct Load {
    /// The target.
    pub path: &'static str,
    /// Connections at a time.
    pub connections: u32,
    /// Whether connections are kept.
    pub keep_alive: bool,
}

/// What `wrk` counted.
pub struct Counted {
    /// Requests answered.
    pub requests: u64,
    /// Requests per second.
    pub per_second: f64,
    /// Requests that failed in any way.
    pub errors: u64,
}

/// Runs `wrk` on the load's processor.
pub fn run(server: &Server, load: &Load, seconds: u32) -> Result<Counted, String> {
    let mut command = Command::new("taskset");
    command.args(["-c", "1", "wrk", "-t1", "-c"]).arg(load.connections.to_string());
    command.arg(format!("-d{seconds}s")).arg("--latency");
    if !load.keep_alive {
        command.args(["-H", "Connection: close"]);
    }
    command.arg(format!("http://{}{}", server.addr, load.path));
    let output =
        command.output().map_err(|error| format!("wrk does not run (apt-get install wrk): {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let number = |line: &str, at: usize| {
        line.split_whitespace().nth(at).and_then(|word| word.trim_end_matches(',').parse().ok())
    };
    let mut counted = Counted { requests: 0, per_second: 0.0, errors: 0 };
    for line in text.lines().map(str::trim) {
        if line.contains("requests in") {
            counted.requests = number(line, 0).unwrap_or(0.0) as u64;
        } else if line.starts_with("Requests/sec:") {
            counted.per_second = number(line, 1).unwrap_or(0.0);
        } else if line.starts_with("Non-2xx") {
            counted.errors += number(line, 4).unwrap_or(1.0) as u64;
        } else if line.starts_with("Socket errors:") {
            // connect, read, write, timeout; reads fail where the server closes first, which `close` asks for
            let counts = [3, 7, 9].map(|at| number(line, at).unwrap_or(0.0));
            counted.errors += counts.iter().sum::<f64>() as u64;
        }
    }
    if counted.requests == 0 {
        return Err(format!("wrk got no answer from {}:\n{text}", server.addr));
    }
    Ok(counted)
}
