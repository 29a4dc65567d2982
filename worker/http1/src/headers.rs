//! The fields of one message: an arena that is already the wire format, with an index over it.
//!
//! Every field is stored as `Name: value\r\n`. As long as nothing was removed or replaced, sending all fields is one copy.
//! Nothing in a `Headers` can hold a line break: what [`Headers::push`] is given is escaped first, so a message built from it
//! cannot be split.

use std::{fmt, ops::Range};

use crate::{
    known::{self, Known},
    syntax::{FieldLine, eq_ignore_case},
};

/// Bytes a field costs besides its name and its value: `": "` and CRLF.
const FIELD_OVERHEAD: usize = 4;
/// Mark of a known name that does not occur.
const ABSENT: u32 = u32::MAX;

/// One field: where its line begins in the arena, how long its parts are.
#[derive(Clone, Copy)]
struct Entry {
    at: u32,
    name_len: u32,
    value_len: u32,
    known: Option<Known>,
}

impl Entry {
    fn name(&self) -> Range<usize> {
        let at = self.at as usize;
        at..at + self.name_len as usize
    }

    fn value(&self) -> Range<usize> {
        let at = self.at as usize + self.name_len as usize + 2;
        at..at + self.value_len as usize
    }

    fn line(&self) -> Range<usize> {
        let at = self.at as usize;
        at..at + self.name_len as usize + self.value_len as usize + FIELD_OVERHEAD
    }
}

/// The fields of a request or of a response, in the order they came or were added.
///
/// `clear` keeps the memory, so a `Headers` that is used again does not allocate.
pub struct Headers {
    buf: Vec<u8>,
    list: Vec<Entry>,
    /// Index in `list` of the first field of each known name, or [`ABSENT`].
    first: [u32; known::COUNT],
}

impl Default for Headers {
    fn default() -> Self {
        Self::new()
    }
}

impl Headers {
    /// No fields; allocates nothing.
    pub const fn new() -> Self {
        Self { buf: Vec::new(), list: Vec::new(), first: [ABSENT; known::COUNT] }
    }

    /// No fields, with room for `fields` of them in `bytes` bytes on the wire.
    pub fn with_capacity(fields: usize, bytes: usize) -> Self {
        Self {
            buf: Vec::with_capacity(bytes),
            list: Vec::with_capacity(fields),
            first: [ABSENT; known::COUNT],
        }
    }

    /// Removes all fields and keeps the memory.
    pub fn clear(&mut self) {
        self.buf.clear();
        if !self.list.is_empty() {
            self.list.clear();
            self.first = [ABSENT; known::COUNT];
        }
    }

