//! Tells the program what it was built with, for `-V`.

use std::process::Command;

fn main() {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    // "rustc 1.95.0 (abcdef 2026-01-01)"
    let version = text.split_whitespace().nth(1).unwrap_or("unknown");
    println!("cargo:rustc-env=URESTY_RUST_VERSION={version}");
    println!("cargo:rerun-if-env-changed=URESTY_PREFIX");
    // Lua modules written in C, and what they load through the FFI, find the symbols of Lua in the program
    println!("cargo:rustc-link-arg-bins=-rdynamic");
    println!("cargo:rerun-if-changed=build.rs");
}
