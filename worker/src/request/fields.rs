//! Response fields by name, for modules that let their users name any.
//!
//! Some fields have a place of their own in [`ResponseHead`]; whoever is given a name from outside must not need to know which.

use http1::{Known, parse_http_time};

use super::ResponseHead;

impl ResponseHead {
    /// Sets the field called `name`, in place of all that have the name. Its value must not be empty.
    pub fn set_field(&mut self, name: &[u8], value: &[u8]) {
        match Known::from_name(name) {
            Some(Known::Server) => self.server = Some(value.to_vec()),
            Some(Known::Date) => self.date = Some(value.to_vec()),
            Some(Known::Location) => self.location = Some(value.to_vec()),
            Some(Known::ContentType) => {
                self.set_content_type(value);
                self.content_type_len = memchr::memchr(b';', value).unwrap_or(value.len());
            }
            Some(Known::ContentLength) => {
                let length = std::str::from_utf8(value).ok().and_then(|text| text.trim().parse().ok());
                self.content_length = length;
            }
            Some(Known::LastModified) => {
                self.last_modified = parse_http_time(value);
                self.headers.set(name, value);
            }
            _ => self.headers.set(name, value),
        }
    }

    /// Removes all fields called `name`.
    pub fn clear_field(&mut self, name: &[u8]) {
        match Known::from_name(name) {
            Some(Known::Server) => self.server = Some(Vec::new()),
            Some(Known::Date) => self.date = Some(Vec::new()),
            Some(Known::Location) => self.location = None,
            Some(Known::ContentType) => self.set_content_type(b""),
            Some(Known::ContentLength) => self.clear_length(),
            Some(Known::LastModified) => self.clear_last_modified(),
            Some(Known::AcceptRanges) => self.clear_ranges(),
            _ => drop(self.headers.remove(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_with_a_place_of_their_own() {
        let mut head = ResponseHead::default();
        head.set_field(b"content-TYPE", b"text/css; charset=x");
        assert_eq!((&*head.content_type, head.content_type_len), (&b"text/css; charset=x"[..], 8));
        head.set_field(b"Content-Length", b"12");
        head.set_field(b"X-Other", b"1");
        head.set_field(b"x-other", b"2");
        assert_eq!((head.content_length, head.headers.get(b"X-Other")), (Some(12), Some(&b"2"[..])));
        for name in ["Content-Type", "Content-Length", "X-Other", "Server"] {
            head.clear_field(name.as_bytes());
        }
        assert!(head.content_type.is_empty() && head.content_length.is_none() && head.headers.is_empty());
        assert_eq!(head.server.as_deref(), Some(&b""[..]), "none is sent");
    }
}
