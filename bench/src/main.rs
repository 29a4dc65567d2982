//! Load runs against nginx and Uresty: the same configuration, interleaved rounds, one worker each on one processor and the load
//! on another.
//!
//! The figure to trust is processor time per request, read from the kernel's accounting of the worker process: it stays true when
//! the load generator is the bottleneck or the machine is shared. Requests per second are printed beside it.
//!
//! `cargo run --release -p uresty-bench -- [scenario …] [--rounds N] [--seconds N]`

mod idle;
mod report;
mod scenario;
mod server;
mod wrk;

use std::process::ExitCode;

use report::Report;
use scenario::{SCENARIOS, Scenario};
use server::{Backend, Contender, Server};

fn main() -> ExitCode {
    let mut names = Vec::new();
    let (mut rounds, mut seconds) = (5u32, 2u32);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = || words.next().and_then(|text| text.parse().ok());
        match word.as_str() {
            "--rounds" => rounds = number().unwrap_or(rounds),
            "--seconds" => seconds = number().unwrap_or(seconds),
            name => names.push(name.to_owned()),
        }
    }
    let chosen: Vec<&Scenario> =
        SCENARIOS.iter().filter(|s| names.is_empty() || names.iter().any(|name| name == s.name)).collect();
    match run(&chosen, rounds, seconds) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(scenarios: &[&Scenario], rounds: u32, seconds: u32) -> Result<(), String> {
    let backend = Backend::start()?;
    let contenders = [Contender::nginx(), Contender::nginx_large_buffers(), Contender::uresty()?];
    println!("{}", Report::HEADING);
    for scenario in scenarios {
        let mut report = Report::new(scenario.name, &contenders);
        for _ in 0..rounds {
            for (index, contender) in contenders.iter().enumerate() {
                let server = Server::start(contender, &backend)?;
                report.add(index, scenario.measure(&server, seconds)?);
            }
        }
        println!("{report}");
    }
    Ok(())
}
