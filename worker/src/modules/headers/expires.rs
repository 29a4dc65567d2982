//! `expires`.

use chrono::{Days, Local, MappedLocalTime, NaiveDateTime, NaiveTime, TimeDelta, TimeZone as _};
use conf::{Node, Result};
use http1::{Known, http_time};

use crate::build::Builder;
use crate::clock::unix_seconds;
use crate::request::Request;
use crate::script::Template;

/// What `expires` says.
#[derive(Clone)]
pub struct Expires {
    base: Base,
    value: Value,
}

/// Where times are counted from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Base {
    /// Now.
    Access,
    /// The last change of what is sent.
    Modified,
}

#[derive(Clone)]
enum Value {
    Fixed(When),
    /// Evaluated for each response; what cannot be read sets nothing.
    Variable(Template),
}

/// A point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    Off,
    /// Long ago: do not keep it.
    Epoch,
    /// As far away as all clients understand.
    Max,
    /// So many seconds after the base, or before it.
    Seconds(i64),
    /// At this second of the day.
    Daily(i64),
}

const DAY_SECONDS: i64 = 24 * 60 * 60;

impl Expires {
    /// Nothing is set.
    pub const OFF: Self = Self { base: Base::Access, value: Value::Fixed(When::Off) };

    /// Whether nothing is ever set.
    pub fn is_off(&self) -> bool {
        matches!(self.value, Value::Fixed(When::Off))
    }

    /// Reads `expires [modified] time`.
    pub(super) fn read(cx: &mut Builder, node: &Node) -> Result<Self> {
        let (base, text) = match node.arg(1) {
            None => (Base::Access, node.first()),
            Some(text) if node.first() == "modified" => (Base::Modified, text),
            Some(_) => return Err(node.predicate("invalid value")),
        };
        let template = Template::parse(cx, node, text)?;
        let value = match template.as_literal() {
            Some(_) => Value::Fixed(When::parse(text, base).map_err(|error| node.predicate(error))?),
            None => Value::Variable(template),
        };
        Ok(Self { base, value })
    }

    /// Sets `Expires` and `Cache-Control` of the response.
    pub(super) fn apply(&self, req: &mut Request) {
        let when = match &self.value {
            Value::Fixed(when) => *when,
            Value::Variable(template) => {
                let text = template.eval(req);
                let text = std::str::from_utf8(&text).unwrap_or_default();
                When::parse(text, self.base).unwrap_or(When::Off)
            }
        };
        let modified = req.out.last_modified.filter(|_| self.base == Base::Modified);
        let is_fixed = matches!(self.value, Value::Fixed(_));
        let Some((expires, max_age)) = when.resolve(unix_seconds(), modified, is_fixed) else { return };
        req.out.headers.set_known(Known::Expires, &expires);
        match max_age {
            Some(seconds) => {
                req.out.headers.set_known(Known::CacheControl, format!("max-age={seconds}").as_bytes());
            }
            None => req.out.headers.set_known(Known::CacheControl, b"no-cache"),
        }
    }
}

impl When {
    fn parse(text: &str, base: Base) -> std::result::Result<Self, &'static str> {
        if base == Base::Access {
            match text {
                "epoch" => return Ok(When::Epoch),
                "max" => return Ok(When::Max),
                "off" => return Ok(When::Off),
                _ => {}
            }
        }
        let seconds = |text: &str| {
            let seconds = conf::value::time::parse_sec(text).and_then(|seconds| i64::try_from(seconds).ok());
            seconds.ok_or("invalid value")
        };
        match text.as_bytes().first() {
            Some(b'@') if base == Base::Modified => {
                Err("daily time cannot be used with \"modified\" parameter")
            }
            Some(b'@') => match seconds(&text[1..])? {
                time if time > DAY_SECONDS => Err("daily time value must be less than 24 hours"),
                time => Ok(When::Daily(time)),
            },
            Some(b'+') => Ok(When::Seconds(seconds(&text[1..])?)),
            Some(b'-') => Ok(When::Seconds(-seconds(&text[1..])?)),
            _ => Ok(When::Seconds(seconds(text)?)),
        }
    }

    /// The values of `Expires` and of `max-age` (`None`: `no-cache`). `modified` is the time to count from instead of `now`.
    /// A negative time that was written as such is `no-cache` wherever it leads; one from a variable only when it is past.
    fn resolve(self, now: i64, modified: Option<i64>, is_fixed: bool) -> Option<([u8; 29], Option<i64>)> {
        let (at, forced) = match self {
            When::Off => return None,
            When::Epoch => return Some((*b"Thu, 01 Jan 1970 00:00:01 GMT", None)),
            When::Max => return Some((*b"Thu, 31 Dec 2037 23:55:55 GMT", Some(315_360_000))),
            When::Seconds(0) => return Some((http_time(now), Some(0))),
            When::Seconds(seconds) => {
                (modified.unwrap_or(now).saturating_add(seconds), is_fixed && seconds < 0)
            }
            When::Daily(seconds) => (next_time(now, seconds), false),
        };
        let max_age = at.saturating_sub(now);
        Some((http_time(at), (max_age >= 0 && !forced).then_some(max_age)))
    }
}

