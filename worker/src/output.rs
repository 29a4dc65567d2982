//! Sending a response: the head through the header filters, the body through those that asked for it, then out.

use std::rc::Rc;

use http1::Method;

use crate::fault::Fault;
use crate::filter::{Chain, Chunk, FilterChain, Interest, Position};
use crate::phase::Step;
use crate::request::Request;

/// Files are read in pieces of this size when a filter needs to see them.
const FILE_PIECE_BYTES: usize = 64 * 1024;

impl Request {
    /// Passes the response head through the filters and hands it to the connection.
    pub async fn send_header(&mut self) -> Result<(), Fault> {
        if self.out.sent {
            self.log(crate::log::Level::Alert, format_args!("header already sent"));
            return Ok(());
        }
        if self.err_status != 0 {
            self.out.status = self.err_status;
            self.out.status_text = None;
        }
        if self.method == Method::Head {
            self.header_only = true;
        }
        let chain = if self.unfiltered { FilterChain::default() } else { self.location.filters.clone() };
        let (mut body, mut memory) = (0u32, 0u32);
        for (index, filter) in chain.iter().enumerate() {
            let interest = match filter.header(self) {
                Step::Ready(interest) => interest?,
                Step::Wait(future) => future.await?,
            };
            match interest {
                Interest::None => {}
                Interest::Body => body |= 1 << index,
                Interest::Memory => {
                    body |= 1 << index;
                    memory |= 1 << index;
                }
            }
        }
        self.filters = (body != 0).then_some(chain);
        self.filters_body = body;
        self.filters_memory = memory;
        self.write_head();
        self.out.sent = true;
        Ok(())
    }

    /// Sends a piece of the body. The head must have been sent.
    pub async fn output(&mut self, chain: Chain) -> Result<(), Fault> {
        debug_assert!(self.out.sent, "the head goes first");
        match self.filters.clone() {
            None => self.write_body(chain).await,
            Some(filters) => self.output_filtered(&filters, 0, chain).await,
        }
    }

    /// Sends the end of a small body by copying it behind the head, if nothing must look at it and it is small enough;
    /// `false`: nothing was done.
    pub(crate) fn output_copied(&mut self, bytes: &[u8], last: bool) -> bool {
        self.filters.is_none() && !self.header_only && self.write_copied(bytes, last)
    }

    async fn output_filtered(
        &mut self,
        filters: &FilterChain,
        from: u32,
        mut chain: Chain,
    ) -> Result<(), Fault> {
        let mut at = from;
        while at < crate::filter::FILTERS_MAX as u32 {
            let rest = self.filters_body >> at;
            if rest == 0 {
                break;
            }
            at += rest.trailing_zeros();
            let wants_memory = self.filters_memory & (1 << at) != 0;
            if wants_memory && chain.chunks.iter().any(|chunk| matches!(chunk, Chunk::File(_))) {
                return Box::pin(self.output_loaded(filters, at, chain)).await;
            }
            self.filter_at = at;
            match filters.get(at as usize).body(self, &mut chain) {
                Step::Ready(result) => result?,
                Step::Wait(future) => future.await?,
            }
            at += 1;
        }
        self.write_body(chain).await
    }

    /// For a filter inside its `body`: hands a piece to the filters behind it and waits until they took it, so that a
    /// body that grows never stands in memory as a whole. What the filter leaves in its chain follows.
    pub async fn pass_on(&mut self, chain: Chain) -> Result<(), Fault> {
        let at = self.filter_at;
        self.output_from(at + 1, chain).await?;
        self.filter_at = at;
        Ok(())
    }

    /// For a filter inside its `body`: sends a piece of a subrequest's response, which has passed the filters of its own
    /// location. Only filters of the response as a whole (those behind [`Position::Ssi`]) see it.
    pub async fn pass_on_foreign(&mut self, chain: Chain) -> Result<(), Fault> {
        let at = self.filter_at;
        let whole = self.filters.as_ref().map_or(0, |filters| filters.first_behind(Position::Ssi));
        self.output_from(whole, chain).await?;
        self.filter_at = at;
        Ok(())
    }

