//! Flow control windows (RFC 9113 section 5.2 and 6.9).

/// Largest window.
pub(crate) const WINDOW_MAX: i64 = 0x7fff_ffff;

/// How much may be sent; below zero after the peer made its initial window smaller.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SendWindow(i64);

impl SendWindow {
    pub(crate) fn new(size: u32) -> Self {
        Self(size.into())
    }

    /// Bytes that may be sent.
    pub(crate) fn available(self) -> usize {
        self.0.max(0) as usize
    }

    /// The peer allows more; `false`: more than there can be.
    #[must_use]
    pub(crate) fn grow(&mut self, by: i64) -> bool {
        self.0 += by;
        self.0 <= WINDOW_MAX
    }

    pub(crate) fn sent(&mut self, bytes: usize) {
        self.0 -= bytes as i64;
    }
}

/// How much the peer may send, and how much of what it sent was consumed and not yet given back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RecvWindow {
    left: i64,
    size: u32,
    consumed: u32,
}

impl RecvWindow {
    pub(crate) fn new(size: u32) -> Self {
        Self { left: size.into(), size, consumed: 0 }
    }

    /// The peer sent `bytes`; `false`: more than it was allowed to.
    #[must_use]
    pub(crate) fn receive(&mut self, bytes: usize) -> bool {
        self.left -= bytes as i64;
        self.left >= 0
    }

    /// `bytes` were consumed. Returns the increment to announce once it is worth a frame.
    pub(crate) fn consume(&mut self, bytes: usize) -> Option<u32> {
        self.consumed += bytes as u32;
        if self.consumed == 0 || u64::from(self.consumed) * 2 < u64::from(self.size) {
            return None;
        }
        self.left += i64::from(self.consumed);
        Some(std::mem::take(&mut self.consumed))
    }

    /// The window becomes larger by `by`.
    pub(crate) fn widen(&mut self, by: u32) {
        self.size += by;
        self.left += i64::from(by);
    }

    pub(crate) fn size(&self) -> u32 {
        self.size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_given_back_by_halves() {
        let mut window = RecvWindow::new(100);
        assert!(window.receive(100) && !RecvWindow::new(100).receive(101));
        assert_eq!(window.consume(49), None);
        assert_eq!(window.consume(1), Some(50));
        assert!(window.receive(50) && !window.receive(1));
    }

    #[test]
    fn send_windows_may_be_negative() {
        let mut window = SendWindow::new(10);
        window.sent(10);
        assert!(window.grow(-5));
        assert_eq!(window.available(), 0);
        assert!(window.grow(6) && window.available() == 1);
        assert!(!window.grow(WINDOW_MAX));
    }
}
