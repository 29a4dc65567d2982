//! What a response head says of how long it may be used: `Cache-Control`, `Expires`, `X-Accel-Expires`, and what forbids to
//! store it at all. Which of them counts follows nginx: `X-Accel-Expires` over `Cache-Control` over `Expires`.

use http1::{Known, ResponseHead};

use super::vary::VARY_LEN_MAX;
use crate::upstream::IgnoredHeaders;

/// See the module's documentation. Times in seconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Freshness {
    /// Until when it is fresh, since the epoch; 0: it does not say.
    pub(super) until: i64,
    /// How much longer it may be used while it is updated.
    pub(super) updating: i64,
    /// How much longer it may be used on errors.
    pub(super) error: i64,
    /// It must not be stored.
    pub(super) forbidden: bool,
    /// `Vary`.
    pub(super) vary: Vec<u8>,
    no_cache: bool,
    expired: bool,
    by_accel: bool,
    seen_expires: bool,
}

impl Freshness {
    /// Reads `head`, leaving out what `ignored` names.
    pub(super) fn of(head: &ResponseHead, ignored: IgnoredHeaders, now: i64) -> Self {
        let mut this = Self::default();
        for (known, _, value) in head.headers.entries() {
            match known {
                Some(Known::CacheControl) if !ignored.contains(IgnoredHeaders::CACHE_CONTROL) => {
                    this.cache_control(value, now);
                }
                Some(Known::Expires) => {
                    // the first of its name counts
                    let first = !std::mem::replace(&mut this.seen_expires, true);
                    if first && !ignored.contains(IgnoredHeaders::EXPIRES) {
                        this.expires(value, now);
                    }
                }
                Some(Known::XAccelExpires) => {
                    let first = !std::mem::replace(&mut this.by_accel, true);
                    if first && !ignored.contains(IgnoredHeaders::X_ACCEL_EXPIRES) {
                        this.accel_expires(value, now);
                    }
                }
                Some(Known::SetCookie) if !ignored.contains(IgnoredHeaders::SET_COOKIE) => {
                    this.forbidden = true
                }
                Some(Known::Vary) if !ignored.contains(IgnoredHeaders::VARY) => this.vary(value),
                _ => {}
            }
        }
        this.forbidden |= this.no_cache || this.expired || this.vary.len() > VARY_LEN_MAX;
        this
    }

    fn expires(&mut self, value: &[u8], now: i64) {
        if self.until != 0 {
            return;
        }
        match http1::parse_http_time(value).filter(|time| *time >= now) {
            Some(time) => self.until = time,
            None => self.expired = true,
        }
    }

    /// Seconds from now, or `@` and a time.
    fn accel_expires(&mut self, value: &[u8], now: i64) {
        let (text, absolute) = match value.strip_prefix(b"@") {
            Some(rest) => (rest, true),
            None => (value, false),
        };
        let Some(number) = decimal(text).filter(|_| text.iter().all(u8::is_ascii_digit)) else { return };
        if number == 0 && !absolute {
            self.forbidden = true;
            return;
        }
        self.until = if absolute { number } else { now.saturating_add(number) };
        (self.no_cache, self.expired) = (false, false);
    }

    fn cache_control(&mut self, value: &[u8], now: i64) {
        let lower = value.to_ascii_lowercase();
        let find = |text: &str| memchr::memmem::find(&lower, text.as_bytes());
        if self.until == 0 || !self.by_accel {
            if ["no-cache", "no-store", "private"].iter().any(|text| find(text).is_some()) {
                self.no_cache = true;
                return;
            }
            let age = find("s-maxage=").map(|at| at + 9).or_else(|| find("max-age=").map(|at| at + 8));
            match age.map(|at| decimal(&lower[at..])) {
                Some(None) => {
                    self.forbidden = true;
                    return;
                }
                Some(Some(0)) => {
                    self.no_cache = true;
                    return;
                }
                Some(Some(seconds)) => {
                    self.until = now.saturating_add(seconds);
                    self.expired = false;
                }
                None => {}
            }
        }
        for (text, also_updating) in [("stale-while-revalidate=", true), ("stale-if-error=", false)] {
            let Some(at) = find(text).map(|at| at + text.len()) else { continue };
            match decimal(&lower[at..]) {
                Some(seconds) => {
                    self.error = seconds;
                    if also_updating {
                        self.updating = seconds;
                    }
                }
                None => {
                    self.forbidden = true;
                    return;
                }
            }
        }
    }

