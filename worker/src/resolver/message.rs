//! DNS messages: the one question we send, and what we read of an answer (RFC 1035 § 4.1).
//!
//! Written out here, small as it is, because what is accepted must be what nginx accepts: names a little longer than
//! the RFC allows, addresses under any name of the answer section, records of other types between them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Longest label, bytes.
const LABEL_MAX: usize = 63;
/// Longest name as text, bytes: a little more than 255 bytes on the wire, as nginx has it.
const NAME_MAX: usize = 256;
/// Labels and compression pointers followed in one name.
const STEPS_MAX: usize = 128;
/// Records looked at in one answer.
const RECORDS_MAX: usize = 2048;
const HEADER: usize = 12;
/// Type and class.
const QUESTION_TAIL: usize = 4;
/// Type, class, time to live, length.
const RECORD_HEAD: usize = 10;
const CLASS_IN: u16 = 1;
/// Recursion desired.
const FLAGS_QUERY: u16 = 0x0100;
/// Response bit, operation, reserved bits: what must be that of a response to a standard query.
const FLAGS_MASK: u16 = 0xf870;
const FLAGS_RESPONSE: u16 = 0x8000;
const FLAG_TRUNCATED: u16 = 0x0200;
/// Times to live above this (68 years) are negative, that is: wrong.
const TTL_MAX: u32 = i32::MAX as u32;

/// A type of record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum RecordType {
    /// IPv4 address.
    A = 1,
    /// IPv6 address.
    Aaaa = 28,
    /// Location of a service.
    Srv = 33,
}

const CNAME: u16 = 5;

/// A record we asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// An address.
    Address(IpAddr),
    /// Where a service is.
    Service(Service),
}

/// An SRV record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Lower is used first.
    pub priority: u16,
    /// Share among those of the same priority; at least 1.
    pub weight: u16,
    /// The port.
    pub port: u16,
    /// The host.
    pub target: Box<str>,
}

/// What an answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The response code; 0: none.
    pub code: u8,
    /// The rest is to be asked for over TCP.
    pub truncated: bool,
    /// Records of the type asked for.
    pub records: Vec<Record>,
    /// The last alias in the answer.
    pub alias: Option<Box<str>>,
    /// Whether the answer section is empty.
    pub is_empty: bool,
    /// The shortest time to live, seconds.
    pub ttl: u32,
}

/// Why a datagram is not the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadReply {
    /// It ends too early.
    #[error("short DNS response")]
    Short,
    /// It is no response to a query.
    #[error("invalid DNS response")]
    Invalid,
    /// Another question is being answered.
    #[error("unexpected DNS response")]
    OtherQuestion,
    /// It has another identifier.
    #[error("wrong ident {0} in DNS response, expect {1}")]
    OtherId(u16, u16),
    /// A record is not what it says.
    #[error("invalid record in DNS response")]
    Record,
}