    async fn output_from(&mut self, from: u32, chain: Chain) -> Result<(), Fault> {
        match self.filters.clone() {
            None => self.write_body(chain).await,
            Some(filters) => Box::pin(self.output_filtered(&filters, from, chain)).await,
        }
    }

    /// Reads file chunks piece by piece and passes each on, so that a large file never stands in memory as a whole.
    async fn output_loaded(&mut self, filters: &FilterChain, at: u32, chain: Chain) -> Result<(), Fault> {
        let Chain { chunks, last, flush } = chain;
        let count = chunks.len();
        for (index, chunk) in chunks.into_iter().enumerate() {
            let final_chunk = index + 1 == count;
            match chunk {
                Chunk::Memory(bytes) => {
                    let mut piece = Chain::more(bytes);
                    (piece.last, piece.flush) = (last && final_chunk, flush && final_chunk);
                    Box::pin(self.output_filtered(filters, at, piece)).await?;
                }
                Chunk::File(part) => {
                    let (mut offset, end) = (part.offset, part.offset + part.len);
                    while offset < end {
                        let want = usize::try_from(end - offset).unwrap_or(usize::MAX).min(FILE_PIECE_BYTES);
                        let bytes = read_file(&part.file, offset, want).await?;
                        offset += bytes.len() as u64;
                        let mut piece = Chain::more(bytes);
                        let done = final_chunk && offset >= end;
                        (piece.last, piece.flush) = (last && done, flush && done);
                        Box::pin(self.output_filtered(filters, at, piece)).await?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Sends what a handler wrote to [`outgoing`](Request::outgoing), behind the head, which goes out first if it did not yet.
    /// With `last` the response ends; without it and without anything written nothing happens.
    pub async fn send_outgoing(&mut self, last: bool) -> Result<(), Fault> {
        if self.outgoing.is_empty() && !last {
            return Ok(());
        }
        if !self.out.sent {
            self.send_header().await?;
        }
        let mut written = std::mem::take(&mut self.outgoing);
        if self.header_only {
            written.clear();
        }
        if self.output_copied(&written, last) {
            written.clear();
            self.outgoing = written;
            return Ok(());
        }
        let mut chain = Chain::more(written);
        chain.last = last;
        self.output(chain).await
    }

    /// Sends the head, if it was not, without waiting for a body.
    pub async fn send_head_now(&mut self) -> Result<(), Fault> {
        if !self.out.sent {
            self.send_header().await?;
        }
        self.output(Chain::flush()).await
    }

    /// Like [`send_outgoing`](Self::send_outgoing); with `flush`, waits until the client was sent everything.
    pub async fn send_outgoing_now(&mut self, flush: bool) -> Result<(), Fault> {
        self.send_outgoing(false).await?;
        if !flush {
            return Ok(());
        }
        self.send_head_now().await
    }

    /// Ends the response with what was written and sends it: a handler that goes on has answered.
    pub async fn end_outgoing(&mut self) -> Result<(), Fault> {
        self.send_outgoing(true).await?;
        self.flush_to_client().await
    }

    /// Sends a complete body and ends the response.
    pub async fn respond(&mut self, chain: Chain) -> Result<(), Fault> {
        self.send_header().await?;
        let chain = if self.header_only { Chain::end() } else { chain };
        self.output(chain).await
    }

    /// Decides the content type by the extension of the URI, as `types` and `default_type` say.
    /// One that came along with an `X-Accel-Redirect` stays.
    pub fn set_content_type_by_extension(&mut self) {
        if !self.out.content_type.is_empty() {
            return;
        }
        let location = Rc::clone(&self.location);
        let conf = location.confs.get(&crate::modules::http::LOCATION);
        let found = conf.types.find(self.extension()).unwrap_or(&conf.default_type);
        self.out.set_content_type(found);
    }
}

/// Reads up to `len` bytes of a file that must have them.
pub(crate) async fn read_file(file: &net::File, offset: u64, len: usize) -> Result<bytes::Bytes, Fault> {
    let (result, buf) = file.read_at(net::Buf::with_capacity(len), offset, len).await;
    match result {
        Ok(0) => Err(Fault::internal("file was truncated while it was being sent")),
        Ok(_) => Ok(buf.freeze()),
        Err(error) => Err(Fault::internal(format!("read() failed ({})", conf::error::errno(&error)))),
    }
}
