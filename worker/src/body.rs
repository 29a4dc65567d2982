//! The body of a request: read as a stream, kept in memory or in a temporary file, or discarded.
//!
//! ```text
//!            read_body()            ┌─ Kept (memory, then file)
//!   Unread ──next_body_chunk()──────┼─ Streaming ── Done
//!            discard_body()         └─ Done (discarded)
//! ```

use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use http1::Framing;

use crate::fault::{Fault, Kind, Side};
use crate::modules::http;
use crate::request::Request;

/// How far the body has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Progress {
    /// Nothing was asked for.
    #[default]
    Unread,
    /// Pieces are handed out as they come.
    Streaming,
    /// All of it is in `memory` or `file`.
    Kept,
    /// All of it went by.
    Done,
}

/// A request body.
#[derive(Default)]
pub struct Body {
    /// How its end is marked.
    pub framing: Framing,
    /// Its length, if the client declared one.
    pub declared: Option<u64>,
    /// How far it has come.
    pub progress: Progress,
    /// Bytes received so far, without framing.
    pub received: u64,
    /// The body or its beginning, in pieces.
    pub memory: Vec<Bytes>,
    /// The temporary file that holds all of it, when it was too large for memory.
    pub file: Option<Rc<TempFile>>,
    /// The client waits for `100 Continue`.
    pub expect_continue: bool,
    /// The wait was answered, or must not be.
    pub expect_tested: bool,
    /// The body was thrown away.
    pub discarded: bool,
    /// All of it is awaited before anything happens: `client_body_min_rate` counts.
    pub(crate) awaited: bool,
    /// When it was first waited for, ms.
    pub(crate) waiting_since: Option<u64>,
}