/// The question for records of type `kind` at `name`. `None`: it is not a name.
pub fn query(id: u16, name: &str, kind: RecordType) -> Option<Vec<u8>> {
    if name.is_empty() || name.len() > NAME_MAX {
        return None;
    }
    let mut out = Vec::with_capacity(HEADER + name.len() + 2 + QUESTION_TAIL);
    // one question, nothing else
    for word in [id, FLAGS_QUERY, 1, 0, 0, 0] {
        out.extend_from_slice(&word.to_be_bytes());
    }
    for label in name.split('.') {
        if label.is_empty() || label.len() > LABEL_MAX {
            return None;
        }
        out.push(label.len() as u8);
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out.extend_from_slice(&(kind as u16).to_be_bytes());
    out.extend_from_slice(&CLASS_IN.to_be_bytes());
    Some(out)
}

/// Reads the answer to the question of `id`, `name` and `kind`.
pub fn reply(bytes: &[u8], id: u16, name: &str, kind: RecordType) -> Result<Reply, BadReply> {
    let word = |at: usize| read16(bytes, at).ok_or(BadReply::Short);
    let (ident, flags, questions, answers) = (word(0)?, word(2)?, word(4)?, word(6)?);
    if bytes.len() < HEADER {
        return Err(BadReply::Short);
    }
    if ident != id {
        return Err(BadReply::OtherId(ident, id));
    }
    if flags & FLAGS_MASK != FLAGS_RESPONSE {
        return Err(BadReply::Invalid);
    }
    let mut reply = Reply {
        code: (flags & 0xf) as u8,
        truncated: flags & FLAG_TRUNCATED != 0,
        records: Vec::new(),
        alias: None,
        is_empty: answers == 0,
        ttl: TTL_MAX,
    };
    if questions != 1 {
        // an error may come without the question
        return if reply.code != 0 && questions == 0 { Ok(reply) } else { Err(BadReply::Invalid) };
    }
    let (asked, mut at) = read_name(bytes, HEADER)?;
    let same = asked.eq_ignore_ascii_case(name) && word(at)? == kind as u16 && word(at + 2)? == CLASS_IN;
    if !same {
        return Err(BadReply::OtherQuestion);
    }
    if reply.truncated || reply.code != 0 {
        return Ok(reply);
    }
    at += QUESTION_TAIL;
    for _ in 0..usize::from(answers).min(RECORDS_MAX) {
        at = read_record(bytes, at, kind, &mut reply)?;
    }
    Ok(reply)
}

/// Reads one record; returns where the next one begins.
fn read_record(bytes: &[u8], at: usize, kind: RecordType, reply: &mut Reply) -> Result<usize, BadReply> {
    let at = skip_name(bytes, at)?;
    let word = |at: usize| read16(bytes, at).ok_or(BadReply::Short);
    let (found, class, length) = (word(at)?, word(at + 2)?, usize::from(word(at + 8)?));
    let ttl = u32::from(word(at + 4)?) << 16 | u32::from(word(at + 6)?);
    if class != CLASS_IN {
        return Err(BadReply::Record);
    }
    let data = at + RECORD_HEAD;
    let content = bytes.get(data..data + length).ok_or(BadReply::Short)?;
    reply.ttl = reply.ttl.min(if ttl > TTL_MAX { 0 } else { ttl });
    match found {
        CNAME => reply.alias = Some(read_name(bytes, data)?.0),
        _ if found == kind as u16 => reply.records.push(match kind {
            RecordType::A => {
                let octets: [u8; 4] = content.try_into().map_err(|_| BadReply::Record)?;
                Record::Address(Ipv4Addr::from(octets).into())
            }
            RecordType::Aaaa => {
                let octets: [u8; 16] = content.try_into().map_err(|_| BadReply::Record)?;
                Record::Address(Ipv6Addr::from(octets).into())
            }
            RecordType::Srv => Record::Service(Service {
                priority: word(data)?,
                weight: word(data + 2)?.max(1),
                port: word(data + 4)?,
                target: read_name(bytes, data + 6)?.0,
            }),
        }),
        // addresses of the other family have no business here
        1 | 28 if kind != RecordType::Srv => return Err(BadReply::Record),
        // signatures and the like
        _ => {}
    }
    Ok(data + length)
}

fn read16(bytes: &[u8], at: usize) -> Option<u16> {
    let pair = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_be_bytes([pair[0], pair[1]]))
}

/// Where the name at `at` ends.
fn skip_name(bytes: &[u8], mut at: usize) -> Result<usize, BadReply> {
    for _ in 0..STEPS_MAX {
        match *bytes.get(at).ok_or(BadReply::Short)? {
            0 => return Ok(at + 1),
            length if length & 0xc0 != 0 => return Ok(at + 2),
            length => at += 1 + usize::from(length),
        }
    }
    Err(BadReply::Record)
}

