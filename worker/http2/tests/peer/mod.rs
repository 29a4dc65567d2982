//! A client made of frames, and a server that answers every request with `body`.

use http2::{Code, Config, Connection, Event};

/// What a client saw, the gravest thing first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    Goaway(Code),
    Reset(u32, Code),
    /// The response of the stream opened last.
    Answer(u32),
    Nothing,
}

/// Both ends of a connection.
pub struct Peer {
    server: Connection,
    input: Vec<u8>,
    /// Frames the server sent: type, flags, stream, payload.
    seen: Vec<(u8, u8, u32, Vec<u8>)>,
    hold: bool,
}

impl Peer {
    /// A connection behind its prefaces.
    pub fn new() -> Self {
        let mut peer = Self::silent();
        peer.send(http2::PREFACE);
        peer.send(&settings(&[]));
        peer
    }

    /// One whose server keeps its requests and does not answer.
    pub fn holding() -> Self {
        let mut peer = Self::new();
        peer.hold = true;
        peer
    }

    /// A connection on which nothing was sent.
    pub fn silent() -> Self {
        let server = Connection::server(Config::default());
        Self { server, input: Vec::new(), seen: Vec::new(), hold: false }
    }

    /// The client sends `bytes`, the server reacts.
    pub fn send(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        while let Ok((consumed, event)) = self.server.receive(&self.input, 0) {
            self.input.drain(..consumed);
            match event {
                Some(Event::Request { id, end, malformed }) if !self.hold => {
                    self.answer(id, end, malformed.is_some())
                }
                Some(_) => {}
                None => break,
            }
        }
        self.server.fill(usize::MAX);
        let sent = self.server.output().take().concat();
        let mut rest = &sent[..];
        while !rest.is_empty() {
            let header = http2::frame::Header::parse(rest).expect("whole frames");
            let end = 9 + header.len;
            self.seen.push((header.kind.0, header.flags, header.stream, rest[9..end].to_vec()));
            rest = &rest[end..];
        }
    }

    fn answer(&mut self, id: u32, end: bool, malformed: bool) {
        // a request with a body is answered when that has come, which the cases below do not wait for
        if !end && !malformed {
            return;
        }
        self.server.send_head(id, false, false, |encoder, out| encoder.status(out, 200));
        if !self.server.send_small(id, b"body", true) {
            self.server.queue_data(id, bytes::Bytes::from_static(b"body"));
            self.server.queue_end(id, None);
        } else {
            self.server.release(id, Code::INTERNAL_ERROR);
        }
    }

    /// Whether the server ended the connection.
    pub fn is_over(&self) -> bool {
        self.server.is_dead()
    }

    /// What came of it all.
    pub fn outcome(&mut self) -> Seen {
        let code = |payload: &[u8]| Code(u32::from_be_bytes(payload.try_into().expect("four octets")));
        if let Some((.., payload)) = self.seen.iter().find(|frame| frame.0 == 7) {
            return Seen::Goaway(code(&payload[4..8]));
        }
        // requests whose body broke its announcement are answered now, as a server would
        let open: Vec<u32> = (1..400)
            .step_by(2)
            .filter(|id| self.server.has_ended(*id) && !self.server.has_sent(*id))
            .collect();
        for id in open {
            if self.server.queued(id) == 0 && !self.hold {
                self.server.send_head(id, false, true, |encoder, out| encoder.status(out, 400));
                self.server.release(id, Code::INTERNAL_ERROR);
                self.send(&[]);
            }
        }
        if let Some((.., id, payload)) = self.seen.iter().rev().find(|frame| frame.0 == 3) {
            return Seen::Reset(*id, code(payload));
        }
        match self.seen.iter().rev().find(|frame| frame.0 == 0 && frame.1 & 1 == 1) {
            Some((_, _, id, _)) => Seen::Answer(*id),
            None => Seen::Nothing,
        }
    }

    /// The body that came on `id`.
    pub fn data(&self, id: u32) -> Vec<u8> {
        self.seen
            .iter()
            .filter(|frame| frame.0 == 0 && frame.2 == id)
            .flat_map(|frame| frame.3.clone())
            .collect()
    }

    /// The streams in the order in which their bodies came.
    pub fn order(&self) -> Vec<u32> {
        self.seen.iter().filter(|frame| frame.0 == 0).map(|frame| frame.2).collect()
    }
}

/// One frame.
pub fn frame(kind: u8, flags: u8, id: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&id.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

/// SETTINGS.
pub fn settings(list: &[(u16, u32)]) -> Vec<u8> {
    let mut payload = Vec::new();
    for (name, value) in list {
        payload.extend_from_slice(&name.to_be_bytes());
        payload.extend_from_slice(&value.to_be_bytes());
    }
    frame(4, 0, 0, &payload)
}

/// Fields as literals that are never indexed.
pub fn block(list: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in list {
        out.push(0x10);
        for text in [name, value] {
            out.push(text.len() as u8);
            out.extend_from_slice(text.as_bytes());
        }
    }
    out
}