/// A temporary file, removed when it is dropped unless it was made to stay.
pub struct TempFile {
    /// The open file.
    pub file: Rc<net::File>,
    /// Its name.
    pub path: std::path::PathBuf,
    /// Its length.
    pub len: u64,
    /// Whether it is removed at the end.
    pub remove: bool,
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if self.remove {
            // an unlink that fails leaves a file behind, which is all that could be said about it
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Body {
    /// Forgets everything; for the next request of a connection.
    pub fn reset(&mut self) {
        *self = Self { memory: std::mem::take(&mut self.memory), ..Self::default() };
        self.memory.clear();
    }

    /// The same body for another request; only a kept body can be shared.
    pub fn share(&self) -> Self {
        Self {
            framing: self.framing,
            declared: self.declared,
            progress: self.progress,
            received: self.received,
            memory: self.memory.clone(),
            file: self.file.clone(),
            expect_continue: false,
            expect_tested: true,
            discarded: false,
            awaited: false,
            waiting_since: None,
        }
    }

    /// Whether reading has begun.
    pub fn started(&self) -> bool {
        self.progress != Progress::Unread
    }

    /// Whether the request has no body at all.
    pub fn is_absent(&self) -> bool {
        self.framing == Framing::None
    }

    /// The kept body in one piece, if it is in memory.
    pub fn in_memory(&self) -> Option<Bytes> {
        if self.file.is_some() || self.progress != Progress::Kept {
            return None;
        }
        match &self.memory[..] {
            [] => Some(Bytes::new()),
            [one] => Some(one.clone()),
            many => {
                let mut all = BytesMut::with_capacity(many.iter().map(Bytes::len).sum());
                many.iter().for_each(|piece| all.extend_from_slice(piece));
                Some(all.freeze())
            }
        }
    }

    /// Length of the kept body.
    pub fn len(&self) -> u64 {
        match &self.file {
            Some(file) => file.len,
            None => self.memory.iter().map(|piece| piece.len() as u64).sum(),
        }
    }

    /// Whether the kept body is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Replaces the body with `bytes` (`ngx.req.set_body_data`, mirrors).
    pub fn replace(&mut self, bytes: Bytes) {
        self.memory.clear();
        self.file = None;
        self.declared = Some(bytes.len() as u64);
        self.framing = if bytes.is_empty() { Framing::None } else { Framing::Length(bytes.len() as u64) };
        if !bytes.is_empty() {
            self.memory.push(bytes);
        }
        self.progress = Progress::Kept;
    }
}

impl Request {
    /// The next piece of the body, `None` at its end. Once pieces are handed out the body cannot be kept any more.
    pub async fn next_body_chunk(&mut self) -> Result<Option<Bytes>, Fault> {
        match self.body.progress {
            Progress::Done => return Ok(None),
            Progress::Kept => {
                return Err(Fault::internal("a kept request body is not a stream any more"));
            }
            Progress::Unread | Progress::Streaming => {}
        }
        self.body.progress = Progress::Streaming;
        let chunk = self.receive_body().await?;
        match &chunk {
            None => self.body.progress = Progress::Done,
            Some(bytes) => {
                self.body.received += bytes.len() as u64;
                self.check_body_size()?;
            }
        }
        Ok(chunk)
    }

    /// How long the next bytes of the body may take: `client_body_timeout`, and for a body that is awaited as a whole no
    /// longer than `client_body_min_rate` allows for all of it. `None`: it is too slow already.
    pub(crate) fn body_patience(&mut self) -> Option<net::Timeout> {
        let conf = self.http();
        let (timeout, rate) = (conf.client_body_timeout, conf.client_body_min_rate);
        if !self.body.awaited || rate == 0 {
            return Some(net::Timeout::ms(timeout));
        }
        let now = net::now().0;
        let since = *self.body.waiting_since.get_or_insert(now);
        let earned = self.body.received.saturating_mul(1000) / rate;
        let until = since.saturating_add(timeout).saturating_add(earned);
        (until > now).then(|| net::Timeout::ms(timeout.min(until - now)))
    }

    /// Whether the next piece of the body has yet to be received.
    pub(crate) fn body_is_waited_for(&mut self) -> bool {
        let h1 = match &mut self.io {
            crate::io::Io::H1(h1) => h1,
            crate::io::Io::H2(h2) => return !h2.has_body(),
            _ => return false,
        };
        if h1.decoder.left().is_none() {
            // what is here may be framing only
            while !h1.inbuf.is_empty() && !h1.decoder.is_end() {
                let mut ahead = h1.decoder.clone();
                match ahead.decode(&h1.inbuf) {
                    Ok(decoded) if decoded.data.is_empty() => {
                        h1.inbuf.consume(decoded.consumed);
                        h1.decoder = ahead;
                    }
                    _ => return false,
                }
            }
        }
        h1.inbuf.is_empty() && !h1.decoder.is_end()
    }

    /// Whether all of a body that was not asked for yet has been received.
    pub(crate) fn body_is_here(&self) -> bool {
        let h1 = match &self.io {
            crate::io::Io::H1(h1) => h1,
            crate::io::Io::H2(h2) => return h2.has_ended(self.http().client_body_buffer_size),
            _ => return true,
        };
        if let Some(left) = h1.decoder.left() {
            return left <= h1.inbuf.len() as u64;
        }
        let (mut decoder, mut at) = (h1.decoder.clone(), 0);
        while !decoder.is_end() && at < h1.inbuf.len() {
            let Ok(decoded) = decoder.decode(&h1.inbuf[at..]) else { return false };
            at += decoded.consumed;
        }
        decoder.is_end()
    }

    fn check_body_size(&self) -> Result<(), Fault> {
        let limit = self.http().client_max_body_size;
        if limit > 0 && self.body.received > limit && !self.internal && self.body.declared.is_none() {
            let text =
                format!("client intended to send too large chunked body: {} bytes", self.body.received);
            return Err(Fault::new(Side::Client, Kind::TooLarge, 413, text));
        }
        Ok(())
    }

    /// Reads the whole body and keeps it: in memory up to `client_body_buffer_size`, else in a temporary file.
    pub async fn read_body(&mut self) -> Result<(), Fault> {
        if matches!(self.body.progress, Progress::Kept | Progress::Done) || self.body.discarded {
            return Ok(());
        }
        if self.body.is_absent() {
            self.body.progress = Progress::Kept;
            // a client that waits although it has nothing to send is answered, as by nginx
            return self.answer_expectation().await;
        }
        let location = Rc::clone(&self.location);
        let conf = location.confs.get(&http::LOCATION);
        let memory_max = conf.client_body_buffer_size as u64;
        self.body.awaited = true;
        let mut spill = match conf.client_body_in_file_only {
            http::InFileOnly::Off => None,
            _ => Some(crate::temp::Spill::create(&conf.client_body_temp_path).await?),
        };
        let mut kept = BytesMut::new();
        while let Some(bytes) = self.next_body_chunk().await? {
            if let Some(spill) = &mut spill {
                spill.write(bytes).await?;
                continue;
            }
            // copied together: a piece may be one byte that keeps a whole receive buffer alive
            kept.extend_from_slice(&bytes);
            if self.body.received > memory_max {
                self.log(
                    crate::log::Level::Warn,
                    format_args!("a client request body is buffered to a temporary file"),
                );
                let mut created = crate::temp::Spill::create(&conf.client_body_temp_path).await?;
                created.write(kept.split().freeze()).await?;
                spill = Some(created);
            }
        }
        if !kept.is_empty() {
            self.body.memory.push(kept.freeze());
        }
        if let Some(spill) = spill {
            let keep = conf.client_body_in_file_only == http::InFileOnly::On;
            self.body.file = Some(Rc::new(spill.finish(keep)));
        }
        self.body.progress = Progress::Kept;
        Ok(())
    }

    /// Replaces the body with the file at `path`, which with `remove` is removed once it is not needed
    /// (`ngx.req.set_body_file`).
    ///
    /// # Errors
    /// The file cannot be opened.
    pub async fn replace_body_by_file(
        &mut self,
        path: std::path::PathBuf,
        remove: bool,
    ) -> Result<(), Fault> {
        let failed = |what: &str, error: &std::io::Error| {
            Fault::internal(format!("{what} \"{}\" failed ({})", path.display(), conf::error::errno(error)))
        };
        let opened = net::open(&path, &net::OpenOptions { read: true, ..net::OpenOptions::default() }).await;
        let file = opened.map_err(|error| failed("open()", &error))?;
        let len = std::fs::metadata(&path).map_err(|error| failed("fstat()", &error))?.len();
        self.body.replace(Bytes::new());
        self.body.declared = Some(len);
        self.body.framing = if len == 0 { Framing::None } else { Framing::Length(len) };
        self.body.file = Some(Rc::new(TempFile { file: Rc::new(file), path, len, remove }));
        self.headers.remove_known(http1::Known::TransferEncoding);
        self.headers.set_known(http1::Known::ContentLength, len.to_string().as_bytes());
        Ok(())
    }

    /// Throws the rest of the body away, so that the connection can be used again. What the client has not sent yet is
    /// left to lingering: the connection is then not kept.
    pub async fn discard_body(&mut self) -> Result<(), Fault> {
        if !self.is_main() || self.body.is_absent() {
            return Ok(());
        }
        if matches!(self.body.progress, Progress::Kept | Progress::Done) || self.body.discarded {
            return Ok(());
        }
        self.body.discarded = true;
        crate::connection::discard_body(self).await
    }

    /// The kept body as chunks to send to an upstream.
    pub fn body_chunks(&self) -> Vec<crate::filter::Chunk> {
        use crate::filter::{Chunk, FilePart};
        match &self.body.file {
            Some(file) => {
                vec![Chunk::File(FilePart { file: Rc::clone(&file.file), offset: 0, len: file.len })]
            }
            None => self.body.memory.iter().cloned().map(Chunk::Memory).collect(),
        }
    }
}