    /// Number of fields.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is no field.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Adds a field behind the others.
    ///
    /// CR, LF and NUL (in the name all control characters, space and colon) are written as `%XX`, so that no value taken from
    /// a variable can begin a new line. Other control characters in a value go out as they are, as nginx sends them.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        let known = Known::from_name(name);
        self.push_escaped(name, value, known);
    }

    /// Adds a field of a known name behind the others; the value is escaped as in [`Headers::push`].
    pub fn push_known(&mut self, known: Known, value: &[u8]) {
        self.push_escaped(known.name().as_bytes(), value, Some(known));
    }

    fn push_escaped(&mut self, name: &[u8], value: &[u8], known: Option<Known>) {
        let entry = self.append(name, value, known);
        self.enlist(entry);
    }

    /// Adds a field that the parser has taken apart and found free of control characters.
    #[inline]
    pub(crate) fn push_parsed(&mut self, line: &[u8], field: &FieldLine, known: Option<Known>) {
        let at = self.end();
        let (name_len, value) = (field.name_len, field.value.clone());
        if value.start == name_len + 2 && value.end == line.len() && line[name_len + 1] == b' ' {
            // the line is written as this arena writes it, so it is taken in one copy
            self.buf.extend_from_slice(line);
        } else {
            self.buf.extend_from_slice(&line[..name_len]);
            self.buf.extend_from_slice(b": ");
            self.buf.extend_from_slice(&line[value.clone()]);
        }
        self.buf.extend_from_slice(b"\r\n");
        // both lengths are below the end of the arena, which `end` keeps in 32 bits
        self.enlist(Entry { at, name_len: name_len as u32, value_len: value.len() as u32, known });
    }

    /// Writes one line at the end of the arena, escaped where needed.
    fn append(&mut self, name: &[u8], value: &[u8], known: Option<Known>) -> Entry {
        let at = self.end();
        append_escaped(&mut self.buf, name, is_unsafe_in_name);
        let name_len = self.buf.len() as u32 - at;
        self.buf.extend_from_slice(b": ");
        let value_at = self.buf.len() as u32;
        append_escaped(&mut self.buf, value, is_unsafe_in_value);
        let value_len = self.buf.len() as u32 - value_at;
        self.buf.extend_from_slice(b"\r\n");
        Entry { at, name_len, value_len, known }
    }

    fn end(&self) -> u32 {
        u32::try_from(self.buf.len()).expect("a head is limited to far less than 4 GiB")
    }

    fn enlist(&mut self, entry: Entry) {
        if let Some(known) = entry.known {
            let first = &mut self.first[known as usize];
            if *first == ABSENT {
                *first = self.list.len() as u32;
            }
        }
        self.list.push(entry);
    }

    fn reindex(&mut self) {
        self.first = [ABSENT; known::COUNT];
        for (index, entry) in self.list.iter().enumerate() {
            if let Some(known) = entry.known
                && self.first[known as usize] == ABSENT
            {
                self.first[known as usize] = index as u32;
            }
        }
    }

    /// All fields in order: name, value.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> + Clone {
        self.list.iter().map(|entry| (&self.buf[entry.name()], &self.buf[entry.value()]))
    }

    /// All fields in order with the name's number if it is a known one.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = (Option<Known>, &[u8], &[u8])> + Clone {
        self.list.iter().map(|entry| (entry.known, &self.buf[entry.name()], &self.buf[entry.value()]))
    }

    fn position(&self, name: &[u8]) -> Option<usize> {
        match Known::from_name(name) {
            Some(known) => self.position_known(known),
            None => self.list.iter().position(|entry| self.is_named(entry, name)),
        }
    }

    fn position_known(&self, known: Known) -> Option<usize> {
        let index = self.first[known as usize];
        (index != ABSENT).then_some(index as usize)
    }

    fn is_named(&self, entry: &Entry, name: &[u8]) -> bool {
        entry.name_len as usize == name.len() && eq_ignore_case(&self.buf[entry.name()], name)
    }

    /// Value of the first field called `name`, in any case.
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.position(name).map(|index| &self.buf[self.list[index].value()])
    }

    /// Value of the first field of a known name; costs one array access.
    #[inline]
    pub fn known(&self, known: Known) -> Option<&[u8]> {
        self.position_known(known).map(|index| &self.buf[self.list[index].value()])
    }

    /// Values of all fields called `name`, in any case.
    pub fn get_all<'a>(&'a self, name: &[u8]) -> impl Iterator<Item = &'a [u8]> + Clone {
        let from = self.position(name).unwrap_or(self.list.len());
        let matching = self.list[from..].iter().filter(move |entry| self.is_named(entry, name));
        matching.map(|entry| &self.buf[entry.value()])
    }

    /// Values of all fields of a known name.
    pub fn known_all(&self, known: Known) -> impl Iterator<Item = &[u8]> + Clone {
        let from = self.position_known(known).unwrap_or(self.list.len());
        let matching = self.list[from..].iter().filter(move |entry| entry.known == Some(known));
        matching.map(|entry| &self.buf[entry.value()])
    }

    /// Value of the first field whose name, in lower case and with `_` for `-`, is `variable`: nginx's `$http_x_forwarded_for`
    /// asks for `x_forwarded_for`.
    pub fn get_variable(&self, variable: &[u8]) -> Option<&[u8]> {
        self.get_variable_all(variable).next()
    }

    /// Values of all fields that [`Headers::get_variable`] matches.
    pub fn get_variable_all<'a>(&'a self, variable: &[u8]) -> impl Iterator<Item = &'a [u8]> + Clone {
        let matching = self.list.iter().filter(move |entry| {
            entry.name_len as usize == variable.len() && is_variable_of(&self.buf[entry.name()], variable)
        });
        matching.map(|entry| &self.buf[entry.value()])
    }

    /// Whether there is a field called `name`, in any case.
    pub fn contains(&self, name: &[u8]) -> bool {
        self.position(name).is_some()
    }

    /// Whether there is a field of a known name.
    pub fn contains_known(&self, known: Known) -> bool {
        self.position_known(known).is_some()
    }

    /// Removes all fields called `name`; tells whether there was one.
    pub fn remove(&mut self, name: &[u8]) -> bool {
        let Some(from) = self.position(name) else { return false };
        let buf = &self.buf;
        let is_named =
            |entry: &Entry| entry.name_len as usize == name.len() && eq_ignore_case(&buf[entry.name()], name);
        remove_from(&mut self.list, from, is_named);
        self.reindex();
        true
    }

    /// Removes all fields of a known name; tells whether there was one.
    pub fn remove_known(&mut self, known: Known) -> bool {
        let Some(from) = self.position_known(known) else { return false };
        remove_from(&mut self.list, from, |entry| entry.known == Some(known));
        self.reindex();
        true
    }

    /// Keeps only the fields for which `keep` is true.
    pub fn retain(&mut self, mut keep: impl FnMut(Option<Known>, &[u8], &[u8]) -> bool) {
        let buf = &self.buf;
        let before = self.list.len();
        self.list.retain(|entry| keep(entry.known, &buf[entry.name()], &buf[entry.value()]));
        if self.list.len() != before {
            self.reindex();
        }
    }

    /// Replaces all fields called `name` by one, at the place of the first, or adds it behind the others.
    pub fn set(&mut self, name: &[u8], value: &[u8]) {
        let known = Known::from_name(name);
        let Some(at) = self.position(name) else {
            self.push_escaped(name, value, known);
            return;
        };
        let entry = self.append(name, value, known);
        self.list[at] = entry;
        let before = self.list.len();
        let buf = &self.buf;
        let is_named =
            |entry: &Entry| entry.name_len as usize == name.len() && eq_ignore_case(&buf[entry.name()], name);
        remove_from(&mut self.list, at + 1, is_named);
        if self.list.len() != before {
            self.reindex();
        }
    }

    /// [`Headers::set`] for a known name.
    pub fn set_known(&mut self, known: Known, value: &[u8]) {
        self.set(known.name().as_bytes(), value);
    }

    /// The fields as they go over the wire, in as few pieces as possible; without the empty line that ends a head.
    pub fn wire(&self) -> impl Iterator<Item = &[u8]> + Clone {
        let mut next = 0;
        std::iter::from_fn(move || {
            let mut run = self.list.get(next)?.line();
            next += 1;
            while let Some(entry) = self.list.get(next)
                && entry.at as usize == run.end
            {
                run.end = entry.line().end;
                next += 1;
            }
            Some(&self.buf[run])
        })
    }

    /// Number of bytes [`Headers::wire`] gives.
    pub fn wire_len(&self) -> usize {
        self.list.iter().map(|entry| entry.line().len()).sum()
    }

    /// Appends the fields to `out` as they go over the wire, without the empty line that ends a head.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        for run in self.wire() {
            out.extend_from_slice(run);
        }
    }

    /// Appends the fields for which `keep` is true to `out` as they go over the wire: neighbours in one copy.
    pub fn write_where(&self, out: &mut Vec<u8>, mut keep: impl FnMut(Option<Known>, &[u8], &[u8]) -> bool) {
        let mut run = 0..0;
        for entry in &self.list {
            if !keep(entry.known, &self.buf[entry.name()], &self.buf[entry.value()]) {
                continue;
            }
            let line = entry.line();
            if line.start != run.end {
                out.extend_from_slice(&self.buf[run]);
                run = line.clone();
            }
            run.end = line.end;
        }
        out.extend_from_slice(&self.buf[run]);
    }

    /// Adds the fields of `other` for which `keep` is true behind the others, in their order.
    pub fn append_where(
        &mut self,
        other: &Headers,
        mut keep: impl FnMut(Option<Known>, &[u8], &[u8]) -> bool,
    ) {
        for entry in &other.list {
            if keep(entry.known, &other.buf[entry.name()], &other.buf[entry.value()]) {
                let at = self.end();
                self.buf.extend_from_slice(&other.buf[entry.line()]);
                self.enlist(Entry { at, ..*entry });
            }
        }
    }

    /// Becomes a copy of `other`, using its own memory again.
    pub fn copy_from(&mut self, other: &Headers) {
        self.buf.clone_from(&other.buf);
        self.list.clone_from(&other.list);
        self.first = other.first;
    }
}