    fn vary(&mut self, value: &[u8]) {
        if value == b"*" {
            self.forbidden = true;
            return;
        }
        if !self.vary.is_empty() {
            self.vary.extend_from_slice(b", ");
        }
        self.vary.extend_from_slice(value);
    }
}

/// The digits `text` begins with, up to what ends a directive; too large ones are the largest there are (RFC 9111 § 1.2.2).
fn decimal(text: &[u8]) -> Option<i64> {
    let len = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if len == 0 || text.get(len).is_some_and(|byte| !matches!(byte, b' ' | b',' | b';' | b'"' | b'\t')) {
        return None;
    }
    let digits = text[..len].iter().map(|digit| i64::from(digit - b'0'));
    Some(digits.fold(0i64, |sum, digit| sum.saturating_mul(10).saturating_add(digit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(fields: &[(&str, &str)]) -> Freshness {
        let mut head = ResponseHead::new();
        fields.iter().for_each(|(name, value)| head.headers.push(name.as_bytes(), value.as_bytes()));
        Freshness::of(&head, IgnoredHeaders::default(), 1000)
    }

    #[test]
    fn who_counts() {
        let past = ("Expires", "Thu, 01 Jan 1970 00:00:01 GMT");
        let future = ("Expires", "Thu, 31 Dec 2037 23:55:55 GMT");
        let until = |fields: &[(&str, &str)]| Some(of(fields)).filter(|f| !f.forbidden).map(|f| f.until);
        assert_eq!(until(&[]), Some(0));
        assert_eq!(until(&[future]), Some(2_145_916_555));
        assert_eq!(until(&[past]), None);
        assert_eq!(until(&[past, ("Cache-Control", "max-age=60")]), Some(1060));
        assert_eq!(until(&[("Cache-Control", "max-age=60"), past]), Some(1060));
        assert_eq!(until(&[("Cache-Control", "no-cache, max-age=60")]), None);
        assert_eq!(until(&[("Cache-Control", "no-cache"), ("Cache-Control", "max-age=60")]), None);
        assert_eq!(until(&[("Cache-Control", "max-age=5, s-maxage=9")]), Some(1009));
        assert_eq!(until(&[("Cache-Control", "max-age=9223372036854775808")]), Some(i64::MAX));
        assert_eq!(until(&[("Cache-Control", "max-age=1x")]), None);
        assert_eq!(until(&[("X-Accel-Expires", "60"), past, ("Cache-Control", "no-cache")]), Some(1060));
        assert_eq!(until(&[past, ("Cache-Control", "no-cache"), ("X-Accel-Expires", "60")]), Some(1060));
        assert_eq!(until(&[("X-Accel-Expires", "0"), ("Cache-Control", "max-age=60"), future]), None);
        assert_eq!(until(&[("X-Accel-Expires", "@7")]), Some(7));
        assert_eq!(until(&[("X-Accel-Expires", "60"), ("X-Accel-Expires", "0")]), Some(1060));
        assert_eq!(until(&[("Set-Cookie", "a=b"), ("Cache-Control", "max-age=60")]), None);
        assert_eq!(until(&[("Vary", "*")]), None);
    }

    #[test]
    fn stale_times_and_variants() {
        let fresh = of(&[("Cache-Control", "max-age=1, stale-while-revalidate=5, stale-if-error=9")]);
        assert_eq!((fresh.until, fresh.updating, fresh.error), (1001, 5, 9));
        let fresh = of(&[("Cache-Control", "stale-while-revalidate=5"), ("X-Accel-Expires", "@1")]);
        assert_eq!((fresh.until, fresh.updating, fresh.error), (1, 5, 5));
        assert_eq!(of(&[("Vary", "A"), ("Vary", "B")]).vary, b"A, B");
    }
}