/// The name at `at` in lower case, and where it ends.
fn read_name(bytes: &[u8], start: usize) -> Result<(Box<str>, usize), BadReply> {
    let end = skip_name(bytes, start)?;
    let mut name = String::new();
    let mut at = start;
    for _ in 0..STEPS_MAX {
        let length = *bytes.get(at).ok_or(BadReply::Short)?;
        if length == 0 {
            return Ok((name.into(), end));
        }
        if length & 0xc0 != 0 {
            at = usize::from(read16(bytes, at).ok_or(BadReply::Short)? & 0x3fff);
            continue;
        }
        let label = bytes.get(at + 1..at + 1 + usize::from(length)).ok_or(BadReply::Short)?;
        if !name.is_empty() {
            name.push('.');
        }
        // what is not ASCII cannot be asked for again, and is shown as such in logs
        name.extend(label.iter().map(|byte| char::from(byte.to_ascii_lowercase())));
        if name.len() > NAME_MAX * 2 {
            break;
        }
        at += 1 + usize::from(length);
    }
    Err(BadReply::Record)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An answer to `query(7, …)` with these records: name, type, time to live, content.
    fn answer(name: &str, kind: RecordType, flags: u16, records: &[(&[u8], u16, u32, &[u8])]) -> Vec<u8> {
        let mut bytes = query(7, name, kind).unwrap();
        bytes[2..4].copy_from_slice(&flags.to_be_bytes());
        bytes[6..8].copy_from_slice(&(records.len() as u16).to_be_bytes());
        for (name, found, ttl, content) in records {
            bytes.extend_from_slice(name);
            bytes.extend_from_slice(&found.to_be_bytes());
            bytes.extend_from_slice(&1u16.to_be_bytes());
            bytes.extend_from_slice(&ttl.to_be_bytes());
            bytes.extend_from_slice(&(content.len() as u16).to_be_bytes());
            bytes.extend_from_slice(content);
        }
        bytes
    }

    /// Points to the name of the question.
    const ASKED: &[u8] = &[0xc0, 12];

    #[test]
    fn questions() {
        let bytes = query(0x1234, "a.example", RecordType::Aaaa).unwrap();
        let expected = [
            0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, b'a', 7, b'e', b'x', b'a', b'm', b'p', b'l', b'e',
            0, 0, 28, 0, 1,
        ];
        assert_eq!(bytes, expected);
        let long = "a".repeat(64);
        for wrong in ["", ".", "a..b", ".a", long.as_str(), &"abc.".repeat(80)] {
            assert_eq!(query(1, wrong, RecordType::A), None, "{wrong}");
        }
    }

    #[test]
    fn addresses_aliases_and_the_shortest_time() {
        let records: [(&[u8], u16, u32, &[u8]); 3] = [
            (ASKED, CNAME, 60, b"\x05alias\xc0\x0e"),
            (b"\x05other\x00", 1, 30, &[10, 0, 0, 1]),
            (ASKED, 46, 90, b"a signature"),
        ];
        let bytes = answer("a.example", RecordType::A, 0x8180, &records);
        let reply = reply(&bytes, 7, "A.example", RecordType::A).unwrap();
        assert_eq!(reply.records, [Record::Address("10.0.0.1".parse().unwrap())]);
        assert_eq!(reply.alias.as_deref(), Some("alias.example"));
        assert_eq!((reply.code, reply.ttl, reply.truncated, reply.is_empty), (0, 30, false, false));
    }

    #[test]
    fn services() {
        let records: [(&[u8], u16, u32, &[u8]); 1] =
            [(ASKED, 33, 5, b"\x00\x01\x00\x00\x1f\x90\x02B1\xc0\x0e")];
        let bytes = answer("s.example", RecordType::Srv, 0x8180, &records);
        let reply = reply(&bytes, 7, "s.example", RecordType::Srv).unwrap();
        let service = Service { priority: 1, weight: 1, port: 8080, target: "b1.example".into() };
        assert_eq!(reply.records, [Record::Service(service)]);
    }

    #[test]
    fn what_is_not_the_answer() {
        use RecordType::{A, Aaaa};
        let good = |flags| answer("a.example", A, flags, &[(ASKED, 1, 5, &[1, 2, 3, 4])]);
        let read = |bytes: &[u8], id, name, kind| reply(bytes, id, name, kind).map(|reply| reply.code);
        assert_eq!(read(&good(0x8180), 7, "a.example", A), Ok(0));
        assert_eq!(read(&good(0x8180), 8, "a.example", A), Err(BadReply::OtherId(7, 8)));
        assert_eq!(read(&good(0x8180), 7, "b.example", A), Err(BadReply::OtherQuestion));
        assert_eq!(read(&good(0x8180), 7, "a.example", Aaaa), Err(BadReply::OtherQuestion));
        assert_eq!(read(&good(0x0100), 7, "a.example", A), Err(BadReply::Invalid));
        assert_eq!(read(&good(0x8182), 7, "a.example", A), Ok(2));
        let bytes = good(0x8180);
        for cut in 0..bytes.len() {
            assert!(read(&bytes[..cut], 7, "a.example", A).is_err(), "{cut}");
        }
        let wrong = answer("a.example", A, 0x8180, &[(ASKED, 28, 5, &[0; 16])]);
        assert_eq!(read(&wrong, 7, "a.example", A), Err(BadReply::Record));
        let looped = answer("a.example", A, 0x8180, &[(ASKED, CNAME, 5, &[0xc0, 39])]);
        assert!(read(&looped, 7, "a.example", A).is_err());
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300), at in 0..300usize) {
            let _ = reply(&bytes, 7, "a.example", RecordType::Srv);
            let mut good = answer("a.example", RecordType::A, 0x8180, &[(ASKED, CNAME, 60, b"\x05alias\xc0\x0e")]);
            let at = at % good.len();
            for (to, from) in good[at..].iter_mut().zip(&bytes) {
                *to = *from;
            }
            let _ = reply(&good, 7, "a.example", RecordType::A);
        }

        #[test]
        fn questions_come_back(labels in proptest::collection::vec("[a-z0-9-]{1,20}", 1..5)) {
            let name = labels.join(".");
            let bytes = query(1, &name, RecordType::A).unwrap();
            prop_assert_eq!(&*read_name(&bytes, HEADER).unwrap().0, &name);
        }
    }
}
