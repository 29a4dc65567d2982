//! Native gateway plugins, one file each: documentation, configuration, behaviour, tests. Names, fields, order, answers
//! and texts are Apache APISIX's; schemas stand in `schemas/plugins/`.
#![forbid(unsafe_code)]

mod args;
mod auth;
mod key_auth;

use schemas::PluginSpec;
use worker::plugin::PluginEntry;

/// Every plugin.
pub static ALL: &[PluginEntry] = &LIST;

/// Their descriptions, for the control plane.
pub static SPECS: &[&PluginSpec] = &{
    let mut specs = [LIST[0].spec; COUNT];
    let mut i = 0;
    while i < COUNT {
        specs[i] = LIST[i].spec;
        i += 1;
    }
    specs
};

const COUNT: usize = 1;

const LIST: [PluginEntry; COUNT] = [PluginEntry::of::<key_auth::KeyAuth>()];
