//! The one list of modules of this binary.

use worker::module::Module;

use crate::title;

/// Every module, in the order in which they see the configuration: those of the worker crate, Lua, and what the program
/// itself does in a worker.
pub static ALL: &[&dyn Module] = &LIST;

const WORKER: usize = worker::modules::ALL.len();

static LIST: [&dyn Module; WORKER + 2] = {
    let mut list: [&dyn Module; WORKER + 2] = [&title::Draining; WORKER + 2];
    list[WORKER] = &lua::MODULE;
    let mut i = 0;
    while i < WORKER {
        list[i] = worker::modules::ALL[i];
        i += 1;
    }
    list
};
