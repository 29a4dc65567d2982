//! Memory of idle keep-alive connections.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::scenario::Sample;
use crate::server::Server;

/// Opens `count` connections, sends one request on each, and divides what the worker's memory grew by.
pub fn measure(server: &Server, count: usize) -> Result<Sample, String> {
    let describe = |error: std::io::Error| format!("idle: {error} (raise the limit on open files)");
    let open = |connections: &mut Vec<TcpStream>| -> Result<(), std::io::Error> {
        let mut stream = TcpStream::connect(server.addr)?;
        stream.write_all(b"GET /return HTTP/1.1\r\nHost: x\r\n\r\n")?;
        let mut answer = [0; 1024];
        let _ = stream.read(&mut answer)?;
        connections.push(stream);
        Ok(())
    };
    let mut connections = Vec::with_capacity(count + 200);
    // what the first connections make the worker allocate is not theirs alone
    for _ in 0..200 {
        open(&mut connections).map_err(describe)?;
    }
    std::thread::sleep(std::time::Duration::from_millis(1000));
    let before = server.worker_rss()?;
    for _ in 0..count {
        open(&mut connections).map_err(describe)?;
    }
    // connections give their buffers back after a short while
    std::thread::sleep(std::time::Duration::from_millis(1500));
    let after = server.worker_rss()?;
    Ok(Sample { cost: (after - before) / count as f64, rate: count as f64 })
}