/// When the local clock shows second `of_day` the next time after `now`.
fn next_time(now: i64, of_day: i64) -> i64 {
    let MappedLocalTime::Single(today) = Local.timestamp_opt(now, 0) else { return now };
    let midnight = today.date_naive().and_time(NaiveTime::MIN);
    let at = |midnight: NaiveDateTime| {
        let wanted = midnight + TimeDelta::seconds(of_day);
        let local = Local.from_local_datetime(&wanted);
        // a time the clocks skip: an hour later
        let local = local
            .earliest()
            .or_else(|| Local.from_local_datetime(&(wanted + TimeDelta::hours(1))).earliest());
        local.map_or(now, |local| local.timestamp())
    };
    let next = at(midnight);
    if next > now {
        return next;
    }
    midnight.checked_add_days(Days::new(1)).map_or(now, at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        use Base::{Access, Modified};
        for (text, base, expected) in [
            ("epoch", Access, Ok(When::Epoch)),
            ("max", Access, Ok(When::Max)),
            ("off", Access, Ok(When::Off)),
            ("30d", Access, Ok(When::Seconds(30 * DAY_SECONDS))),
            ("+1h", Modified, Ok(When::Seconds(3600))),
            ("-1", Access, Ok(When::Seconds(-1))),
            ("0", Access, Ok(When::Seconds(0))),
            ("@15h30m", Access, Ok(When::Daily(55_800))),
            ("@24h", Access, Ok(When::Daily(DAY_SECONDS))),
            ("@25h", Access, Err("daily time value must be less than 24 hours")),
            ("@1h", Modified, Err("daily time cannot be used with \"modified\" parameter")),
            ("max", Modified, Err("invalid value")),
            ("", Access, Err("invalid value")),
            ("+", Access, Err("invalid value")),
            ("soon", Access, Err("invalid value")),
        ] {
            assert_eq!(When::parse(text, base), expected, "{text}");
        }
    }

    #[test]
    fn times() {
        let now = 1_000_000_000;
        let resolve = |when: When, modified, fixed| {
            let (at, max_age) = when.resolve(now, modified, fixed).unwrap();
            (http1::parse_http_time(&at).unwrap() - now, max_age)
        };
        for (when, modified, fixed, expected) in [
            (When::Seconds(60), None, true, (60, Some(60))),
            (When::Seconds(0), Some(5), true, (0, Some(0))),
            (When::Seconds(-60), None, true, (-60, None)),
            (When::Seconds(60), Some(now - 100), true, (-40, None)),
            (When::Seconds(60), Some(now - 10), true, (50, Some(50))),
            (When::Seconds(-5), Some(now + 10), true, (5, None)),
            (When::Seconds(-5), Some(now + 10), false, (5, Some(5))),
        ] {
            assert_eq!(resolve(when, modified, fixed), expected, "{when:?} {modified:?}");
        }
        assert!(When::Off.resolve(now, None, true).is_none());
    }

    #[test]
    fn the_next_time_of_day_is_ahead() {
        let now = unix_seconds();
        for of_day in [0, 1, 12 * 3600, DAY_SECONDS] {
            let next = next_time(now, of_day);
            assert!(next > now && next <= now + 26 * 3600, "{of_day}");
        }
    }
}
