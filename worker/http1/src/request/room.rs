//! How much of a head fits: `client_header_buffer_size` and `large_client_header_buffers` without the buffers.

use super::RequestOptions;

/// nginx's header buffers as arithmetic: a line lies in one buffer, and there are only so many.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    capacity: usize,
    used: usize,
    large_in_use: u32,
}

impl Room {
    /// Before the options are known.
    pub(super) const EMPTY: Room = Room { capacity: 0, used: 0, large_in_use: 0 };

    /// The first buffer of a request, empty.
    pub(super) fn of(opts: &RequestOptions) -> Self {
        Self { capacity: opts.header_buffer_size as usize, ..Self::EMPTY }
    }

    /// Whether an unfinished line of `len` bytes can still be finished.
    pub(super) fn may_grow(&self, len: usize, opts: &RequestOptions) -> bool {
        if self.used + len < self.capacity {
            return true;
        }
        len < opts.large_buffer_size as usize && self.large_in_use < opts.large_buffers
    }

    /// Takes the room for a line of `len` bytes, its end included.
    pub(super) fn take(&mut self, len: usize, opts: &RequestOptions) -> bool {
        if self.used + len <= self.capacity {
            self.used += len;
            return true;
        }
        if len > opts.large_buffer_size as usize || self.large_in_use >= opts.large_buffers {
            return false;
        }
        self.large_in_use += 1;
        self.capacity = opts.large_buffer_size as usize;
        self.used = len;
        true
    }
}
