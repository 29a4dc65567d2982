//! Session tickets: sealed by the server, kept by the client, opened by whichever worker the client comes back to.
//!
//! Keys come from a place all workers share. A ticket is bound to the context it was made in: what one server block said about
//! client certificates must not be skipped by resuming at another (nginx's CVE-2025-23419), so the context is authenticated along
//! with the content and a ticket of another context does not open.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use rustls::server::ProducesTickets;

/// A ticket key: what it is called in tickets, and the secret.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// Stands in front of a ticket.
    pub name: [u8; 16],
    /// The secret.
    pub secret: [u8; 32],
}

impl fmt::Debug for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Key({:02x?}…)", &self.name[..4])
    }
}

impl Key {
    /// A fresh key.
    ///
    /// # Errors
    /// The system's generator failed.
    pub fn random() -> crate::Result<Self> {
        let mut key = Self { name: [0; 16], secret: [0; 32] };
        crate::random(&mut key.name)?;
        crate::random(&mut key.secret)?;
        Ok(key)
    }

    /// A key out of an `ssl_session_ticket_key` file: 48 bytes (16 name, 16, 16) or 80 bytes (16, 32, 32). What nginx uses as
    /// two keys is one secret here, since sealing and authenticating is one operation.
    pub fn from_file(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != 48 && bytes.len() != 80 {
            return None;
        }
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes[16..]);
        let mut key = Self { name: [0; 16], secret: [0; 32] };
        key.name.copy_from_slice(&bytes[..16]);
        key.secret.copy_from_slice(digest.as_ref());
        Some(key)
    }

    fn cipher(&self) -> Option<LessSafeKey> {
        Some(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &self.secret).ok()?))
    }
}

/// Where ticket keys are.
pub trait TicketKeys: fmt::Debug + Send + Sync {
    /// The key new tickets are sealed with.
    fn current(&self) -> Option<Key>;

    /// The key called `name`, if tickets sealed with it are still good.
    fn find(&self, name: &[u8; 16]) -> Option<Key>;
}

/// Seals and opens the tickets of one context.
#[derive(Debug)]
pub(crate) struct Tickets {
    pub(crate) keys: Arc<dyn TicketKeys>,
    pub(crate) context: [u8; 32],
    pub(crate) lifetime_s: u32,
    /// Seconds since 1970.
    pub(crate) now: fn() -> u64,
}

/// Bytes of the time at which a ticket was sealed.
const STAMP_LEN: usize = 8;

impl Tickets {
    fn aad(&self, name: &[u8; 16]) -> Aad<[u8; 48]> {
        let mut bytes = [0; 48];
        bytes[..16].copy_from_slice(name);
        bytes[16..].copy_from_slice(&self.context);
        Aad::from(bytes)
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        self.lifetime_s
    }

    /// `name | nonce | sealed(stamp | plain)`
    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let key = self.keys.current()?;
        let mut nonce = [0; NONCE_LEN];
        crate::random(&mut nonce).ok()?;
        let mut sealed = Vec::with_capacity(16 + NONCE_LEN + STAMP_LEN + plain.len() + 16);
        sealed.extend_from_slice(&key.name);
        sealed.extend_from_slice(&nonce);
        let mut body = Vec::with_capacity(STAMP_LEN + plain.len() + 16);
        body.extend_from_slice(&(self.now)().to_be_bytes());
        body.extend_from_slice(plain);
        let nonce = Nonce::assume_unique_for_key(nonce);
        key.cipher()?.seal_in_place_append_tag(nonce, self.aad(&key.name), &mut body).ok()?;
        sealed.append(&mut body);
        Some(sealed)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_first_chunk::<16>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let key = self.keys.find(name)?;
        let mut body = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plain = key.cipher()?.open_in_place(nonce, self.aad(name), &mut body).ok()?;
        let (stamp, plain) = plain.split_first_chunk::<STAMP_LEN>()?;
        let age = (self.now)().checked_sub(u64::from_be_bytes(*stamp))?;
        (age <= u64::from(self.lifetime_s)).then(|| plain.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Fixed(Vec<Key>);

    impl TicketKeys for Fixed {
        fn current(&self) -> Option<Key> {
            self.0.first().copied()
        }

        fn find(&self, name: &[u8; 16]) -> Option<Key> {
            self.0.iter().find(|key| key.name == *name).copied()
        }
    }

    fn tickets(keys: &[Key], context: u8, now: fn() -> u64) -> Tickets {
        Tickets { keys: Arc::new(Fixed(keys.to_vec())), context: [context; 32], lifetime_s: 300, now }
    }

    #[test]
    fn a_ticket_opens_only_in_its_context_and_time() {
        let (old, new) = (Key::random().unwrap(), Key::random().unwrap());
        let ticket = tickets(&[old], 1, || 1000).encrypt(b"session").unwrap();
        assert_eq!(tickets(&[new, old], 1, || 1300).decrypt(&ticket).as_deref(), Some(&b"session"[..]));
        assert!(tickets(&[old], 2, || 1000).decrypt(&ticket).is_none());
        assert!(tickets(&[new], 1, || 1000).decrypt(&ticket).is_none());
        assert!(tickets(&[old], 1, || 1301).decrypt(&ticket).is_none());
        assert!(tickets(&[old], 1, || 999).decrypt(&ticket).is_none());
        for cut in 0..ticket.len() {
            assert!(tickets(&[old], 1, || 1000).decrypt(&ticket[..cut]).is_none());
        }
    }

    #[test]
    fn key_files_have_two_sizes() {
        assert!(Key::from_file(&[7; 48]).is_some() && Key::from_file(&[7; 80]).is_some());
        assert!(Key::from_file(&[7; 47]).is_none());
        assert_ne!(Key::from_file(&[7; 48]), Key::from_file(&[8; 48]));
    }
}
