//! Certificates whose names come out of variables: loaded during handshakes, and kept for a while if `ssl_certificate_cache` says so.

use std::cell::RefCell;
use std::path::Path;

use tls::Identity;

use super::Source;

/// `ssl_certificate_cache`.
#[derive(Debug)]
pub struct IdentityCache {
    /// The most certificates kept.
    pub max: usize,
    /// One that was not used for so long is dropped, ms.
    pub inactive_ms: u64,
    /// One is read anew when it is older, ms.
    pub valid_ms: u64,
    entries: RefCell<Vec<Entry>>,
}

#[derive(Debug)]
struct Entry {
    names: (String, String),
    identity: Identity,
    loaded_ms: u64,
    used_ms: u64,
}

impl IdentityCache {
    /// An empty cache for `items`: nginx counts a certificate and its key as two.
    pub fn new(items: usize, inactive_ms: u64, valid_ms: u64) -> Self {
        Self { max: items.div_ceil(2), inactive_ms, valid_ms, entries: RefCell::default() }
    }

    fn find(&self, names: &(String, String), now_ms: u64) -> Option<Identity> {
        let mut entries = self.entries.borrow_mut();
        let at = entries.iter().position(|entry| entry.names == *names)?;
        if now_ms.saturating_sub(entries[at].loaded_ms) > self.valid_ms {
            entries.swap_remove(at);
            return None;
        }
        entries[at].used_ms = now_ms;
        Some(entries[at].identity.clone())
    }

    fn keep(&self, names: (String, String), identity: &Identity, now_ms: u64) {
        let mut entries = self.entries.borrow_mut();
        entries
            .retain(|entry| entry.names != names && now_ms.saturating_sub(entry.used_ms) <= self.inactive_ms);
        if entries.len() >= self.max {
            let oldest = entries.iter().enumerate().min_by_key(|(_, entry)| entry.used_ms).map(|(at, _)| at);
            if let Some(oldest) = oldest {
                entries.swap_remove(oldest);
            }
        }
        entries.push(Entry { names, identity: identity.clone(), loaded_ms: now_ms, used_ms: now_ms });
    }
}

/// Loads a certificate and its key, from the cache if there is one.
///
/// # Errors
/// What nginx would say.
pub(crate) async fn load(
    cache: Option<&IdentityCache>,
    names: (String, String),
    passwords: &[Vec<u8>],
    conf_prefix: &Path,
) -> Result<Identity, String> {
    let now_ms = net::now().0;
    if let Some(found) = cache.and_then(|cache| cache.find(&names, now_ms)) {
        return Ok(found);
    }
    let (job, passwords, prefix) = (names.clone(), passwords.to_vec(), conf_prefix.to_owned());
    let loaded = net::blocking(move || Ok(read(&job.0, &job.1, &passwords, &prefix))).await;
    let identity = loaded.map_err(|error| format!("cannot load certificate \"{}\": {error}", names.0))??;
    if let Some(cache) = cache {
        cache.keep(names, &identity, now_ms);
    }
    Ok(identity)
}

/// Reads a certificate and its key; blocks.
///
/// # Errors
/// What nginx would say.
pub(crate) fn read(
    certificate: &str,
    key: &str,
    passwords: &[Vec<u8>],
    conf_prefix: &Path,
) -> Result<Identity, String> {
    // content is nobody's business
    let shown = |name: &str| if name.starts_with("data:") { "data:".into() } else { name.to_owned() };
    let chain =
        Source::read(certificate, conf_prefix).map_err(|error| format!("cannot load certificate {error}"))?;
    let secret =
        Source::read(key, conf_prefix).map_err(|error| format!("cannot load certificate key {error}"))?;
    Identity::from_pem(&chain, &secret, passwords).map_err(|error| match error {
        tls::Error::Key(_) | tls::Error::Mismatch => {
            format!("cannot load certificate key \"{}\": {error}", shown(key))
        }
        _ => format!("cannot load certificate \"{}\": {error}", shown(certificate)),
    })
}