impl Clone for Headers {
    fn clone(&self) -> Self {
        Self { buf: self.buf.clone(), list: self.list.clone(), first: self.first }
    }

    fn clone_from(&mut self, source: &Self) {
        self.copy_from(source);
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |bytes| String::from_utf8_lossy(bytes);
        f.debug_map().entries(self.iter().map(|(name, value)| (text(name), text(value)))).finish()
    }
}

impl PartialEq for Headers {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Headers {}

fn remove_from(list: &mut Vec<Entry>, from: usize, mut is_gone: impl FnMut(&Entry) -> bool) {
    let mut index = 0;
    list.retain(|entry| {
        let keep = index < from || !is_gone(entry);
        index += 1;
        keep
    });
}

/// Whether `name` in lower case with `_` for `-` is `variable`; both have the same length.
fn is_variable_of(name: &[u8], variable: &[u8]) -> bool {
    name.iter().zip(variable).all(|(&of_name, &of_variable)| {
        let folded = if of_name == b'-' { b'_' } else { of_name.to_ascii_lowercase() };
        folded == of_variable
    })
}

fn is_unsafe_in_name(byte: u8) -> bool {
    byte <= b' ' || byte == b':' || byte == 0x7f
}

fn is_unsafe_in_value(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n' | 0)
}

#[inline]
fn append_escaped(buf: &mut Vec<u8>, bytes: &[u8], is_unsafe: fn(u8) -> bool) {
    if !bytes.iter().any(|&byte| is_unsafe(byte)) {
        buf.extend_from_slice(bytes);
        return;
    }
    for &byte in bytes {
        if is_unsafe(byte) {
            const HEX: &[u8; 16] = b"0123456789ABCDEF";
            buf.extend_from_slice(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        } else {
            buf.push(byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_chosen_and_keep_their_order() {
        let mut all = Headers::new();
        for (name, value) in
            [("Host", "a"), ("X-One", "1"), ("Connection", "close"), ("X-Two", "2"), ("Date", "d")]
        {
            all.push(name.as_bytes(), value.as_bytes());
        }
        all.remove(b"X-One");
        let keep = |known: Option<Known>, _: &[u8], _: &[u8]| known != Some(Known::Connection);
        let mut out = b"GET\r\n".to_vec();
        all.write_where(&mut out, keep);
        assert_eq!(out, b"GET\r\nHost: a\r\nX-Two: 2\r\nDate: d\r\n");
        let mut chosen = Headers::new();
        chosen.push(b"First", b"0");
        chosen.append_where(&all, keep);
        let names: Vec<_> =
            chosen.iter().map(|(name, _)| String::from_utf8_lossy(name).into_owned()).collect();
        assert_eq!(names, ["First", "Host", "X-Two", "Date"]);
        assert_eq!(chosen.known(Known::Date), Some(&b"d"[..]));
        assert!(!chosen.contains_known(Known::Connection));
        let mut none = Vec::new();
        all.write_where(&mut none, |_, _, _| false);
        assert!(none.is_empty());
    }

    fn sample() -> Headers {
        let mut headers = Headers::new();
        headers.push(b"Host", b"a");
        headers.push(b"X-Foo", b"1");
        headers.push(b"cookie", b"c=1");
        headers.push(b"x-foo", b"2");
        headers.push(b"Cookie", b"d=2");
        headers
    }

    fn wire(headers: &Headers) -> String {
        let mut out = Vec::new();
        headers.write_to(&mut out);
        assert_eq!(out.len(), headers.wire_len());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lookups() {
        let headers = sample();
        assert_eq!(headers.len(), 5);
        assert_eq!(headers.get(b"HOST"), Some(&b"a"[..]));
        assert_eq!(headers.get(b"X-FOO"), Some(&b"1"[..]));
        assert_eq!(headers.known(Known::Cookie), Some(&b"c=1"[..]));
        assert_eq!(headers.get_all(b"x-Foo").collect::<Vec<_>>(), [b"1", b"2"]);
        assert_eq!(headers.known_all(Known::Cookie).collect::<Vec<_>>(), [b"c=1", b"d=2"]);
        assert_eq!(headers.get_variable(b"x_foo"), Some(&b"1"[..]));
        assert_eq!(headers.get_variable(b"x-foo"), None);
        assert_eq!(headers.get_variable_all(b"cookie").count(), 2);
        assert!(!headers.contains(b"X-Fo"));
        assert!(headers.contains_known(Known::Host));
        assert!(!headers.contains_known(Known::Te));
    }

    #[test]
    fn removal_keeps_the_index() {
        let mut headers = sample();
        assert!(headers.remove(b"X-Foo"));
        assert!(!headers.remove(b"X-Foo"));
        assert_eq!(headers.known(Known::Cookie), Some(&b"c=1"[..]));
        assert_eq!(wire(&headers), "Host: a\r\ncookie: c=1\r\nCookie: d=2\r\n");
        assert_eq!(headers.wire().count(), 3);
        assert!(headers.remove_known(Known::Host));
        assert_eq!(headers.known(Known::Host), None);
        assert_eq!(headers.known(Known::Cookie), Some(&b"c=1"[..]));
    }

    #[test]
    fn set_replaces_all_in_place() {
        let mut headers = sample();
        headers.set(b"X-FOO", b"3");
        assert_eq!(wire(&headers), "Host: a\r\nX-FOO: 3\r\ncookie: c=1\r\nCookie: d=2\r\n");
        headers.set_known(Known::Cookie, b"z");
        assert_eq!(wire(&headers), "Host: a\r\nX-FOO: 3\r\nCookie: z\r\n");
        headers.set(b"New", b"n");
        assert_eq!(headers.get(b"new"), Some(&b"n"[..]));
        assert_eq!(headers.known(Known::Cookie), Some(&b"z"[..]));
    }

    #[test]
    fn untouched_fields_are_one_piece() {
        assert_eq!(sample().wire().count(), 1);
        assert_eq!(Headers::new().wire().count(), 0);
    }

    #[test]
    fn a_value_cannot_split_the_message() {
        let mut headers = Headers::new();
        headers.push(b"Location", b"/a\r\nSet-Cookie: x\r\n\r\n\0\x7f\t<html>");
        headers.push(b"X:\r\nY", b"1");
        assert_eq!(
            wire(&headers),
            "Location: /a%0D%0ASet-Cookie: x%0D%0A%0D%0A%00\x7f\t<html>\r\nX%3A%0D%0AY: 1\r\n"
        );
    }

    #[test]
    fn clear_and_copy() {
        let mut headers = sample();
        let copy = headers.clone();
        headers.clear();
        assert!(headers.is_empty());
        assert_eq!(headers.known(Known::Cookie), None);
        headers.copy_from(&copy);
        assert_eq!(headers, sample());
        headers.retain(|known, _, _| known != Some(Known::Cookie));
        assert_eq!(headers.len(), 3);
        assert!(!headers.contains(b"cookie"));
    }
}
