//! Extensible priorities (RFC 9218): the `priority` field and PRIORITY_UPDATE.

/// How a response competes with the others of its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Priority {
    /// 0 is the most urgent, 7 the least.
    pub urgency: u8,
    /// Whether it is of use in pieces: such responses of one urgency share, others go one after the other.
    pub incremental: bool,
}

impl Default for Priority {
    fn default() -> Self {
        Self { urgency: 3, incremental: false }
    }
}

/// Number of urgencies.
pub(crate) const URGENCIES: usize = 8;

impl Priority {
    /// Reads a field value, a dictionary of structured fields (RFC 8941). What is not understood keeps its default, as
    /// RFC 9218 section 4 demands.
    pub fn parse(value: &[u8]) -> Self {
        let mut priority = Self::default();
        for member in value.split(|&byte| byte == b',') {
            let member = http1::syntax::trim(member.split(|&byte| byte == b';').next().unwrap_or_default());
            match member {
                [b'u', b'=', digit @ b'0'..=b'7'] => priority.urgency = digit - b'0',
                b"i" | b"i=?1" => priority.incremental = true,
                b"i=?0" => priority.incremental = false,
                _ => {}
            }
        }
        priority
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        let parse = |text: &str| {
            let priority = Priority::parse(text.as_bytes());
            (priority.urgency, priority.incremental)
        };
        assert_eq!(parse(""), (3, false));
        assert_eq!(parse("u=5"), (5, false));
        assert_eq!(parse("u=0, i"), (0, true));
        assert_eq!(parse("i=?0,u=7;x=1"), (7, false));
        assert_eq!(parse("u=8, i=1"), (3, false), "out of range");
        assert_eq!(parse("u=1, u=2"), (2, false), "the last one counts");
    }
}
