//! `-t` and `-T`: reading the configuration without serving it. No socket is opened, so that a server that runs with
//! the same configuration is not in the way.

use std::io::Write as _;
use std::process::ExitCode;

use crate::cli::Options;
use crate::place::Place;
use crate::title::Program;
use crate::{engine, files, journal, pid};
use worker::log::Level;

/// Checks the configuration of `place`, says what is wrong, and prints it when asked to.
pub fn run(program: Program, place: &Place, options: &Options) -> ExitCode {
    let file = place.conf_file.display();
    if check(program, place, options).is_err() {
        journal::print(format_args!("configuration file {file} test failed"));
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn check(program: Program, place: &Place, options: &Options) -> Result<(), ()> {
    let file = place.conf_file.display();
    let checked = engine::load(program, place, options.globals.as_deref()).map_err(|errors| {
        errors.iter().for_each(|error| journal::emerg(format_args!("{error}")));
    })?;
    if !options.quiet {
        journal::print(format_args!("the configuration file {file} syntax is ok"));
    }
    for warning in &checked.loaded.warnings {
        journal::write(Level::Warn, format_args!("{warning}"));
    }
    let ready = pid::test(&checked.plan.pid).and_then(|()| files::prepare(&checked.plan));
    ready.map_err(|reason| journal::emerg(format_args!("{reason}")))?;
    if !options.quiet {
        journal::print(format_args!("configuration file {file} test is successful"));
    }
    if options.dump {
        let mut text = Vec::new();
        // writing to memory does not fail, and a reader who has left wants nothing more
        let _ = checked.loaded.sources.dump(&mut text);
        let _ = std::io::stdout().lock().write_all(&text);
    }
    Ok(())
}
