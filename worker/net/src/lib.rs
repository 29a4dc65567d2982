//! The only crate that names the io_uring runtime: rings, timers, buffers, sockets, files.
