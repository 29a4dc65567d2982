//! `request-id`: every request has a name of its own, for logs on both sides.

use rand::Rng as _;
use schemas::PluginSpec;
use serde::Deserialize;
use worker::fault::Fault;
use worker::filter::Interest;
use worker::phase::Step;
use worker::plugin::{Phases, Plugin, Prepare, Verdict};
use worker::request::Request;

use crate::headers;

/// See the module's documentation.
pub(crate) struct RequestId(Conf);

#[derive(Deserialize)]
pub(crate) struct Conf {
    header_name: String,
    include_in_response: bool,
    algorithm: String,
    range_id: RangeId,
}

#[derive(Deserialize)]
struct RangeId {
    length: usize,
    char_set: String,
}

/// The longest id that is made.
const LENGTH_MAX: usize = 1024;

/// What was found or made.
struct Chosen(Vec<u8>);

impl Plugin for RequestId {
    const SPEC: &'static PluginSpec = &PluginSpec {
        check: crate::check::<Self>,
        ..PluginSpec::new("request-id", 12015, 0.1, include_str!("../../schemas/plugins/request-id.json"))
    };
    const PHASES: Phases = Phases::REWRITE.or(Phases::HEADER_FILTER);
    type Conf = Conf;

    fn prepare(conf: Conf, _: &Prepare<'_>) -> Result<Self, String> {
        if conf.algorithm == "ksuid" {
            return Err("algorithm \"ksuid\" is not supported yet".into());
        }
        if conf.range_id.length > LENGTH_MAX {
            return Err(format!("range_id.length is greater than {LENGTH_MAX}"));
        }
        Ok(Self(conf))
    }

    fn rewrite<'r>(&'r self, req: &'r mut Request) -> Step<'r, Verdict> {
        let name = self.0.header_name.as_bytes();
        let given = req.headers.get(name).filter(|value| !value.is_empty()).map(<[u8]>::to_vec);
        let id = given.unwrap_or_else(|| {
            let id = self.make().into_bytes();
            headers::set_request(req, name, &id);
            id
        });
        if self.0.include_in_response {
            req.context.set(Chosen(id));
        }
        Step::Ready(Verdict::Next)
    }

    fn header_filter(&self, req: &mut Request) -> Result<Interest, Fault> {
        let name = self.0.header_name.as_bytes();
        if self.0.include_in_response
            && !req.out.headers.contains(name)
            && let Some(Chosen(id)) = req.context.take::<Chosen>()
        {
            headers::set_response(req, name, &id);
            req.context.set(Chosen(id));
        }
        Ok(Interest::None)
    }
}

impl RequestId {
    fn make(&self) -> String {
        let mut random = rand::rng();
        match self.0.algorithm.as_str() {
            "nanoid" => {
                const ALPHABET: &[u8; 64] =
                    b"-_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
                (0..21).map(|_| char::from(ALPHABET[random.random_range(0..64)])).collect()
            }
            "range_id" => {
                let set: Vec<char> = self.0.range_id.char_set.chars().collect();
                (0..self.0.range_id.length).map(|_| set[random.random_range(0..set.len())]).collect()
            }
            "uuidv7" => {
                let ms = u128::from(net_time());
                uuid((ms << 80) | (random.random::<u128>() >> 48), 7)
            }
            _ => uuid(random.random(), 4),
        }
    }
}

/// Milliseconds since the epoch.
fn net_time() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}

/// RFC 9562: version and variant in their places.
fn uuid(bits: u128, version: u128) -> String {
    let bits = bits & !(0xf << 76) & !(0b11 << 62) | version << 76 | 0b10 << 62;
    let hex = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    #[test]
    fn versions_and_variants() {
        assert_eq!(super::uuid(0, 4), "00000000-0000-4000-8000-000000000000");
        assert_eq!(super::uuid(u128::MAX, 7), "ffffffff-ffff-7fff-bfff-ffffffffffff");
    }
}
